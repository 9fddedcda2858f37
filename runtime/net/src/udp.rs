//! UDP sockets of guests.
//!
//! ```text
//!   sender ── decide ──┬── another socket's queue             (memory)
//!                      ├── another switch                     (Peers)
//!                      ├── door ── kernel socket              (answers to who came through it)
//!                      └── outside ── one kernel socket       (answers from whom it sent to)
//! ```
//!
//! A socket's kernel sockets are read when its queue is empty and it is asked for more, so no task
//! stands between, and what nobody reads stays in the kernel. On the host's network the kernel
//! socket is all there is.

mod kernel;
mod outside;
mod queue;
mod way;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use model::container::Protocol;

use self::outside::{Outside, Via};
use self::queue::{Datagram, Queue};
use self::way::Way;
use crate::budget::Share;
use crate::decide::{Verdict, decide};
use crate::door;
use crate::error::NetError;
use crate::limits::MAX_DATAGRAM;
use crate::lock::Lock;
use crate::options::{Options, SetOption};
use crate::owned::Running;
use crate::pod::PodNet;
use crate::ports::{PortClaim, Reach};
use crate::switch::Listening;
use crate::tcp::{Family, check_unicast};
use crate::waiters::Waiters;

/// A UDP socket of a guest. Clones are the same socket; the last one closes it.
///
/// The source of what it sends is always its own address: there is no call that names another.
#[derive(Debug, Clone)]
pub struct UdpSocket(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    net: PodNet,
    family: Family,
    state: Lock<State>,
    /// Set when the pod is removed. Beside the state, because a sender asks while it holds its own.
    closed: AtomicBool,
    _slot: Share,
}

#[derive(Debug)]
struct State {
    bound: Option<PortClaim>,
    peer: Option<SocketAddr>,
    options: Options,
    queue: Queue,
    /// What the peer of a connected socket refused.
    refused: Option<NetError>,
    waiters: Waiters,
    outside: Outside,
    /// Where the last datagram went, so that the next need not ask the directory.
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    to: SocketAddr,
    receiver: Weak<Inner>,
    from: SocketAddr,
}

// === impl UdpSocket ===

impl UdpSocket {
    pub(crate) fn new(net: PodNet, family: Family, slot: Share) -> Self {
        let queue = Queue::new(net.pod.datagrams.clone());
        let state = State {
            bound: None,
            peer: None,
            options: Options::DEFAULT,
            queue,
            refused: None,
            waiters: Waiters::default(),
            outside: Outside::default(),
            last: None,
        };
        let (state, closed) = (Lock::new(state), AtomicBool::new(false));
        Self(Arc::new(Inner {
            net,
            family,
            state,
            closed,
            _slot: slot,
        }))
    }

    /// Its family.
    pub fn family(&self) -> Family {
        self.0.family
    }

    /// Binds, as [`crate::TcpSocket::bind`] does. Opens the doors of the port, for which it may
    /// have to wait; their failures are notices and never this call's.
    ///
    /// # Errors
    /// As there.
    pub async fn bind(&self, address: SocketAddr) -> Result<(), NetError> {
        let Some((reach, port)) = self.claim(address)? else {
            return Ok(());
        };
        let pod = Arc::clone(&self.0.net.pod);
        let kernel = pod.fabric.kernel.clone();
        let opening = async move { door::open(&pod, Protocol::Udp, reach, port).await };
        let doors = match Running::start(&kernel, opening) {
            Ok(doors) => doors,
            // Nothing comes of it only where the runtime ends.
            Err(running) => running.await.unwrap_or_default(),
        };
        let mut state = self.0.state.lock();
        if !self.0.is_closed() {
            state.outside.doors = doors.plain;
        }
        drop(state);
        self.0.tell(SocketAddr::new(reach.address(), port), true);
        Ok(())
    }

    /// Takes a port of the pod; none on the host's network, where the kernel's is all there is.
    fn claim(&self, address: SocketAddr) -> Result<Option<(Reach, u16)>, NetError> {
        let mut state = self.0.state.lock();
        if state.is_bound() {
            return Err(NetError::InvalidState);
        }
        check_unicast(self.0.family, address.ip())?;
        if address.ip().to_canonical() != address.ip() {
            return Err(NetError::InvalidArgument);
        }
        if self.0.net.is_host_network() {
            let address = self.0.bind_kernel(&mut state, address)?;
            drop(state);
            self.0.tell(address, true);
            return Ok(None);
        }
        if !self.0.net.pod.may_bind(address.ip()) {
            return Err(NetError::AddressNotBindable);
        }
        self.bind_port(&mut state, Reach::of(address.ip()), address.port())?;
        let claim = state.bound.as_ref();
        Ok(claim.map(|claim| (claim.reach, claim.port)))
    }

