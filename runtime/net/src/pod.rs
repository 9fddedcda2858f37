//! A pod's side of the switch.
//!
//! ```text
//!   PodNet (one per instance: counters) ── Pod ──┬── ports, TCP and UDP
//!                                                ├── budgets: sockets, kernel sockets, bytes
//!                                                └── Fabric (one per switch)
//! ```

use std::collections::HashSet;
use std::fmt;
use std::mem::Discriminant;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use model::container::Protocol;
use model::runtime::{Door, PodId, PodNetwork, Resolver};
use tokio::sync::Semaphore;

use crate::budget::{Budget, Share};
use crate::decide::{Route, World};
use crate::door::Told;
use crate::error::NetError;
use crate::fabric::Fabric;
use crate::limits::{
    MAX_DOORS_PER_POD, MAX_KERNEL_SOCKETS_PER_POD, MAX_LOOKUPS_PER_POD, MAX_SOCKETS_PER_POD,
    SOCKETS_ON_THEIR_WAY,
};
use crate::lock::Lock;
use crate::meter::{Counters, Meter};
use crate::name::{self, Lookup};
use crate::ports::Ports;
use crate::steer::SteerError;
use crate::stream::TcpStream;
use crate::stream::pool::Funds;
use crate::tcp::{Family, TcpListener, TcpSocket, connect};
use crate::udp::{self, UdpSocket};
use crate::{decide, kernel};

/// A pod's network as one instance sees it: the pod's addresses, ports and names, and byte
/// counters of its own. A clone shares all of it; [`PodNet::for_instance`] begins new counters.
#[derive(Clone)]
pub struct PodNet {
    pub(crate) pod: Arc<Pod>,
    pub(crate) meter: Meter,
}

/// Which address of a pod the host connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostTarget {
    /// The pod's IP, which is IPv4, as a probe does: whoever other pods reach there.
    PodIp,
    /// The pod's localhost, as port-forward does: 127.0.0.1, then ::1.
    Localhost,
}

/// A door that is open now, or is about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenDoor {
    /// The port inside the pod.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The kernel's address and port through which it is reached.
    pub host: SocketAddr,
    /// Whether `host` has another port than asked for, because the user may not open that one.
    pub moved: bool,
}

/// One pod on the switch.
pub(crate) struct Pod {
    pub(crate) id: PodId,
    pub(crate) fabric: Arc<Fabric>,
    /// None on the host's network.
    address: Option<Ipv4Addr>,
    pub(crate) hostname: String,
    /// Lower case, the host name among them.
    pub(crate) names: Vec<String>,
    pub(crate) hosts: Vec<(IpAddr, Vec<String>)>,
    pub(crate) resolver: Resolver,
    /// Doors that are wanted.
    pub(crate) doors: Vec<Door>,
    /// Doors that are open, by the address that was asked for.
    pub(crate) open_doors: Lock<Vec<(SocketAddr, OpenDoor)>>,
    pub(crate) tcp: Lock<Ports<TcpListener>>,
    pub(crate) udp: Lock<Ports<Weak<udp::Inner>>>,
    /// Bytes in pipes and write backlogs.
    pub(crate) buffers: Budget,
    /// Bytes of datagrams that wait.
    pub(crate) datagrams: Budget,
    pub(crate) lookups: Arc<Semaphore>,
    pub(crate) sockets: Budget,
    kernel_sockets: Budget,
    /// What was told of its doors.
    pub(crate) told: Told,
    /// For what reasons it was told that a port of it is not steered.
    unsteered: Lock<HashSet<Discriminant<SteerError>>>,
    removed: AtomicBool,
}

