//! `wasi:sockets` 0.3 over the pod's switch: names, and what went wrong. TCP and UDP beside.
//!
//! A socket may outlive its handle: the streams made from it hold what they need of it.

mod streams;
mod tcp;
mod udp;

use std::net::IpAddr;
use std::task::{Context, Poll};

use net::{Family, Lookup, NetError};
use wasmtime::component::{Accessor, Linker};
use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup;
use wasmtime_wasi::p3::bindings::sockets::types::{self, ErrorCode, IpAddress, IpAddressFamily};
use wasmtime_wasi::p3::sockets::SocketError;

use crate::guest::Guest;
use crate::wasi::p2::sockets::{HasSockets, SocketsView};

/// Adds both interfaces.
///
/// # Errors
/// When two definitions clash, which is a defect of ours.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    types::add_to_linker::<Guest, HasSockets>(linker, Guest::sockets_view)?;
    ip_name_lookup::add_to_linker::<Guest, HasSockets>(linker, Guest::sockets_view)
}

// === impl SocketsView ===

impl types::Host for SocketsView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }
}

impl ip_name_lookup::Host for SocketsView<'_> {}

impl ip_name_lookup::HostWithStore<Guest> for HasSockets {
    async fn resolve_addresses(
        store: &Accessor<Guest, Self>,
        name: String,
    ) -> wasmtime::Result<Result<Vec<IpAddress>, ip_name_lookup::ErrorCode>> {
        let lookup = store.with(|mut access| access.get().net.resolve(&name, Lookup::Any));
        let shown = |addresses: Vec<IpAddr>| addresses.into_iter().map(Into::into).collect();
        Ok(lookup.await.map(shown).map_err(lookup_code))
    }
}

fn family_of(family: IpAddressFamily) -> Family {
    match family {
        IpAddressFamily::Ipv4 => Family::V4,
        IpAddressFamily::Ipv6 => Family::V6,
    }
}

fn family_to_wasi(family: Family) -> IpAddressFamily {
    match family {
        Family::V4 => IpAddressFamily::Ipv4,
        Family::V6 => IpAddressFamily::Ipv6,
    }
}

/// Calls, and where that would block waits for another try. Being ready is no promise: a guest's
/// thread is given to others in between.
fn attempt<T>(
    cx: &mut Context<'_>,
    call: impl FnOnce() -> Result<T, NetError>,
    ready: impl FnOnce(&mut Context<'_>) -> Poll<()>,
) -> Poll<Result<T, NetError>> {
    match call() {
        Err(NetError::WouldBlock) => {}
        done => return Poll::Ready(done),
    }
    if ready(cx).is_ready() {
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}

/// A refusal as the guest sees it.
fn refused(error: NetError) -> SocketError {
    code(error).into()
}

fn code(error: NetError) -> ErrorCode {
    match error {
        NetError::AccessDenied => ErrorCode::AccessDenied,
        NetError::NotSupported => ErrorCode::NotSupported,
        NetError::InvalidArgument => ErrorCode::InvalidArgument,
        NetError::OutOfMemory => ErrorCode::OutOfMemory,
        NetError::Timeout => ErrorCode::Timeout,
        NetError::InvalidState => ErrorCode::InvalidState,
        NetError::AddressNotBindable => ErrorCode::AddressNotBindable,
        NetError::AddressInUse => ErrorCode::AddressInUse,
        NetError::RemoteUnreachable => ErrorCode::RemoteUnreachable,
        NetError::ConnectionRefused => ErrorCode::ConnectionRefused,
        NetError::ConnectionBroken => ErrorCode::ConnectionBroken,
        NetError::ConnectionReset => ErrorCode::ConnectionReset,
        NetError::ConnectionAborted => ErrorCode::ConnectionAborted,
        NetError::DatagramTooLarge => ErrorCode::DatagramTooLarge,
        // WASI 0.3 has no code for these: what is left is a word for whoever reads it.
        NetError::NewSocketLimit
        | NetError::NameUnresolvable
        | NetError::TemporaryResolverFailure
        | NetError::PermanentResolverFailure
        | NetError::WouldBlock
        | NetError::Unknown => ErrorCode::Other(Some(error.to_string())),
    }
}

fn lookup_code(error: NetError) -> ip_name_lookup::ErrorCode {
    use ip_name_lookup::ErrorCode;
    match error {
        NetError::AccessDenied => ErrorCode::AccessDenied,
        NetError::InvalidArgument => ErrorCode::InvalidArgument,
        NetError::NameUnresolvable => ErrorCode::NameUnresolvable,
        NetError::TemporaryResolverFailure => ErrorCode::TemporaryResolverFailure,
        NetError::PermanentResolverFailure => ErrorCode::PermanentResolverFailure,
        error => ErrorCode::Other(Some(error.to_string())),
    }
}
