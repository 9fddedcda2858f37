//! Carries out what the switch decides about a connect.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use model::container::Protocol;
use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};

use super::dial::{Attempt, Dial};
use super::{Bound, Family};
use crate::budget::Share;
use crate::decide::{Verdict, decide, localhost};
use crate::error::NetError;
use crate::kernel::{self, KernelSocket};
use crate::meter::Meter;
use crate::options::Options;
use crate::pod::{HostTarget, Pod, PodNet};
use crate::ports::{PortClaim, Reach};
use crate::stream::kernel::KernelEnd;
use crate::stream::{Addresses, Link, TcpStream};

/// A socket that connects, taken apart.
pub(crate) struct Call<'a> {
    pub(crate) net: &'a PodNet,
    pub(crate) family: Family,
    pub(crate) options: &'a Options,
    pub(crate) slot: Share,
    pub(crate) bound: Option<Bound>,
}

// === impl Call ===

impl Call<'_> {
    /// Connects. A stream through the kernel may still be under way.
    pub(crate) fn connect(self, to: SocketAddr) -> Result<Attempt, NetError> {
        if self.net.is_host_network() {
            return self.by_kernel(to).map(Attempt::Stream);
        }
        let pod = &self.net.pod;
        let stream = match decide(to.ip(), &**pod) {
            Verdict::Own(address) => {
                let pod = Arc::clone(pod);
                self.in_memory(&pod, (address, to.port()).into(), to)
            }
            Verdict::Pod(address) => {
                let target = pod
                    .fabric
                    .pod_at(address)
                    .ok_or(NetError::ConnectionRefused)?;
                self.in_memory(&target, (address, to.port()).into(), to)
            }
            Verdict::Peer(address) => return self.across((address, to.port()).into(), to),
            Verdict::Kernel(address) => self.outside((address, to.port()).into(), to),
            Verdict::Nobody => Err(NetError::ConnectionRefused),
            Verdict::Denied(_) => Err(NetError::AccessDenied),
            Verdict::Unreachable => Err(NetError::RemoteUnreachable),
        };
        stream.map(Attempt::Stream)
    }

    /// To a listener of this switch. `to` is where it goes, `named` what the guest wrote.
    fn in_memory(
        mut self,
        target: &Arc<Pod>,
        to: SocketAddr,
        named: SocketAddr,
    ) -> Result<TcpStream, NetError> {
        let claim = self.claim(to.ip())?;
        let source = source(&self.net.pod, &claim, to.ip())?;
        if !Arc::ptr_eq(target, &self.net.pod) && !self.is_own(source) {
            // Bound to localhost, toward another pod: EINVAL on Linux.
            return Err(NetError::InvalidArgument);
        }
        let listener = target.tcp.lock().find_dual(to.ip(), to.port()).cloned();
        let listener = listener.ok_or(NetError::ConnectionRefused)?;
        let from = SocketAddr::new(source, claim.port);
        let end = listener.offer(
            self.net.pod.funds(),
            Addresses {
                local: to,
                remote: from,
            },
        )?;
        let remote = if named.ip().is_unspecified() {
            self.family.show(to)
        } else {
            named
        };
        let addresses = Addresses {
            local: self.family.show(from),
            remote,
        };
        let meter = self.net.meter.clone();
        Ok(TcpStream::new(
            Link::Memory(end),
            addresses,
            meter,
            Some(self.slot),
            Some(claim),
        ))
    }

    /// To a listener of another switch, as [`Call::in_memory`] to one of this.
    fn across(mut self, to: SocketAddr, named: SocketAddr) -> Result<Attempt, NetError> {
        let pod = &self.net.pod;
        let peers = pod.fabric.peers.clone();
        let peers = peers.ok_or(NetError::ConnectionRefused)?;
        let share = pod.kernel_slot()?;
        let claim = self.claim(to.ip())?;
        let source = source(&self.net.pod, &claim, to.ip())?;
        if !self.is_own(source) {
            // Bound to localhost, toward another pod: EINVAL on Linux.
            return Err(NetError::InvalidArgument);
        }
        let from = SocketAddr::new(source, claim.port);
        let addresses = Addresses {
            local: self.family.show(from),
            remote: named,
        };
        let (reactor, buffers) = (pod.fabric.kernel.clone(), self.net.pod.buffers.clone());
        let (meter, slot) = (self.net.meter.clone(), self.slot);
        let watcher = reactor.clone();
        let stream = move |socket: OwnedFd| {
            let socket = KernelSocket::watch(socket, &watcher)?;
            let link = Link::Kernel(KernelEnd::new(socket, watcher, buffers, share));
            Ok(TcpStream::new(
                link,
                addresses,
                meter,
                Some(slot),
                Some(claim),
            ))
        };
        let dial = Dial::start(&reactor, peers.connect(from, to), stream);
        Ok(Attempt::Peer(dial))
    }

    /// To the world. The kernel socket is not bound, so the node's address is the source; the
    /// guest sees the pod's, as with address translation.
    fn outside(mut self, to: SocketAddr, named: SocketAddr) -> Result<TcpStream, NetError> {
        let claim = self.claim(to.ip())?;
        let source = source(&self.net.pod, &claim, to.ip())?;
        if !self.is_own(source) {
            // Bound to localhost, toward the world: EINVAL on Linux.
            return Err(NetError::InvalidArgument);
        }
        let share = self.net.pod.kernel_slot()?;
        let socket = kernel::open(Family::of(to.ip()), SocketType::STREAM)?;
        let end = self.start(socket, share, to)?;
        let local = self.family.show(SocketAddr::new(source, claim.port));
        let addresses = Addresses {
            local,
            remote: named,
        };
        let meter = self.net.meter.clone();
        Ok(TcpStream::new(
            Link::Kernel(end),
            addresses,
            meter,
            Some(self.slot),
            Some(claim),
        ))
    }

    /// As the kernel does it, v6-only as WASI demands.
    fn by_kernel(mut self, to: SocketAddr) -> Result<TcpStream, NetError> {
        let (socket, share) = match self.bound.take() {
            Some(Bound::Kernel(socket, share)) => (socket, share),
            _ => {
                let share = self.net.pod.kernel_slot()?;
                (kernel::open(self.family, SocketType::STREAM)?, share)
            }
        };
        let end = self.start(socket, share, to)?;
        let local = kernel::local_address(end.socket())?;
        let addresses = Addresses { local, remote: to };
        let meter = self.net.meter.clone();
        Ok(TcpStream::new(
            Link::Kernel(end),
            addresses,
            meter,
            Some(self.slot),
            None,
        ))
    }

    fn start(&self, socket: OwnedFd, share: Share, to: SocketAddr) -> Result<KernelEnd, NetError> {
        kernel::apply(
            &Options::DEFAULT,
            self.options,
            Family::of(to.ip()),
            socket.as_fd(),
        );
        start(&self.net.pod, socket, share, to)
    }

    /// The port that the connection comes from.
    fn claim(&mut self, to: IpAddr) -> Result<PortClaim, NetError> {
        match self.bound.take() {
            Some(Bound::Port(claim)) => Ok(claim),
            _ => {
                let reach = Reach::One(self.net.pod.source_for(to));
                PortClaim::bind(&self.net.pod, Protocol::Tcp, reach, 0)
            }
        }
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.net.pod.address(Family::of(address)) == Some(address)
    }
}