    /// Limits the socket to one peer, or to none with `None`; binds it first where it is not.
    /// Datagrams of others that wait already are dropped.
    ///
    /// # Errors
    /// [`NetError::InvalidArgument`] for another family, the wildcard address or port 0;
    /// [`NetError::AccessDenied`] and [`NetError::RemoteUnreachable`] where the switch decides so;
    /// [`NetError::InvalidState`] for `None` on a socket without a peer.
    pub fn connect(&self, peer: Option<SocketAddr>) -> Result<(), NetError> {
        let mut state = self.0.state.lock();
        self.0.check_open()?;
        let Some(peer) = peer else {
            return self.0.disconnect(&mut state);
        };
        self.check_destination(peer)?;
        if peer.ip().is_unspecified() {
            return Err(NetError::InvalidArgument);
        }
        if self.0.net.is_host_network() {
            self.0.connect_kernel(&mut state, peer)?;
        } else {
            self.bind_for(&mut state)?;
            let through_door = matches!(state.outside.via(peer), Some(Via::Door { .. }));
            match decide(peer.ip(), &*self.0.net.pod) {
                _ if through_door => {}
                Verdict::Denied(_) => return Err(NetError::AccessDenied),
                Verdict::Unreachable => return Err(NetError::RemoteUnreachable),
                Verdict::Kernel(_) => self.0.connect_outside(&mut state, peer)?,
                Verdict::Own(_) | Verdict::Pod(_) | Verdict::Peer(_) | Verdict::Nobody => {}
            }
        }
        state.peer = Some(peer);
        state.refused = None;
        state.queue.keep_only(peer);
        Ok(())
    }

    /// Sends one datagram, to the peer with `None`; binds the socket first where it is not.
    ///
    /// # Errors
    /// [`NetError::DatagramTooLarge`]; [`NetError::InvalidArgument`] without a destination, with
    /// another one than the peer, with another family or port 0; [`NetError::AccessDenied`] and
    /// [`NetError::RemoteUnreachable`] where the switch decides so;
    /// [`NetError::ConnectionRefused`] if the peer refused an earlier one;
    /// [`NetError::WouldBlock`] only toward the kernel. A full receiver loses it silently.
    pub fn try_send(&self, datagram: &[u8], to: Option<SocketAddr>) -> Result<(), NetError> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(NetError::DatagramTooLarge);
        }
        let mut state = self.0.state.lock();
        self.0.check_open()?;
        if let Some(error) = state.refused.take() {
            return Err(error);
        }
        let to = match (to, state.peer) {
            (Some(to), Some(peer)) if to != peer => return Err(NetError::InvalidArgument),
            (Some(to), _) => to,
            (None, Some(peer)) => peer,
            (None, None) => return Err(NetError::InvalidArgument),
        };
        self.check_destination(to)?;
        let way = self.way(&mut state, datagram, to)?;
        let connected = state.peer.is_some();
        drop(state);
        match way {
            Way::Sent => {}
            // The lock is free again: the receiver may be this very socket.
            Way::Memory(receiver, from) => receiver.deliver(datagram, from),
            Way::Peer(peers, from) => peers.send(datagram, from, to),
            Way::Nobody if connected => self.0.refuse(),
            Way::Nobody => {}
        }
        self.0.net.meter.sent(datagram.len());
        Ok(())
    }

    /// Receives one datagram and its source.
    ///
    /// # Errors
    /// [`NetError::WouldBlock`]; [`NetError::InvalidState`] if not bound;
    /// [`NetError::ConnectionRefused`] if the peer refused an earlier one.
    pub fn try_receive(&self) -> Result<(Bytes, SocketAddr), NetError> {
        let mut state = self.0.state.lock();
        self.0.check_open()?;
        if !state.is_bound() {
            return Err(NetError::InvalidState);
        }
        if state.queue.is_empty() {
            self.0.pump(&mut state);
        }
        if let Some(Datagram { bytes, from }) = state.queue.pop() {
            self.0.net.meter.received(bytes.len());
            return Ok((bytes, from));
        }
        Err(state.refused.take().unwrap_or(NetError::WouldBlock))
    }

    /// Ready when a datagram (or an error) waits.
    pub fn poll_receive_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock();
        loop {
            if self.0.is_closed() || state.refused.is_some() || !state.queue.is_empty() {
                return Poll::Ready(());
            }
            state.waiters.add(cx.waker());
            if state.outside.poll_readable(cx).is_pending() {
                return Poll::Pending;
            }
            if !self.0.pump(&mut state) {
                // Only strangers so far, and more of them may wait: others get their turn first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Ready when [`UdpSocket::try_send`] will take a datagram.
    pub fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.state.lock().outside.poll_writable(cx)
    }

    /// Where it is bound; with a peer, the address that the peer sees.
    ///
    /// # Errors
    /// [`NetError::InvalidState`] if it is not.
    pub fn local_address(&self) -> Result<SocketAddr, NetError> {
        let state = self.0.state.lock();
        match (&state.bound, state.outside.host_address()) {
            (Some(claim), _) => Ok(match (claim.reach, state.peer) {
                (Reach::Any(_), Some(peer)) => {
                    SocketAddr::new(self.0.net.pod.source_for(peer.ip()), claim.port)
                }
                _ => claim.address(),
            }),
            (None, Some(address)) => Ok(address),
            (None, None) => Err(NetError::InvalidState),
        }
    }

    /// Its peer.
    ///
    /// # Errors
    /// [`NetError::InvalidState`] without one.
    pub fn remote_address(&self) -> Result<SocketAddr, NetError> {
        self.0.state.lock().peer.ok_or(NetError::InvalidState)
    }

    /// Its options as they stand; those of TCP mean nothing here.
    pub fn options(&self) -> Options {
        self.0.state.lock().options
    }

    /// Sets an option.
    ///
    /// # Errors
    /// [`NetError::InvalidArgument`] for 0; [`NetError::NotSupported`] for the keep-alive ones.
    pub fn set_option(&self, option: SetOption) -> Result<(), NetError> {
        let (SetOption::HopLimit(_) | SetOption::ReceiveBuffer(_) | SetOption::SendBuffer(_)) =
            option
        else {
            return Err(NetError::NotSupported);
        };
        let mut state = self.0.state.lock();
        let before = state.options;
        state.options.set(option)?;
        state.outside.apply(&before, &state.options, self.0.family);
        Ok(())
    }

    /// Refuses what cannot be a destination of this socket. Mapped addresses are of no use on a
    /// v6-only socket: an answer could not come back to it.
    fn check_destination(&self, to: SocketAddr) -> Result<(), NetError> {
        let mapped = to.ip().to_canonical() != to.ip();
        if Family::of(to.ip()) != self.0.family || mapped || to.port() == 0 {
            return Err(NetError::InvalidArgument);
        }
        Ok(())
    }
}

