//! Listeners on the host's network: the kernel's own, which nothing in memory leads to.
//!
//! Sockets are v6-only, as WASI says, and one that listens at `::` is reached over IPv4 too where
//! nobody has the port there, as in a network of the pod's own. That takes a second socket, at
//! 0.0.0.0, which the listener gives up once its pod asks the kernel for the port at an IPv4
//! address. It does not get it back when the pod's other listener ends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use model::container::Protocol;
use rustix::net::SocketType;

use crate::budget::Share;
use crate::door::{Doors, OpenedDoor};
use crate::error::NetError;
use crate::kernel::{self, KernelSocket};
use crate::pod::Pod;
use crate::ports::{PortClaim, Reach};
use crate::tcp::Family;

/// Lets a bound socket listen: where, what finds it when its IPv4 port is wanted, and the sockets.
pub(super) fn listen(
    pod: &Arc<Pod>,
    socket: OwnedFd,
    share: Share,
    backlog: u32,
) -> Result<(SocketAddr, Option<PortClaim>, Doors), NetError> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    rustix::net::listen(&socket, backlog)?;
    let address = kernel::local_address(&socket)?;
    let socket = KernelSocket::watch(socket, &pod.fabric.kernel)?;
    let mut doors = vec![OpenedDoor::without_record(socket, share)];
    if address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return Ok((address, None, Doors::of(doors)));
    }
    match listen_v4(pod, address.port(), backlog) {
        Ok(door) => doors.push(door),
        Err(error) => tracing::debug!(%error, %address, "IPv4 is not a listener's at ::"),
    }
    let claim = PortClaim::bind(pod, Protocol::Tcp, Reach::Any(Family::V6), address.port());
    Ok((address, claim.ok(), Doors::of(doors)))
}

fn listen_v4(pod: &Pod, port: u16, backlog: i32) -> Result<OpenedDoor, NetError> {
    let share = pod.kernel_slot()?;
    let every = (Ipv4Addr::UNSPECIFIED, port).into();
    let socket = kernel::open_bound(every, SocketType::STREAM, backlog, false)?;
    let socket = KernelSocket::watch(socket, &pod.fabric.kernel)?;
    Ok(OpenedDoor::without_record(socket, share))
}

// === impl Pod ===

impl Pod {
    /// Has a listener of this pod at `::` give up the IPv4 side of its port. Whether one has.
    pub(crate) fn yield_v4(&self, to: SocketAddr) -> bool {
        if to.is_ipv6() {
            return false;
        }
        let ports = self.tcp.lock();
        let six = ports.find(Ipv6Addr::UNSPECIFIED.into(), to.port()).cloned();
        drop(ports);
        let Some(six) = six else {
            return false;
        };
        let is_v4 = |door: &mut OpenedDoor| {
            kernel::local_address(&door.socket).is_ok_and(|local| local.is_ipv4())
        };
        let mut doors = six.0.doors.lock();
        let given_up: Vec<_> = doors.plain.extract_if(.., is_v4).collect();
        drop(doors);
        !given_up.is_empty()
    }
}
