//! `wasi:sockets` 0.2 over the pod's switch: the network itself and names. TCP and UDP beside.

mod addresses;
mod tcp;
mod udp;

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use net::{Lookup, NetError, PodNet};
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress};
use wasmtime_wasi::p2::bindings::sockets::{instance_network, ip_name_lookup};
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketError, SocketResult, subscribe};

use super::{ours, theirs};
use crate::guest::Guest;

/// What the socket interfaces need of a guest.
pub(crate) struct SocketsView<'a> {
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) net: &'a PodNet,
}

/// Marks [`SocketsView`] for the linker.
pub(crate) struct HasSockets;

impl HasData for HasSockets {
    type Data<'a> = SocketsView<'a>;
}

impl Guest {
    /// The socket interfaces' view.
    pub(crate) fn sockets_view(&mut self) -> SocketsView<'_> {
        SocketsView {
            table: &mut self.table,
            net: &self.net,
        }
    }
}

/// The capability that WASI 0.2 has guests hold. The pod's network is what decides.
struct Network;

/// A look-up under way, or the rest of its answer.
enum Answer {
    Waiting(Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, NetError>> + Send>>),
    Ready(Result<std::vec::IntoIter<IpAddr>, NetError>),
}

// === impl SocketsView ===

impl SocketsView<'_> {
    /// Checks that the guest holds a network.
    fn capability(&self, network: &Resource<network::Network>) -> SocketResult<()> {
        self.table.get(&ours::<_, Network>(network))?;
        Ok(())
    }
}

impl network::Host for SocketsView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self
            .table
            .get(&error)?
            .downcast_ref::<NetError>()
            .map(|error| code(*error)))
    }
}

impl network::HostNetwork for SocketsView<'_> {
    fn drop(&mut self, network: Resource<network::Network>) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Network>(&network))?;
        Ok(())
    }
}

impl instance_network::Host for SocketsView<'_> {
    fn instance_network(&mut self) -> wasmtime::Result<Resource<network::Network>> {
        Ok(theirs(self.table.push(Network)?))
    }
}

impl ip_name_lookup::Host for SocketsView<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<network::Network>,
        name: String,
    ) -> SocketResult<Resource<ip_name_lookup::ResolveAddressStream>> {
        self.capability(&network)?;
        let mut answer = Answer::Waiting(Box::pin(self.net.resolve(&name, Lookup::Any)));
        // Literals and names of this host are answered at once, their errors here.
        let _ = answer.poll(&mut Context::from_waker(Waker::noop()));
        if let Answer::Ready(Err(error)) = answer {
            return Err(refused(error));
        }
        Ok(theirs(self.table.push(answer)?))
    }
}

impl ip_name_lookup::HostResolveAddressStream for SocketsView<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ip_name_lookup::ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        let answer = self.table.get_mut(&ours::<_, Answer>(&stream))?;
        match answer.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Err(ErrorCode::WouldBlock.into()),
            Poll::Ready(Ok(addresses)) => Ok(addresses.next().map(addresses::ip)),
            Poll::Ready(Err(error)) => Err(refused(*error)),
        }
    }

    fn subscribe(
        &mut self,
        stream: Resource<ip_name_lookup::ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, ours::<_, Answer>(&stream))
    }

    fn drop(
        &mut self,
        stream: Resource<ip_name_lookup::ResolveAddressStream>,
    ) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Answer>(&stream))?;
        Ok(())
    }
}

// === impl Answer ===

impl Answer {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<&mut Result<std::vec::IntoIter<IpAddr>, NetError>> {
        if let Self::Waiting(lookup) = self {
            match lookup.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => *self = Self::Ready(result.map(Vec::into_iter)),
            }
        }
        match self {
            Self::Ready(result) => Poll::Ready(result),
            Self::Waiting(_) => Poll::Pending,
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Answer {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.poll(cx).map(|_| ())).await;
    }
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
        NetError::WouldBlock => ErrorCode::WouldBlock,
        NetError::InvalidState => ErrorCode::InvalidState,
        NetError::NewSocketLimit => ErrorCode::NewSocketLimit,
        NetError::AddressNotBindable => ErrorCode::AddressNotBindable,
        NetError::AddressInUse => ErrorCode::AddressInUse,
        NetError::RemoteUnreachable => ErrorCode::RemoteUnreachable,
        NetError::ConnectionRefused => ErrorCode::ConnectionRefused,
        NetError::ConnectionReset => ErrorCode::ConnectionReset,
        NetError::ConnectionAborted => ErrorCode::ConnectionAborted,
        NetError::DatagramTooLarge => ErrorCode::DatagramTooLarge,
        NetError::NameUnresolvable => ErrorCode::NameUnresolvable,
        NetError::TemporaryResolverFailure => ErrorCode::TemporaryResolverFailure,
        NetError::PermanentResolverFailure => ErrorCode::PermanentResolverFailure,
        // WASI 0.2 has no code for a broken pipe: streams say closed, calls say unknown.
        NetError::ConnectionBroken | NetError::Unknown => ErrorCode::Unknown,
    }
}
