//! Doors: kernel sockets through which the outside reaches a pod's listener.
//!
//! A door is opened when a guest listens on (or binds, for UDP) a port that has one, and closes
//! with that socket. The guest's own bind has succeeded by then; a door that fails is told as a
//! notice. Which sockets deserve a door is decided here; who accepts is the listener.
//!
//! Two sorts. A plain door is a kernel socket, bound to the address that was asked for (`hostPort`,
//! `--publish`) or to the pod's own; for a user without rights it is the only sort, and only
//! declared ports have one. Where the pod's addresses are steered, a TCP listener is reached at the
//! pod's address whatever its port, declared or not: that door is an entry in a table (`steered`),
//! and a kernel socket only once a crowd waits there (`queue`).
//!
//! A TCP listener at `::` has the doors of IPv4 too while no IPv4 listener has the port, and one of
//! IPv4 those that IPv6 has on the node (`hostPort`). Who speaks another family is shown as an
//! IPv4-mapped address to the former, as the gateway to the latter.
//!
//! No door stands at another pod's address, nor at one that a pod could get: what arrives there is
//! that pod's, whoever asked first.

mod bind;
mod queue;
mod steered;
mod told;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use model::container::Protocol;
use model::runtime::Door;
use rustix::io::Errno;

use self::bind::Failure;
pub use self::bind::bind_socket;
use self::queue::OwnQueue;
use self::steered::SteeredDoor;
use self::told::Asked;
pub(crate) use self::told::Told;
use crate::budget::Share;
use crate::decide::World;
use crate::error::NetError;
use crate::kernel::{self, KernelSocket};
use crate::pod::{OpenDoor, Pod};
use crate::ports::Reach;
use crate::steer::{SteeredEndpoint, reset};
use crate::tcp::Family;

/// The doors of one socket of a pod; they close when dropped.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    pub(crate) plain: Vec<OpenedDoor>,
    steered: Vec<SteeredDoor>,
    /// Which of them, plain ones first, is asked first for the next connection.
    turn: usize,
}

/// A plain door that is open, held by the socket behind it.
#[derive(Debug)]
pub(crate) struct OpenedDoor {
    /// Lets it be reached although its address is steered. Goes before the socket: without one the
    /// kernel would look for another that takes the connection.
    _passage: Option<SteeredEndpoint>,
    pub(crate) socket: KernelSocket,
    _share: Share,
    record: Option<Record>,
}

/// An entry in the pod's list of open doors; gone when dropped.
#[derive(Debug)]
struct Record {
    pod: Weak<Pod>,
    protocol: Protocol,
    wanted: SocketAddr,
}

/// One kernel address to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    host: SocketAddr,
    /// IPv6 that nobody asked for by name, the pod's own or every address: fine if it works, and
    /// nothing to tell where the node has none.
    optional: bool,
}

/// Opens what a socket at `reach` and `port` deserves: what steering gives to every listener, and
/// what the pod's manifest wants beside it. Waits for whoever has the rights that this process has
/// not; what was opened until then closes if nobody waits any more.
pub(crate) async fn open(pod: &Arc<Pod>, protocol: Protocol, reach: Reach, port: u16) -> Doors {
    let family = Family::of(reach.address());
    let has_other = protocol == Protocol::Tcp && pod.listener(family.other(), port).is_some();
    let suits = |at: IpAddr| {
        let is_others = has_other && Family::of(at.to_canonical()) != family;
        !is_others && suits(pod, protocol, reach, at)
    };
    let mut doors = Doors::default();
    if protocol == Protocol::Tcp {
        doors.steered = steered::open(pod, port, &suits).await;
    }
    for wanted in wanted(&pod.doors, protocol, port, &pod.addresses(), suits) {
        let is_steered = doors.steered.iter().any(|door| door.at == wanted.host);
        if !is_steered && let Some(door) = open_one(pod, protocol, port, wanted).await {
            doors.plain.push(door);
        }
    }
    doors
}

/// Whether a socket at `reach` may have what arrives at a door at `at`.
pub(crate) fn suits(pod: &Pod, protocol: Protocol, reach: Reach, at: IpAddr) -> bool {
    suits_at(protocol, reach, at, |family| pod.address(family))
}

fn suits_at(
    protocol: Protocol,
    reach: Reach,
    at: IpAddr,
    own: impl Fn(Family) -> Option<IpAddr>,
) -> bool {
    let at = at.to_canonical();
    let family = Family::of(at);
    // On localhost only: Kubernetes reaches it from inside the pod and nowhere else.
    let has = |family| own(family).is_some_and(|own| reach.covers(own));
    match (protocol, family) {
        (Protocol::Tcp, Family::V4) => has(Family::V4) || reach == Reach::Any(Family::V6),
        _ if own(family) == Some(at) => has(family),
        // An answer to IPv6 is not for an IPv4 socket to send, but for a hostIP that asks for it.
        (Protocol::Udp, Family::V6) if at.is_unspecified() => has(Family::V6),
        // Nor one to IPv4 for an IPv6 socket.
        (Protocol::Udp, Family::V4) => has(Family::V4),
        _ => has(Family::V4) || has(Family::V6),
    }
}

