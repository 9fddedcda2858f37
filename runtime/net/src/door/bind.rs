//! Binds plain doors, and decides who shares a port with whom.
//!
//! A door at every address (`hostPort`) and one at a pod's address may have the same port: both ask
//! the kernel to share it, and it gives what arrives to the more specific of them. Doors at every
//! address share with no other of their sort, whichever run or program has it: who binds one holds
//! the port at an address beside it, that is nobody's, until it is bound ([`claim_everywhere`]).
//! Every other door shares with nobody. A program of this user that asks to share a port after a
//! door has it may do so: the kernel knows no third way.
//!
//! What arrives at a pod's address where no door of that pod stands falls to the door at every
//! address, if there is one. Where addresses are steered it never gets so far. Elsewhere a
//! connection is reset ([`leads_here`]); a datagram is taken all the same, since nothing tells to
//! which address it was sent.
//!
//! [`claim_everywhere`]: kernel::claim_everywhere

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use model::container::Protocol;
use rustix::io::Errno;
use rustix::net::SocketType;

use super::OpenedDoor;
use super::steered;
use crate::decide::World;
use crate::error::NetError;
use crate::kernel::{self, KernelSocket};
use crate::limits::{KERNEL_BACKLOG, UNPRIVILEGED_OFFSET};
use crate::pod::Pod;
use crate::steer::{Endpoint, SteerError};
use crate::tcp::Family;

/// Why a door did not open.
#[derive(Debug)]
pub(super) enum Failure {
    /// The kernel refused the address.
    Bind(Errno),
    /// This user may not open the port, and the kernel refused the one that it opens instead.
    BindHigher(SocketAddr, Errno),
    /// This user may not open the port, and the manifest has another use for the one that it opens
    /// instead.
    HigherDeclared(SocketAddr),
    /// The pod has too many kernel sockets, or the reactor took none.
    Limit(NetError),
    /// An address that is for pods, and not this one's.
    NotOwn,
    /// Another of the pod's doors is there.
    Taken,
    /// The pod's addresses are steered, and there is no way through to the door.
    Steer(SteerError),
}

/// Makes the socket of a plain door: bound, non-blocking, and listening if it is one of TCP.
/// `is_of_pods` tells whether its address is one of the range of pods.
///
/// # Errors
/// What the kernel says; [`Errno::ADDRINUSE`] also where a door or a program at every address has
/// the port and would share it.
pub fn bind_socket(door: Endpoint, is_of_pods: bool) -> Result<OwnedFd, Errno> {
    let kind = match door.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    // A port that the kernel chooses is nobody else's anyhow.
    let is_everywhere = door.at.ip().is_unspecified() && door.at.port() != 0;
    let claim = || kernel::claim_everywhere(Family::of(door.at.ip()), kind, door.at.port());
    // Held until the door is bound: whoever claims it meanwhile meets the one or the other.
    let _claim = is_everywhere.then(claim).transpose()?;
    let shares = is_everywhere || is_of_pods;
    kernel::open_bound(door.at, kind, KERNEL_BACKLOG.into(), shares)
}

/// The same, by whoever has more rights than this process where it may not.
async fn bind_anyhow(pod: &Pod, door: Endpoint) -> Result<OwnedFd, Errno> {
    let is_of_pods = pod.in_pod_range(door.at.ip().to_canonical());
    match (bind_socket(door, is_of_pods), &pod.fabric.binder) {
        (Err(Errno::ACCESS), Some(binder)) => binder.bind(door).await,
        (bound, _) => bound,
    }
}

/// Binds, where a pod may have a door at all; where the port is not for this user,
/// [`UNPRIVILEGED_OFFSET`] higher, unless the manifest asks for a door there.
pub(super) async fn bind(
    pod: &Pod,
    protocol: Protocol,
    host: SocketAddr,
) -> Result<(OpenedDoor, SocketAddr), Failure> {
    let address = host.ip().to_canonical();
    let is_of_pods = pod.in_pod_range(address);
    if is_of_pods && !pod.is_own(address) {
        return Err(Failure::NotOwn);
    }
    let share = pod.kernel_slot().map_err(Failure::Limit)?;
    let first = bind_anyhow(pod, Endpoint { protocol, at: host }).await;
    let higher = host.port().checked_add(UNPRIVILEGED_OFFSET);
    let socket = match (first, higher) {
        (Err(Errno::ACCESS), Some(higher)) => {
            let at = SocketAddr::new(host.ip(), higher);
            if is_declared(pod, protocol, at) {
                return Err(Failure::HigherDeclared(at));
            }
            let bound = bind_socket(Endpoint { protocol, at }, is_of_pods);
            bound.map_err(|errno| Failure::BindHigher(at, errno))?
        }
        (first, _) => first.map_err(Failure::Bind)?,
    };
    let bound = kernel::local_address(&socket).map_err(Failure::Bind)?;
    let watched = KernelSocket::watch(socket, &pod.fabric.kernel);
    let opened = OpenedDoor {
        socket: watched.map_err(|error| Failure::Limit(error.into()))?,
        _passage: steered::pass(pod, protocol, bound).await?,
        _share: share,
        record: None,
    };
    Ok((opened, bound))
}

// === impl Failure ===

impl Failure {
    /// What the kernel said: of the address, or of the one that is opened instead.
    pub(super) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Bind(errno) | Self::BindHigher(_, errno) => Some(*errno),
            _ => None,
        }
    }
}

/// Whether the manifest asks for a door that would not stand beside one at `at`.
fn is_declared(pod: &Pod, protocol: Protocol, at: SocketAddr) -> bool {
    let of_pods = |address| pod.in_pod_range(address);
    let mut doors = pod.doors.iter().filter(|door| door.protocol == protocol);
    doors.any(|door| match door.host {
        Some((_, port)) if port != at.port() => false,
        Some((address, _)) => excludes(address, at.ip(), of_pods),
        None => door.port == at.port() && pod.is_own(at.ip()),
    })
}

/// Whether doors at two addresses cannot have the same port.
pub(super) fn excludes(one: IpAddr, other: IpAddr, of_pods: impl Fn(IpAddr) -> bool) -> bool {
    let [one, other] = [one, other].map(|address| address.to_canonical());
    let has_every = one.is_unspecified() || other.is_unspecified();
    let shares = of_pods(one) || of_pods(other);
    one == other || Family::of(one) == Family::of(other) && has_every && !shares
}

/// Whether what was sent to `local`, and came through a door at every address, is for the pod that
/// has the door: nothing that was sent to a pod is, but for its own port.
pub(super) fn leads_here(pod: &Pod, port: u16, local: SocketAddr) -> bool {
    let address = local.ip().to_canonical();
    let is_own = pod.is_own(address) && local.port() == port;
    is_own || !pod.in_pod_range(address)
}