/// The host connects to a listener of a pod.
pub(crate) fn from_host(
    pod: &Arc<Pod>,
    port: u16,
    target: HostTarget,
) -> Result<TcpStream, NetError> {
    if pod.is_host() {
        let address = match target {
            HostTarget::PodIp => pod.addresses().into_iter().next(),
            HostTarget::Localhost => Some(localhost(Family::V4.unspecified())),
        };
        let to = SocketAddr::new(address.ok_or(NetError::RemoteUnreachable)?, port);
        let socket = kernel::open(Family::of(to.ip()), SocketType::STREAM)?;
        let end = start(pod, socket, pod.kernel_slot()?, to)?;
        let addresses = Addresses {
            local: kernel::local_address(end.socket())?,
            remote: to,
        };
        return Ok(TcpStream::new(
            Link::Kernel(end),
            addresses,
            Meter::default(),
            None,
            None,
        ));
    }
    let mut result = Err(NetError::ConnectionRefused);
    // Who says that a pod answers says it of its IP: the first, which is IPv4.
    let families: &[Family] = match target {
        HostTarget::PodIp => &[Family::V4],
        HostTarget::Localhost => &[Family::V4, Family::V6],
    };
    for family in families.iter().copied() {
        let (to, from) = match target {
            HostTarget::PodIp => (pod.address(family), pod.gateway(family)),
            HostTarget::Localhost => {
                let own = localhost(family.unspecified());
                (Some(own), Some(own))
            }
        };
        let (Some(to), Some(from)) = (to, from) else {
            continue;
        };
        let Some(listener) = pod.tcp.lock().find_dual(to, port).cloned() else {
            continue;
        };
        let (local, remote) = ((to, port).into(), (from, pod.fabric.host_port()).into());
        result = listener
            .offer(pod.funds(), Addresses { local, remote })
            .map(|end| {
                let addresses = Addresses {
                    local: remote,
                    remote: local,
                };
                TcpStream::new(Link::Memory(end), addresses, Meter::default(), None, None)
            });
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Begins to connect a kernel socket.
fn start(pod: &Pod, socket: OwnedFd, share: Share, to: SocketAddr) -> Result<KernelEnd, NetError> {
    // WASI has no TCP_NODELAY for a guest to set, and programs assume that they can.
    sockopt::set_tcp_nodelay(&socket, true)?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let socket = KernelSocket::watch(socket, &pod.fabric.kernel)?;
    Ok(KernelEnd::new(
        socket,
        pod.fabric.kernel.clone(),
        pod.buffers.clone(),
        share,
    ))
}

/// The address that a connection comes from.
fn source(pod: &Pod, claim: &PortClaim, to: IpAddr) -> Result<IpAddr, NetError> {
    match claim.reach {
        Reach::Any(_) => Ok(pod.source_for(to)),
        Reach::One(address) if Family::of(address) == Family::of(to) => Ok(address),
        Reach::One(_) => Err(NetError::InvalidArgument),
    }
}