/// The address under which a pod sees a peer that came through a door. Whoever comes from the
/// node's loopback is the gateway to it: never the pod's own localhost, never another pod.
pub(crate) fn shown(pod: &Pod, peer: SocketAddr) -> SocketAddr {
    let address = peer.ip().to_canonical();
    let inside = address.is_loopback() || pod.in_pod_range(address);
    let gateway = pod.gateway(Family::of(address)).filter(|_| inside);
    SocketAddr::new(gateway.unwrap_or(address), peer.port())
}

/// The same for a TCP listener of a family: to one of IPv4, whoever comes by IPv6 is the gateway.
pub(crate) fn shown_as(pod: &Pod, family: Family, peer: SocketAddr) -> SocketAddr {
    let shown = shown(pod, peer);
    let gateway = pod.gateway(family);
    match (family, gateway) {
        (Family::V4, Some(gateway)) if shown.is_ipv6() => SocketAddr::new(gateway, peer.port()),
        _ => shown,
    }
}

/// Decides which kernel addresses a socket deserves: of those that are named and the pod's own,
/// those that suit it.
fn wanted(
    doors: &[Door],
    protocol: Protocol,
    port: u16,
    own: &[IpAddr],
    suits: impl Fn(IpAddr) -> bool,
) -> Vec<Wanted> {
    let doors = doors
        .iter()
        .filter(|door| door.port == port && door.protocol == protocol);
    let named: Vec<SocketAddr> = doors
        .clone()
        .filter_map(|door| door.host.map(SocketAddr::from))
        .collect();
    let every = |family: Family, port| SocketAddr::new(family.unspecified(), port);
    // Where no hostIP is given, both families are named.
    let is_beside = |host: SocketAddr| {
        host == every(Family::V6, host.port()) && named.contains(&every(Family::V4, host.port()))
    };
    let suiting = named.iter().filter(|host| suits(host.ip()));
    let mut wanted: Vec<Wanted> = suiting
        .map(|host| Wanted {
            host: *host,
            optional: is_beside(*host),
        })
        .collect();
    // Also where there is a door at every address, which leads to another pod's port as well.
    let own = own.iter().filter(|own| suits(**own));
    let own: Vec<Wanted> = own
        .map(|address| Wanted {
            host: (*address, port).into(),
            optional: address.is_ipv6(),
        })
        .collect();
    if doors.clone().any(|door| door.host.is_none()) {
        wanted.extend(own);
    }
    wanted
}

async fn open_one(
    pod: &Arc<Pod>,
    protocol: Protocol,
    port: u16,
    wanted: Wanted,
) -> Option<OpenedDoor> {
    let is_own = pod.is_own(wanted.host.ip());
    if wanted.optional && is_own && !pod.fabric.doors_v6.load(Ordering::Relaxed) {
        return None;
    }
    let door = Asked {
        protocol,
        port,
        at: wanted.host,
    };
    // Before it is bound, which may take a while.
    let record = match Record::enter(pod, protocol, wanted.host, port) {
        Ok(record) => record,
        Err(there) => {
            // It may lead here already: the listener of the other family has it, or the manifest
            // names it twice. Else another listener of the pod has it, steered or named by the
            // manifest.
            if there.port != port && !wanted.optional {
                told::failed(pod, door, &Failure::Taken);
            }
            return None;
        }
    };
    match bind::bind(pod, protocol, wanted.host).await {
        Ok((mut opened, host)) => {
            let moved = host.port() != wanted.host.port() && wanted.host.port() != 0;
            record.settle(host, moved);
            if moved && !wanted.optional {
                told::moved(pod, door, host);
            }
            opened.record = Some(record);
            Some(opened)
        }
        Err(error) => {
            drop(record);
            let errno = error.errno();
            let has_no_such = matches!(errno, Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT));
            let is_quiet = has_no_such || is_own && errno.is_some();
            if wanted.optional && is_quiet {
                if is_own && has_no_such {
                    pod.fabric.doors_v6.store(false, Ordering::Relaxed);
                }
                tracing::debug!(host = %wanted.host, ?error, "no door at an IPv6 address");
            } else {
                told::failed(pod, door, &error);
            }
            None
        }
    }
}

// === impl Doors ===

impl Doors {
    /// Plain doors alone.
    pub(crate) fn of(plain: Vec<OpenedDoor>) -> Self {
        Self {
            plain,
            ..Self::default()
        }
    }

