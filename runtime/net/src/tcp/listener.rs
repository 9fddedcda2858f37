//! Listening sockets: a queue in memory, and doors beside it.
//!
//! ```text
//!   connect in memory ── offer ──────> queue ──┐
//!   outside ── steering ── deliver ──────┘     │
//!                                              ├── try_accept ── TcpSocket
//!   outside ── kernel backlog ── doors ────────┘   in turns
//! ```
//!
//! Doors are kernel listeners that are asked when the guest accepts; no task stands between, and
//! what the guest does not accept waits in the kernel's backlog. A listener on the host's network
//! is one such door and an empty queue. What is steered comes to the queue, already accepted: the
//! kernel's listener is everybody's there. Once a crowd waits in the queue, the port has a kernel
//! listener of its own, which is asked as a door is, and the rest waits there.
//!
//! Where two listeners of a pod have one port, each has the doors of its family; a door passes to
//! the other with the first that listens or ends, and is never closed between.

mod host;

use std::cell::LazyCell;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};

use model::container::Protocol;
use rustix::event::PollFlags;
use rustix::net::sockopt;

use super::{Bound, Family, TcpSocket};
use crate::budget::Share;
use crate::door::{self, Doors};
use crate::error::NetError;
use crate::fabric::Fabric;
use crate::kernel::{self, KernelSocket};
use crate::limits::{MAX_STEERED_WAITING, STEERED_CROWD};
use crate::lock::Lock;
use crate::options::Options;
use crate::owned::Running;
use crate::pod::{Pod, PodNet};
use crate::ports::{PortClaim, Reach};
use crate::steer::reset;
use crate::stream::kernel::KernelEnd;
use crate::stream::memory::MemoryEnd;
use crate::stream::pool::Funds;
use crate::stream::{Addresses, Link, TcpStream};
use crate::switch::Listening;
use crate::waiters::Waiters;

/// A listening socket: accepts, and nothing else. Clones are the same listener; it ends with the
/// [`TcpSocket`] it came from and the [`super::TcpIncoming`]s of that.
#[derive(Clone)]
pub struct TcpListener(Arc<Shared>);

struct Shared {
    net: PodNet,
    family: Family,
    address: SocketAddr,
    queue: Lock<Queue>,
    doors: Lock<Doors>,
}

struct Queue {
    /// Each with whether it was steered here.
    waiting: VecDeque<(TcpStream, bool)>,
    /// How many of them were.
    steered: usize,
    /// Who comes through a door is next, if anybody does.
    is_doors_turn: bool,
    backlog: usize,
    options: Options,
    /// Until its doors stand open who connects in memory is refused: whoever is not has found a
    /// listener that everybody finds.
    opening: bool,
    closed: bool,
    waiters: Waiters,
}

/// Doors that open. Where nobody waits for them any more, the listener is closed, and the other one
/// of the port opens what it had left to this.
struct Opening {
    listener: TcpListener,
    running: Running<()>,
}

/// A listener with its port: closes both when dropped.
pub(crate) struct ListenGuard {
    listener: TcpListener,
    _claim: Option<PortClaim>,
    _slot: Share,
}

// === impl TcpListener ===

impl TcpListener {
    /// Takes a waiting connection, from memory or through a door. It has the listener's options.
    ///
    /// # Errors
    /// [`NetError::WouldBlock`] while none waits; [`NetError::NewSocketLimit`], the connection
    /// then waits on; [`NetError::InvalidState`] once the listener is closed.
    pub fn try_accept(&self) -> Result<TcpSocket, NetError> {
        let mut queue = self.0.queue.lock();
        if queue.closed {
            return Err(NetError::InvalidState);
        }
        let options = queue.options;
        let is_doors_turn = queue.is_doors_turn;
        queue.is_doors_turn = !is_doors_turn;
        let waiting = if is_doors_turn { None } else { queue.take() };
        drop(queue);
        let stream = match waiting {
            Some(stream) => with_options(stream, &options),
            None => match self.accept_outside(&options) {
                Ok(stream) => stream,
                Err(error) => with_options(self.take_instead(error)?, &options),
            },
        };
        Ok(TcpSocket::accepted(
            self.0.net.clone(),
            self.0.family,
            options,
            stream,
        ))
    }

    /// Takes who waits in the queue, where nobody could be accepted through a door in its turn.
    fn take_instead(&self, error: NetError) -> Result<TcpStream, NetError> {
        let is_skipped = matches!(error, NetError::WouldBlock | NetError::NewSocketLimit);
        let waiting = is_skipped.then(|| self.0.queue.lock().take()).flatten();
        waiting.ok_or(error)
    }