// === impl Inner ===

impl Inner {
    /// Takes a datagram from another socket of the switch; loses it where Linux would.
    pub(crate) fn deliver(&self, datagram: &[u8], from: SocketAddr) {
        let mut state = self.state.lock();
        if self.is_closed() || state.peer.is_some_and(|peer| peer != from) {
            return;
        }
        if state.queue.push(datagram, from) {
            let waiters = state.waiters.take();
            drop(state);
            waiters.wake();
        }
    }

    /// Nobody took what was sent to `peer`, at another switch.
    pub(crate) fn refused_by(&self, peer: SocketAddr) {
        let connected = self.state.lock().peer;
        if connected == Some(peer) {
            self.refuse();
        }
    }

    /// Ends the socket as its pod is removed.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        self.closed.store(true, Ordering::Release);
        let address = state.bound.as_ref().map(PortClaim::address);
        let outside = std::mem::take(&mut state.outside);
        let waiters = state.waiters.take();
        drop(state);
        drop(outside);
        waiters.wake();
        if let Some(address) = address {
            self.tell(address, false);
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn check_open(&self) -> Result<(), NetError> {
        if self.is_closed() {
            Err(NetError::InvalidState)
        } else {
            Ok(())
        }
    }

    /// Remembers that the peer of a connected socket does not exist: ECONNREFUSED.
    fn refuse(&self) {
        let mut state = self.state.lock();
        state.refused = Some(NetError::ConnectionRefused);
        let waiters = state.waiters.take();
        drop(state);
        waiters.wake();
    }

    fn tell(&self, address: SocketAddr, open: bool) {
        let listening = Listening {
            protocol: Protocol::Udp,
            address,
            open,
        };
        self.net
            .pod
            .fabric
            .observer
            .listening(self.net.id(), listening);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let was_closed = self.closed.swap(true, Ordering::AcqRel);
        let state = self.state.lock();
        let bound = state.bound.as_ref().map(PortClaim::address);
        let address = bound.or(state.outside.host_address());
        drop(state);
        if let Some(address) = address.filter(|_| !was_closed) {
            self.tell(address, false);
        }
    }
}

// === impl State ===

impl State {
    fn is_bound(&self) -> bool {
        self.bound.is_some() || self.outside.host_address().is_some()
    }
}

#[cfg(test)]
mod tests;