/// The names by which a pod is found, each once, in lower case: its host name and further ones.
pub fn names(network: &PodNetwork) -> Vec<String> {
    let names = std::iter::once(&network.hostname).chain(&network.names);
    let mut names: Vec<String> = names
        .map(|name| name.trim_end_matches('.').to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The node's addresses, which a pod on the host's network has: where packets to the world would
/// come from.
pub fn node_addresses() -> Vec<IpAddr> {
    // The destinations are documentation's.
    let outside = [
        IpAddr::from([192, 0, 2, 1]),
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    ];
    let own = outside.into_iter().filter_map(kernel::source_toward);
    let own: Vec<IpAddr> = own.filter(|address| !address.is_loopback()).collect();
    if own.is_empty() {
        vec![Ipv4Addr::LOCALHOST.into()]
    } else {
        own
    }
}

// === impl PodNet ===

impl PodNet {
    pub(crate) fn new(pod: Arc<Pod>) -> Self {
        Self {
            pod,
            meter: Meter::default(),
        }
    }

    /// The pod's number.
    pub fn id(&self) -> PodId {
        self.pod.id
    }

    /// Its addresses, IPv4 first: `podIPs`. Of a pod on the host's network: the node's.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.pod.addresses()
    }

    /// Its host name.
    pub fn hostname(&self) -> &str {
        &self.pod.hostname
    }

    /// Whether its sockets are the kernel's as they are: `hostNetwork`.
    pub fn is_host_network(&self) -> bool {
        self.pod.is_host()
    }

    /// The same pod with counters that begin at zero.
    #[must_use]
    pub fn for_instance(&self) -> Self {
        Self::new(Arc::clone(&self.pod))
    }

    /// What went through the sockets made through this handle and its clones.
    pub fn counters(&self) -> Counters {
        self.meter.read()
    }

    /// A new TCP socket. IPv6 ones are v6-only, as WASI demands.
    ///
    /// # Errors
    /// [`NetError::NewSocketLimit`] beyond the pod's cap; [`NetError::InvalidState`] once the pod
    /// is removed.
    pub fn tcp(&self, family: Family) -> Result<TcpSocket, NetError> {
        let slot = self.pod.slot()?;
        Ok(TcpSocket::new(self.clone(), family, slot))
    }

    /// A new UDP socket. IPv6 ones are v6-only, as WASI demands.
    ///
    /// # Errors
    /// As [`PodNet::tcp`].
    pub fn udp(&self, family: Family) -> Result<UdpSocket, NetError> {
        let slot = self.pod.slot()?;
        Ok(UdpSocket::new(self.clone(), family, slot))
    }

    /// Whether the pod may have one more, of the kernel's too.
    pub fn has_socket(&self) -> bool {
        self.pod.has_socket()
    }

    /// Waits until a socket of a pod of this switch is given back: for who was told
    /// [`NetError::NewSocketLimit`]. Nothing is missed from the moment that it is made, so make it
    /// before you try.
    pub fn socket_freed(&self) -> impl Future<Output = ()> + Send {
        self.pod.fabric.freed.notified()
    }

    /// Looks a name up: literals, localhost, the pod's own name and hosts entries, pods of this
    /// switch and of the run's others, then DNS. At least one address where it succeeds; never mapped ones. May be polled
    /// on any thread, inside an async runtime or not; dropping it gives the look-up up.
    ///
    /// # Errors
    /// [`NetError::InvalidArgument`] for what is no name, [`NetError::NameUnresolvable`],
    /// [`NetError::TemporaryResolverFailure`], [`NetError::PermanentResolverFailure`].
    pub fn resolve(
        &self,
        name: &str,
        lookup: Lookup,
    ) -> impl Future<Output = Result<Vec<IpAddr>, NetError>> + Send + 'static + use<> {
        name::resolve(Arc::clone(&self.pod), name, lookup)
    }

    /// A connection to a listener of the pod, from outside the pod: probes and port-forwards.
    /// In memory; counted for the listener only. The peer the guest sees is the gateway of the
    /// pod's block, or its localhost for [`HostTarget::Localhost`]. Of a pod on the host's network
    /// a kernel connection that may still be under way: the first read or write tells.
    ///
    /// # Errors
    /// [`NetError::ConnectionRefused`] where nobody listens or the backlog is full.
    pub fn connect_from_host(&self, port: u16, target: HostTarget) -> Result<TcpStream, NetError> {
        connect::from_host(&self.pod, port, target)
    }

    /// The pod's open doors in the order of their ports.
    pub fn doors(&self) -> Vec<OpenDoor> {
        let open = self.pod.open_doors.lock();
        let mut doors: Vec<OpenDoor> = open.iter().map(|(_, door)| *door).collect();
        drop(open);
        doors.sort_by_key(|door| (door.port, door.protocol, door.host));
        doors
    }

    /// Where the door of a TCP port of the pod's first address has moved. Nothing where it stands
    /// at that port, and where there is none: it is not declared, or has failed.
    pub fn moved_door(&self, port: u16) -> Option<SocketAddr> {
        let own = SocketAddr::new(*self.addresses().first()?, port);
        let open = self.pod.open_doors.lock();
        let mut doors = open.iter();
        let door = doors.find(|(asked, door)| {
            *asked == own && door.port == port && door.protocol == Protocol::Tcp
        });
        door.filter(|(_, door)| door.moved)
            .map(|(_, door)| door.host)
    }
}