    /// Ready when a connection waits or the listener is closed.
    pub fn poll_acceptable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.0.queue.lock();
        if queue.closed || !queue.waiting.is_empty() {
            return Poll::Ready(());
        }
        queue.waiters.add(cx.waker());
        drop(queue);
        let doors = self.0.doors.lock();
        // Every door must know the waker, so none is skipped.
        let ready = doors
            .listeners()
            .filter(|listener| listener.poll_readable(cx).is_ready())
            .count();
        if ready > 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.0.address
    }

    /// Hands a connection in memory over and returns the connecting end. `addresses` are the
    /// listener's view. Refused where the backlog is full, as Linux does with
    /// `tcp_abort_on_overflow`: a guest should learn it at once.
    pub(crate) fn offer(
        &self,
        connecting: Funds,
        addresses: Addresses,
    ) -> Result<MemoryEnd, NetError> {
        let (connected, accepted) = MemoryEnd::pair(connecting, self.0.net.pod.funds());
        self.enqueue(Link::Memory(accepted), addresses)?;
        Ok(connected)
    }

    /// Puts a connection into the queue of those that wait to be accepted; refused as there.
    pub(crate) fn enqueue(&self, link: Link, addresses: Addresses) -> Result<(), NetError> {
        let addresses = Addresses {
            local: self.0.family.show(addresses.local),
            remote: self.0.family.show(addresses.remote),
        };
        let slot = self.0.net.pod.slot();
        let slot = slot.map_err(|_| NetError::ConnectionRefused)?;
        let meter = self.0.net.meter.clone();
        let stream = TcpStream::new(link, addresses, meter, Some(slot), None);
        let mut queue = self.0.queue.lock();
        if queue.opening || queue.closed || queue.waiting.len() >= queue.backlog {
            // What is refused ends with the lock free again.
            drop(queue);
            return Err(NetError::ConnectionRefused);
        }
        queue.waiting.push_back((stream, false));
        let waiters = queue.waiters.take();
        drop(queue);
        waiters.wake();
        Ok(())
    }

    /// Takes a connection that was steered here, to `at`; resets it where it finds nobody. Beyond a
    /// crowd, or the limits of the pod, the next waits in the port's own queue. Where there is none,
    /// what is more than a long crowd, or than the limits, is reset.
    pub(crate) fn deliver(&self, socket: OwnedFd, at: SocketAddr, peer: SocketAddr) {
        let Some(shares) = self.steered_slots(at) else {
            return reset(socket);
        };
        // Its options follow when it is accepted: they may change until then.
        let stream = match self.welcome(socket, peer, shares, &Options::DEFAULT) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, %peer, listener = ?self, "a connection to a pod is lost");
                return;
            }
        };
        let mut queue = self.0.queue.lock();
        if queue.closed {
            drop(queue);
            return stream.abort();
        }
        queue.waiting.push_back((stream, true));
        queue.steered += 1;
        let waiters = queue.waiters.take();
        drop(queue);
        waiters.wake();
    }

    /// The places of one more connection that was steered to `at`, if there are any.
    fn steered_slots(&self, at: SocketAddr) -> Option<(Share, Share)> {
        let queue = self.0.queue.lock();
        let is_crowded = queue.steered >= STEERED_CROWD;
        let is_full = queue.steered >= queue.backlog.max(MAX_STEERED_WAITING);
        drop(queue);
        // It is asked once for a connection.
        let has_queue = LazyCell::new(|| self.has_queue(at));
        if is_crowded && !*has_queue && is_full {
            return None;
        }
        let pod = &self.0.net.pod;
        let slots = match pod.both_slots() {
            Err(NetError::NewSocketLimit) if *has_queue => pod.both_slots_beyond(),
            slots => slots,
        };
        slots.ok()
    }

    /// Whether a steered port of it has a queue of its own, or is to have one. Asks for it. A door
    /// that is on its way to another listener has time until the next connection.
    fn has_queue(&self, at: SocketAddr) -> bool {
        let queue = self.0.doors.lock().queue_at(at);
        queue.is_none_or(|queue| queue.ask(&self.0.net.pod))
    }

    /// Wakes who waits for connections, since there is a new place to look for them.
    pub(crate) fn rouse(&self) {
        let waiters = self.0.queue.lock().waiters.take();
        waiters.wake();
    }

    /// The switch that it is on.
    pub(super) fn fabric(&self) -> &Fabric {
        &self.0.net.pod.fabric
    }

    /// Stops listening: waiting connections are reset, doors close.
    pub(crate) fn close(&self) {
        let mut queue = self.0.queue.lock();
        let was_closed = std::mem::replace(&mut queue.closed, true);
        let (waiting, waiters) = (std::mem::take(&mut queue.waiting), queue.waiters.take());
        drop(queue);
        self.leave_doors();
        for (stream, _) in waiting {
            stream.abort();
        }
        waiters.wake();
        if !was_closed {
            self.0.tell(false);
        }
    }

    /// Takes doors that were opened for it or were another's, unless it has ended meanwhile.
    fn take_doors(&self, doors: Doors) {
        let mut queue = self.0.queue.lock();
        if queue.closed {
            // What is closed is closed with the lock free again.
            drop(queue);
            return drop(doors);
        }
        self.0.doors.lock().append(doors);
        // Who waits must know the new doors too.
        let waiters = queue.waiters.take();
        drop(queue);
        waiters.wake();
    }

    /// Closes its doors, but for those that lead to a listener of the other family from now on.
    fn leave_doors(&self) {
        let mut doors = std::mem::take(&mut *self.0.doors.lock());
        let pod = &self.0.net.pod;
        let Some(heir) = pod.listener(self.0.family.other(), self.0.address.port()) else {
            return;
        };
        let reach = Reach::of(heir.0.address.ip());
        heir.take_doors(doors.split_off(|at| door::suits(pod, Protocol::Tcp, reach, at)));
    }

    /// Opens the doors that it deserves and nobody has. It is found in memory from then on.
    async fn open_doors(self) {
        let (pod, address) = (&self.0.net.pod, self.0.address);
        let reach = Reach::of(address.ip());
        let doors = door::open(pod, Protocol::Tcp, reach, address.port()).await;
        self.take_doors(doors);
        pod.settle_doors(address.port());
        self.0.queue.lock().opening = false;
    }

    /// Gives up its doors of a family.
    fn part_with(&self, family: Family) -> Doors {
        let mut doors = self.0.doors.lock();
        doors.split_off(|at| Family::of(at.to_canonical()) == family)
    }

    pub(crate) fn set_backlog(&self, backlog: u32) {
        self.0.queue.lock().backlog = usize::try_from(backlog).unwrap_or(usize::MAX);
        if self.0.net.is_host_network() {
            for door in &self.0.doors.lock().plain {
                // A second listen(2) only changes the length of the queue.
                let _ =
                    rustix::net::listen(&door.socket, i32::try_from(backlog).unwrap_or(i32::MAX));
            }
        }
    }

    pub(crate) fn set_options(&self, options: Options) {
        self.0.queue.lock().options = options;
    }

    fn accept_outside(&self, options: &Options) -> Result<TcpStream, NetError> {
        let mut doors = self.0.doors.lock();
        if doors.listeners().next().is_none() {
            return Err(NetError::WouldBlock);
        }
        let pod = &self.0.net.pod;
        let shares = pod.both_slots();
        let (slot, share) = match shares {
            Err(_) if !doors.listeners().any(|one| one.has(PollFlags::IN)) => {
                return Err(NetError::WouldBlock);
            }
            other => other?,
        };
        let mut accepted = doors.accept(pod, self.0.address.port());
        let first = accepted.find(|result| !matches!(result, Err(NetError::WouldBlock)));
        let (socket, peer) = first.unwrap_or(Err(NetError::WouldBlock))?;
        drop(accepted);
        drop(doors);
        self.welcome(socket, peer, (slot, share), options)
    }

    /// Makes a stream of a connection that came through a door.
    fn welcome(
        &self,
        socket: OwnedFd,
        peer: SocketAddr,
        (slot, share): (Share, Share),
        options: &Options,
    ) -> Result<TcpStream, NetError> {
        let Shared {
            net,
            family,
            address,
            ..
        } = &*self.0;
        // As for connections that go out: guests cannot ask for it.
        sockopt::set_tcp_nodelay(&socket, true)?;
        let addresses = if net.is_host_network() {
            let local = kernel::local_address(&socket)?;
            Addresses {
                local: family.show(local),
                remote: family.show(peer),
            }
        } else {
            let remote = door::shown_as(&net.pod, *family, peer);
            let local = match address.ip().is_unspecified() {
                true => net.pod.address(Family::of(remote.ip())),
                false => None,
            };
            let local = SocketAddr::new(local.unwrap_or(address.ip()), address.port());
            Addresses {
                local: family.show(local),
                remote: family.show(remote),
            }
        };
        kernel::apply(
            &Options::DEFAULT,
            options,
            Family::of(peer.ip()),
            socket.as_fd(),
        );
        let reactor = net.pod.fabric.kernel.clone();
        let socket = KernelSocket::watch(socket, &net.pod.fabric.streams)?;
        let end = KernelEnd::new(socket, reactor, net.pod.buffers.clone(), share);
        Ok(TcpStream::new(
            Link::Kernel(end),
            addresses,
            net.meter.clone(),
            Some(slot),
            None,
        ))
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpListener({}, {:?})", self.0.address, self.0.net)
    }
}