    /// Takes out those whose address is picked, as it was asked for.
    pub(crate) fn split_off(&mut self, picks: impl Fn(IpAddr) -> bool) -> Self {
        let asked = |door: &mut OpenedDoor| door.record.as_ref().map(|record| record.wanted.ip());
        Self {
            plain: self
                .plain
                .extract_if(.., |door| asked(door).is_some_and(&picks))
                .collect(),
            steered: self
                .steered
                .extract_if(.., |door| picks(door.at.ip()))
                .collect(),
            turn: 0,
        }
    }

    /// The kernel's listeners that may have a connection.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = &KernelSocket> {
        let plain = self.plain.iter().map(|door| &door.socket);
        plain.chain(self.steered.iter().filter_map(|door| door.queue.listener()))
    }

    /// Asks each of them for a connection that waits, one after the other. Each is the first in its
    /// turn, so that a busy one does not keep the others waiting.
    pub(crate) fn accept(
        &mut self,
        pod: &Pod,
        port: u16,
    ) -> impl Iterator<Item = Result<(OwnedFd, SocketAddr), NetError>> {
        let count = self.plain.len() + self.steered.len();
        let first = self.turn.min(count);
        self.turn = if first + 1 < count { first + 1 } else { 0 };
        let (plain, steered) = (&self.plain, &self.steered);
        (first..count).chain(0..first).filter_map(move |index| {
            let door = plain.get(index).map(|door| door.accept(pod, port));
            door.or_else(|| Some(steered.get(index - plain.len())?.queue.accept()))
        })
    }

    /// The queue of the steered door at an address.
    pub(crate) fn queue_at(&self, at: SocketAddr) -> Option<Arc<OwnQueue>> {
        let door = self.steered.iter().find(|door| door.at == at);
        door.map(|door| Arc::clone(&door.queue))
    }

    /// Adds others.
    pub(crate) fn append(&mut self, others: Self) {
        self.plain.extend(others.plain);
        self.steered.extend(others.steered);
    }
}

// === impl OpenedDoor ===

impl OpenedDoor {
    /// A listener of a pod on the host's network, which is no door but is waited for like one.
    pub(crate) fn without_record(socket: KernelSocket, share: Share) -> Self {
        Self {
            socket,
            _passage: None,
            _share: share,
            record: None,
        }
    }

    /// Takes a connection that waits. One that came through a door at every address and is not for
    /// this pod is reset: it was sent to another, whose port is closed or has no door.
    fn accept(&self, pod: &Pod, port: u16) -> Result<(OwnedFd, SocketAddr), NetError> {
        let (socket, peer) = self.socket.accept()?;
        let is_everywhere = |record: &Record| record.wanted.ip().is_unspecified();
        let is_everywhere = self.record.as_ref().is_some_and(is_everywhere);
        if is_everywhere && !bind::leads_here(pod, port, kernel::local_address(&socket)?) {
            reset(socket);
            // Who asks again is told of the next that waits.
            return Err(NetError::WouldBlock);
        }
        Ok((socket, peer))
    }
}

// === impl Record ===

impl Record {
    /// Enters a door that is open, or is about to be, where it was asked for.
    ///
    /// # Errors
    /// The door that is there.
    fn enter(
        pod: &Arc<Pod>,
        protocol: Protocol,
        wanted: SocketAddr,
        port: u16,
    ) -> Result<Self, OpenDoor> {
        let mut open = pod.open_doors.lock();
        let is_there = |entry: &&(SocketAddr, OpenDoor)| is_at(entry, protocol, wanted);
        if let Some((_, there)) = open.iter().find(is_there) {
            return Err(*there);
        }
        let door = OpenDoor {
            port,
            protocol,
            host: wanted,
            moved: false,
        };
        open.push((wanted, door));
        drop(open);
        Ok(Self {
            pod: Arc::downgrade(pod),
            protocol,
            wanted,
        })
    }

    /// Notes where the door has opened.
    fn settle(&self, host: SocketAddr, moved: bool) {
        let Some(pod) = self.pod.upgrade() else {
            return;
        };
        let mut open = pod.open_doors.lock();
        let mut entries = open.iter_mut();
        let own = entries.find(|entry| is_at(entry, self.protocol, self.wanted));
        if let Some((_, door)) = own {
            (door.host, door.moved) = (host, moved);
        }
    }
}

/// Whether an entry is of the door that was asked for there.
fn is_at((asked, door): &(SocketAddr, OpenDoor), protocol: Protocol, wanted: SocketAddr) -> bool {
    *asked == wanted && door.protocol == protocol
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(pod) = self.pod.upgrade() {
            let mut open = pod.open_doors.lock();
            open.retain(|entry| !is_at(entry, self.protocol, self.wanted));
        }
    }
}

#[cfg(test)]
mod tests;