impl fmt::Debug for PodNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PodNet({:?})", self.pod)
    }
}

// === impl Pod ===

impl Pod {
    pub(crate) fn new(
        id: PodId,
        network: &PodNetwork,
        address: Option<Ipv4Addr>,
        fabric: Arc<Fabric>,
    ) -> Self {
        let freed = Arc::clone(&fabric.freed);
        Self {
            id,
            fabric,
            address,
            hostname: network.hostname.clone(),
            names: names(network),
            hosts: network.hosts.clone(),
            resolver: network.dns.clone(),
            doors: network
                .doors
                .iter()
                .take(MAX_DOORS_PER_POD)
                .cloned()
                .collect(),
            open_doors: Lock::default(),
            tcp: Lock::default(),
            udp: Lock::default(),
            buffers: Budget::default(),
            datagrams: Budget::default(),
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS_PER_POD)),
            sockets: Budget::telling(Arc::clone(&freed)),
            kernel_sockets: Budget::telling(freed),
            told: Told::default(),
            unsteered: Lock::default(),
            removed: AtomicBool::new(false),
        }
    }

    /// Ends everything that others could reach.
    pub(crate) fn close(&self) {
        self.removed.store(true, Ordering::Relaxed);
        self.fabric.leave(self);
        let (listeners, receivers) = (self.tcp.lock().close(), self.udp.lock().close());
        for listener in listeners {
            listener.close();
        }
        for receiver in receivers.iter().filter_map(Weak::upgrade) {
            receiver.close();
        }
        if let Some(address) = self.address {
            self.fabric.give_address(address);
        }
    }

    pub(crate) fn is_host(&self) -> bool {
        self.address.is_none()
    }

    pub(crate) fn address_v4(&self) -> Option<Ipv4Addr> {
        self.address
    }

    /// Its address of a family; none on the host's network.
    pub(crate) fn address(&self, family: Family) -> Option<IpAddr> {
        let v4 = self.address?;
        Some(match family {
            Family::V4 => v4.into(),
            Family::V6 => self.fabric.range.twin(v4).into(),
        })
    }

    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        if self.is_host() {
            return node_addresses();
        }
        [Family::V4, Family::V6]
            .into_iter()
            .filter_map(|family| self.address(family))
            .collect()
    }

    /// The address under which it sees the node, of the family.
    pub(crate) fn gateway(&self, family: Family) -> Option<IpAddr> {
        let gateway = self.fabric.range.gateway(self.address?);
        Some(match family {
            Family::V4 => gateway.into(),
            Family::V6 => self.fabric.range.twin(gateway).into(),
        })
    }

    /// The address that something sent to `destination` comes from, unless the socket is bound to
    /// one. Only for destinations in memory, and as the look of one in the kernel.
    pub(crate) fn source_for(&self, destination: IpAddr) -> IpAddr {
        let family = Family::of(destination);
        let own = self.address(family).unwrap_or_else(|| family.unspecified());
        if self.is_localhost(destination) {
            decide::localhost(destination)
        } else {
            own
        }
    }

    /// Whether it is an address that the pod's sockets can be bound to.
    pub(crate) fn may_bind(&self, address: IpAddr) -> bool {
        address.is_unspecified() || self.is_own(address) || self.is_localhost(address)
    }

    /// Whether it is the pod's localhost: without root the pod range is loopback too.
    pub(crate) fn is_localhost(&self, address: IpAddr) -> bool {
        address.is_loopback() && !self.in_pod_range(address)
    }

    /// One more socket.
    pub(crate) fn slot(&self) -> Result<Share, NetError> {
        if self.removed.load(Ordering::Relaxed) {
            return Err(NetError::InvalidState);
        }
        self.sockets
            .share(1, MAX_SOCKETS_PER_POD)
            .ok_or(NetError::NewSocketLimit)
    }

    /// One more kernel socket.
    pub(crate) fn kernel_slot(&self) -> Result<Share, NetError> {
        let share = self.kernel_sockets.share(1, MAX_KERNEL_SOCKETS_PER_POD);
        share.ok_or(NetError::NewSocketLimit)
    }

    /// One more socket that is the kernel's too. Nothing is taken where one of the two is missing,
    /// so that nobody who waits for one to be given back is woken by that.
    pub(crate) fn both_slots(&self) -> Result<(Share, Share), NetError> {
        if !self.removed.load(Ordering::Relaxed) && !self.has_socket() {
            return Err(NetError::NewSocketLimit);
        }
        Ok((self.slot()?, self.kernel_slot()?))
    }

    /// The same for a connection that is accepted already, which may exceed the limits by so many.
    pub(crate) fn both_slots_beyond(&self) -> Result<(Share, Share), NetError> {
        let sockets = MAX_SOCKETS_PER_POD + SOCKETS_ON_THEIR_WAY;
        let slot = self.sockets.share(1, sockets);
        Ok((
            slot.ok_or(NetError::NewSocketLimit)?,
            self.kernel_slot_beyond()?,
        ))
    }

    /// One more kernel socket, also where the limit is exceeded by no more than so many.
    pub(crate) fn kernel_slot_beyond(&self) -> Result<Share, NetError> {
        let limit = MAX_KERNEL_SOCKETS_PER_POD + SOCKETS_ON_THEIR_WAY;
        let share = self.kernel_sockets.share(1, limit);
        share.ok_or(NetError::NewSocketLimit)
    }

    /// Whether there is room for one more, of the kernel's too.
    fn has_socket(&self) -> bool {
        self.sockets.left(MAX_SOCKETS_PER_POD) > 0
            && self.kernel_sockets.left(MAX_KERNEL_SOCKETS_PER_POD) > 0
    }

    /// Whether it is the first time that a port of this pod is not steered for such a reason: one
    /// is told, since the next would say the same.
    pub(crate) fn is_news(&self, why: &SteerError) -> bool {
        self.unsteered.lock().insert(std::mem::discriminant(why))
    }

    /// Who pays for what the pod writes.
    pub(crate) fn funds(&self) -> Funds {
        Funds {
            pool: Arc::clone(&self.fabric.pool),
            budget: self.buffers.clone(),
        }
    }
}

impl World for Pod {
    fn is_own(&self, address: IpAddr) -> bool {
        self.address(Family::of(address)) == Some(address)
    }

    fn in_pod_range(&self, address: IpAddr) -> bool {
        self.fabric.range.contains(address)
    }

    fn has_pod(&self, address: IpAddr) -> bool {
        self.fabric.pod_at(address).is_some()
    }

    fn has_peers(&self) -> bool {
        self.fabric.peers.is_some()
    }

    fn route(&self, address: IpAddr) -> Route {
        self.fabric.routes.of(address)
    }
}

impl fmt::Debug for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {:?}", self.id.0, self.hostname, self.address)
    }
}