/// Gives a connection that has waited the options of its listener.
fn with_options(stream: TcpStream, options: &Options) -> TcpStream {
    if let Link::Kernel(end) = stream.link() {
        let family = Family::of(stream.remote_address().ip().to_canonical());
        let socket = end.socket().as_fd();
        kernel::apply(&Options::DEFAULT, options, family, socket);
    }
    stream
}

// === impl Queue ===

impl Queue {
    /// Takes who has waited longest.
    fn take(&mut self) -> Option<TcpStream> {
        let (stream, is_steered) = self.waiting.pop_front()?;
        self.steered -= usize::from(is_steered);
        Some(stream)
    }
}

// === impl Opening ===

impl Opening {
    /// Opens a listener's doors.
    async fn of(listener: &TcpListener) {
        let kernel = &listener.0.net.pod.fabric.kernel;
        if let Err(running) = Running::start(kernel, listener.clone().open_doors()) {
            let mut opening = Self {
                listener: listener.clone(),
                running,
            };
            // Nothing comes of it only where the runtime ends.
            let _ = (&mut opening.running).await;
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let Some(task) = self.running.give_up() else {
            return;
        };
        self.listener.close();
        let (pod, port) = (&self.listener.0.net.pod, self.listener.0.address.port());
        let Some(heir) = pod.listener(self.listener.0.family.other(), port) else {
            return;
        };
        // It left the doors to this one, which has none to leave.
        pod.fabric.kernel.spawn(async move {
            let _ = task.await;
            heir.open_doors().await;
        });
    }
}

// === impl ListenGuard ===

impl ListenGuard {
    /// Makes a bound socket listen and opens its doors. It ends if nobody waits for that any more.
    pub(crate) async fn listen(
        net: &PodNet,
        slot: Share,
        bound: Bound,
        (family, options, backlog): (Family, Options, u32),
    ) -> Result<Self, NetError> {
        let pod = &net.pod;
        let (address, claim, doors) = match bound {
            Bound::Port(claim) => (claim.address(), Some(claim), Doors::default()),
            Bound::Kernel(socket, share) => host::listen(pod, socket, share, backlog)?,
        };
        let place = claim.as_ref().map(|claim| (claim.reach, claim.port));
        // Where the port has a listener already, nobody is turned away meanwhile.
        let is_alone = |port| match pod.listener(family.other(), port) {
            Some(other) => other.0.queue.lock().opening,
            None => true,
        };
        let queue = Queue {
            waiting: VecDeque::new(),
            steered: 0,
            is_doors_turn: false,
            backlog: usize::try_from(backlog).unwrap_or(usize::MAX),
            options,
            opening: !pod.is_host() && place.is_some_and(|(_, port)| is_alone(port)),
            closed: false,
            waiters: Waiters::default(),
        };
        let (queue, doors) = (Lock::new(queue), Lock::new(doors));
        let listener = TcpListener(Arc::new(Shared {
            net: net.clone(),
            family,
            address,
            queue,
            doors,
        }));
        let guard = Self {
            listener: listener.clone(),
            _claim: claim,
            _slot: slot,
        };
        if let Some((reach, port)) = place {
            pod.tcp.lock().set(reach, port, listener.clone());
            if !pod.is_host() {
                Opening::of(&listener).await;
            }
        }
        // The pod may have gone meanwhile.
        let is_closed = listener.0.queue.lock().closed;
        if !is_closed {
            listener.0.tell(true);
        }
        Ok(guard)
    }

    pub(crate) fn listener(&self) -> &TcpListener {
        &self.listener
    }
}

impl Drop for ListenGuard {
    fn drop(&mut self) {
        self.listener.close();
    }
}

impl fmt::Debug for ListenGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listener.fmt(f)
    }
}

// === impl Pod ===

impl Pod {
    /// Who listens at the pod's own address of a family, and has the doors of that family.
    pub(crate) fn listener(&self, family: Family, port: u16) -> Option<TcpListener> {
        let own = self.address(family)?;
        let listener = self.tcp.lock().find(own, port).cloned();
        listener.filter(|listener| !listener.0.queue.lock().closed)
    }

    /// Gives the doors of a port that two listeners have to the one of the door's family.
    fn settle_doors(&self, port: u16) {
        let [four, six] = [Family::V4, Family::V6].map(|family| self.listener(family, port));
        if let (Some(four), Some(six)) = (four, six) {
            four.take_doors(six.part_with(Family::V4));
            six.take_doors(four.part_with(Family::V6));
        }
    }
}

// === impl Shared ===

impl Shared {
    fn tell(&self, open: bool) {
        let listening = Listening {
            protocol: Protocol::Tcp,
            address: self.address,
            open,
        };
        self.net
            .pod
            .fabric
            .observer
            .listening(self.net.id(), listening);
    }
}
