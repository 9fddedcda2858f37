//! Kernel sockets: made, set up, and waited for.
//!
//! A [`KernelSocket`] is a non-blocking descriptor that the reactor watches. System calls are
//! tried at once and only then waited for, so a fresh socket is usable before the reactor has
//! seen it; who waits with [`KernelSocket::poll_heard`] before each receive asks the kernel only once
//! the reactor has heard of something. Where a socket may lead is decided by the callers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use crate::error::NetError;
use crate::lock::Lock;
use crate::options::Options;
use crate::tcp::Family;
use crate::waiters::Waiters;

/// A non-blocking socket under the eye of the reactor. Any number of tasks may wait for it.
#[derive(Debug)]
pub(crate) struct KernelSocket {
    socket: AsyncFd<OwnedFd>,
    waiting: Arc<Waiting>,
    /// What the reactor, which remembers one task per direction, wakes.
    read_waker: Waker,
    write_waker: Waker,
    /// No receive has found an end of what is there yet: there may be something of which the reactor
    /// has not heard.
    is_fresh: AtomicBool,
}

/// Who waits for a socket.
#[derive(Debug, Default)]
struct Waiting {
    readers: Lock<Waiters>,
    writers: Lock<Waiters>,
    swallowed: Swallowed,
}

/// Events that the reactor told of and no longer knows, since somebody who waits for the peer's end
/// took them from it: there may be something to read of which nobody will be told again.
#[derive(Debug, Default)]
struct Swallowed {
    events: AtomicU64,
    /// How many of them were before a receive that found nothing.
    settled: AtomicU64,
}

/// Wakes the readers.
struct WakeReaders(Arc<Waiting>);

/// Wakes everybody: the reactor tells errors of UDP sockets only as being writable.
struct WakeAll(Arc<Waiting>);

/// Never wait, and no signal when the peer is gone.
const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Makes a socket. IPv6 ones are v6-only; the address may be bound again at once after use.
pub(crate) fn open(family: Family, kind: SocketType) -> Result<OwnedFd, Errno> {
    let domain = match family {
        Family::V4 => AddressFamily::INET,
        Family::V6 => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(domain, kind, flags, None)?;
    if family == Family::V6 {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if kind == SocketType::STREAM {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    Ok(socket)
}

/// Makes a socket that is bound to `address`, and listens there if it is a TCP one. One that
/// `shares` has its port together with others of this user that do and are bound more or less
/// specifically.
pub(crate) fn open_bound(
    address: SocketAddr,
    kind: SocketType,
    backlog: i32,
    shares: bool,
) -> Result<OwnedFd, Errno> {
    let socket = open(Family::of(address.ip()), kind)?;
    if shares {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    if kind == SocketType::STREAM {
        rustix::net::listen(&socket, backlog)?;
    }
    Ok(socket)
}

/// Claims a port for a socket at every address, against all others of that sort: no two have such a
/// claim at one time, and none has one while there is a socket at every address, whether that
/// shares or not. The socket of the claim is bound to an address that no packet arrives at, shares
/// its port with those that do, and takes nothing.
///
/// It does not ask to share before it is bound, so the kernel lets it in only where it is alone.
pub(crate) fn claim_everywhere(
    family: Family,
    kind: SocketType,
    port: u16,
) -> Result<OwnedFd, Errno> {
    // Documentation's, as if they were the node's.
    let address: IpAddr = match family {
        Family::V4 => [192, 0, 2, 1].into(),
        Family::V6 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
    };
    let socket = open(family, kind)?;
    // Two claims with it would get on, as long as neither listens.
    sockopt::set_socket_reuseaddr(&socket, false)?;
    match family {
        Family::V4 => sockopt::set_ip_freebind(&socket, true)?,
        Family::V6 => sockopt::set_ipv6_freebind(&socket, true)?,
    }
    rustix::net::bind(&socket, &SocketAddr::new(address, port))?;
    sockopt::set_socket_reuseport(&socket, true)?;
    Ok(socket)
}

/// Gives a kernel socket the options that differ from `before`. What the kernel refuses is left as
/// it is: options are wishes.
pub(crate) fn apply(before: &Options, now: &Options, family: Family, socket: BorrowedFd<'_>) {
    if before == now {
        return;
    }
    let changed = |changed: bool, set: &dyn Fn() -> Result<(), Errno>| {
        if changed && let Err(error) = set() {
            tracing::debug!(%error, "the kernel refuses a socket option");
        }
    };
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    changed(before.hop_limit != now.hop_limit, &|| match family {
        Family::V4 => sockopt::set_ip_ttl(socket, now.hop_limit.into()),
        Family::V6 => sockopt::set_ipv6_unicast_hops(socket, Some(now.hop_limit)),
    });
    changed(before.receive_buffer != now.receive_buffer, &|| {
        sockopt::set_socket_recv_buffer_size(socket, size(now.receive_buffer))
    });
    changed(before.send_buffer != now.send_buffer, &|| {
        sockopt::set_socket_send_buffer_size(socket, size(now.send_buffer))
    });
    changed(before.keep_alive != now.keep_alive, &|| {
        sockopt::set_socket_keepalive(socket, now.keep_alive)
    });
    changed(before.keep_idle != now.keep_idle, &|| {
        sockopt::set_tcp_keepidle(socket, Duration::from_nanos(now.keep_idle))
    });
    changed(before.keep_interval != now.keep_interval, &|| {
        sockopt::set_tcp_keepintvl(socket, Duration::from_nanos(now.keep_interval))
    });
    changed(before.keep_count != now.keep_count, &|| {
        sockopt::set_tcp_keepcnt(socket, now.keep_count)
    });
}

/// The address that the node itself would use toward `destination`; no packet is sent.
pub(crate) fn source_toward(destination: IpAddr) -> Option<IpAddr> {
    let socket = open(Family::of(destination), SocketType::DGRAM).ok()?;
    rustix::net::connect(&socket, &SocketAddr::new(destination, 9)).ok()?;
    local_address(&socket).ok().map(|address| address.ip())
}

/// Where a kernel socket is bound.
pub(crate) fn local_address(socket: impl AsFd) -> Result<SocketAddr, Errno> {
    SocketAddr::try_from(rustix::net::getsockname(socket)?)
}

// === impl KernelSocket ===

impl KernelSocket {
    /// Puts a non-blocking descriptor under the eye of `reactor`.
    #[expect(
        deprecated,
        reason = "its successor is unsafe, and asks for what an OwnedFd is: one open descriptor"
    )]
    pub(crate) fn watch(socket: OwnedFd, reactor: &Handle) -> io::Result<Self> {
        let inside = reactor.enter();
        let socket = AsyncFd::new(socket)?;
        drop(inside);
        let waiting = Arc::new(Waiting::default());
        Ok(Self {
            socket,
            read_waker: Arc::new(WakeReaders(Arc::clone(&waiting))).into(),
            write_waker: Arc::new(WakeAll(Arc::clone(&waiting))).into(),
            waiting,
            is_fresh: AtomicBool::new(true),
        })
    }

    /// Of a stream: what is there. Where that leaves room, there is no more, and the next wait is for
    /// a new event (epoll(7), "Questions and answers", 9); a look ahead takes nothing away. What lies
    /// behind a peer's urgent mark, where a receive ends too, waits for the next event.
    pub(crate) fn receive(&self, into: &mut [u8], peek: bool) -> Result<usize, NetError> {
        let flags = RecvFlags::DONTWAIT
            | if peek {
                RecvFlags::PEEK
            } else {
                RecvFlags::empty()
            };
        let swallowed = self.waiting.swallowed.so_far();
        let mut all = None;
        let received = self.attempt(Interest::READABLE, |fd| {
            let count = rustix::net::recv(fd, &mut *into, flags)?.1;
            if !peek && (1..into.len()).contains(&count) {
                all = Some(count);
                return Err(Errno::WOULDBLOCK);
            }
            Ok(count)
        });
        if received == Err(NetError::WouldBlock) {
            self.waiting.swallowed.settle(swallowed);
            self.is_fresh.store(false, Ordering::Relaxed);
        }
        all.map_or(received, Ok)
    }

    pub(crate) fn receive_from(&self, into: &mut [u8]) -> Result<(usize, SocketAddr), NetError> {
        self.attempt(Interest::READABLE, |fd| {
            let (_, count, from) = rustix::net::recvfrom(fd, &mut *into, RecvFlags::DONTWAIT)?;
            Ok((
                count,
                from.ok_or(Errno::AFNOSUPPORT)
                    .and_then(SocketAddr::try_from)?,
            ))
        })
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize, NetError> {
        self.attempt(Interest::WRITABLE, |fd| rustix::net::send(fd, bytes, SEND))
    }

    pub(crate) fn send_to(&self, bytes: &[u8], to: SocketAddr) -> Result<usize, NetError> {
        self.attempt(Interest::WRITABLE, |fd| {
            rustix::net::sendto(fd, bytes, SEND, &to)
        })
    }

    pub(crate) fn accept(&self) -> Result<(OwnedFd, SocketAddr), NetError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        self.attempt(Interest::READABLE, |fd| {
            loop {
                match rustix::net::acceptfrom_with(fd, flags) {
                    Ok((socket, Some(peer))) => return Ok((socket, SocketAddr::try_from(peer)?)),
                    Ok((_, None)) => {}
                    // The client is gone already; Linux passes its errors on: accept(2).
                    Err(
                        Errno::CONNABORTED
                        | Errno::CONNRESET
                        | Errno::PROTO
                        | Errno::NOPROTOOPT
                        | Errno::NETDOWN
                        | Errno::NONET,
                    ) => {}
                    Err(errno) => return Err(errno),
                }
            }
        })
    }

    /// Whether a connect under way has ended: `None` while it has not.
    pub(crate) fn connected(&self) -> Option<Result<SocketAddr, NetError>> {
        match rustix::net::getpeername(&self.socket) {
            Ok(Some(peer)) => Some(SocketAddr::try_from(peer).map_err(NetError::from)),
            Ok(None) | Err(Errno::NOTCONN) => match sockopt::socket_error(&self.socket) {
                Ok(Ok(())) if self.has(PollFlags::HUP) => Some(Err(NetError::ConnectionAborted)),
                Ok(Ok(())) => None,
                Ok(Err(errno)) | Err(errno) => Some(Err(errno.into())),
            },
            Err(errno) => Some(Err(errno.into())),
        }
    }

    /// Ready when a receive or an accept would answer.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waiting.readers.lock().add(cx.waker());
        let mut reactor = Context::from_waker(&self.read_waker);
        while let Poll::Ready(event) = self.socket.poll_read_ready(&mut reactor) {
            match event {
                Ok(mut guard) if !self.has(PollFlags::IN) => guard.clear_ready(),
                // An error is the reactor's end: a try tells what the socket says.
                _ => return Poll::Ready(()),
            }
        }
        self.settle(PollFlags::IN)
    }

    /// Ready when the reactor has heard of the socket since a receive found nothing, or none has: for
    /// whoever tries then, and so need not ask the kernel in between.
    pub(crate) fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_fresh.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        self.waiting.readers.lock().add(cx.waker());
        let mut reactor = Context::from_waker(&self.read_waker);
        let heard = self.socket.poll_read_ready(&mut reactor).map(drop);
        match self.waiting.swallowed.is_open() {
            true => Poll::Ready(()),
            false => heard,
        }
    }

    /// Ready once the peer sends no more, or the connection is over, whatever there is to read
    /// before. Asks the reactor only, and not the kernel.
    pub(crate) fn poll_peer_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waiting.readers.lock().add(cx.waker());
        let mut reactor = Context::from_waker(&self.read_waker);
        loop {
            match std::task::ready!(self.socket.poll_read_ready(&mut reactor)) {
                Ok(mut guard) if !guard.ready().is_read_closed() => {
                    // Else the reactor would have nothing new to tell. The end is new to it, also
                    // where there is something to read.
                    self.waiting.swallowed.add();
                    guard.clear_ready();
                }
                // An error is the reactor's end.
                _ => return Poll::Ready(()),
            }
        }
    }

    /// As [`KernelSocket::poll_readable`] for UDP, where an answer may also be ECONNREFUSED.
    pub(crate) fn poll_receivable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_readable(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut reactor = Context::from_waker(&self.write_waker);
        while let Poll::Ready(event) = self.socket.poll_write_ready(&mut reactor) {
            match event {
                // It nearly always is writable: only what comes next is of interest.
                Ok(mut guard) => guard.clear_ready(),
                Err(_) => return Poll::Ready(()),
            }
        }
        self.settle(PollFlags::IN)
    }

    /// Ready when a send would answer, or a connect has ended.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waiting.writers.lock().add(cx.waker());
        let mut reactor = Context::from_waker(&self.write_waker);
        while let Poll::Ready(event) = self.socket.poll_write_ready(&mut reactor) {
            match event {
                Ok(mut guard) if !self.has(PollFlags::OUT) => guard.clear_ready(),
                _ => return Poll::Ready(()),
            }
        }
        self.settle(PollFlags::OUT)
    }

    /// Asks the kernel once more after the waker is registered: the reactor may have been told
    /// already, or not yet.
    fn settle(&self, wanted: PollFlags) -> Poll<()> {
        if self.has(wanted) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Whether the kernel says so now; errors and hang-ups count as everything.
    pub(crate) fn has(&self, wanted: PollFlags) -> bool {
        let always = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        let mut fds = [PollFd::new(&self.socket, wanted)];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match rustix::event::poll(&mut fds, Some(&now)) {
            Ok(0) => false,
            Ok(_) if wanted == PollFlags::HUP => fds.iter().any(|fd| fd.revents().contains(wanted)),
            Ok(_) => fds
                .iter()
                .any(|fd| fd.revents().intersects(wanted | always)),
            Err(_) => true,
        }
    }

    /// Calls once, and where the socket is not ready tells the reactor so, that the next wait is for
    /// a new event.
    fn attempt<T>(
        &self,
        interest: Interest,
        mut call: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> Result<T, NetError> {
        let mut call = |fd: BorrowedFd<'_>| {
            loop {
                match call(fd) {
                    Err(Errno::INTR) => {}
                    other => return other,
                }
            }
        };
        let mut is_called = false;
        let answer = self.socket.try_io(interest, |fd| {
            is_called = true;
            Ok(call(fd.as_fd())?)
        });
        match answer {
            // The reactor knows of nothing, and of a fresh socket not yet.
            Err(_) if !is_called => call(self.socket.as_fd()).map_err(NetError::from),
            answer => answer.map_err(NetError::from),
        }
    }
}

impl AsFd for KernelSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

// === impl Swallowed ===

impl Swallowed {
    /// One more, before the reactor forgets it.
    fn add(&self) {
        self.events.fetch_add(1, Ordering::AcqRel);
    }

    fn so_far(&self) -> u64 {
        self.events.load(Ordering::Acquire)
    }

    /// A receive found nothing that began after so many.
    fn settle(&self, events: u64) {
        if self.settled.load(Ordering::Relaxed) < events {
            self.settled.fetch_max(events, Ordering::AcqRel);
        }
    }

    /// Whether there is one of which no receive knows yet.
    fn is_open(&self) -> bool {
        self.settled.load(Ordering::Acquire) < self.so_far()
    }
}

// === impl WakeReaders, WakeAll ===

impl Wake for WakeReaders {
    fn wake(self: Arc<Self>) {
        let readers = self.0.readers.lock().take();
        readers.wake();
    }
}

impl Wake for WakeAll {
    fn wake(self: Arc<Self>) {
        let writers = self.0.writers.lock().take();
        let readers = self.0.readers.lock().take();
        writers.wake();
        readers.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_the_end_keeps_nothing_from_those_who_read() {
        let (mut peer, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let socket = KernelSocket::watch(ours.into(), &Handle::current()).unwrap();
        let receive = || socket.receive(&mut [0; 16], false);
        let mut context = Context::from_waker(Waker::noop());
        assert!(socket.poll_heard(&mut context).is_ready(), "none has tried");
        assert_eq!(receive(), Err(NetError::WouldBlock));
        for (news, is_all) in [(&b"news"[..], true), (&[0; 16][..], false)] {
            peer.write_all(news).unwrap();
            poll_fn(|cx| socket.poll_heard(cx)).await;
            assert_eq!(receive(), Ok(news.len()));
            let heard = socket.poll_heard(&mut context);
            assert_eq!(heard.is_pending(), is_all, "a full buffer tells of no end");
        }
        assert_eq!(receive(), Err(NetError::WouldBlock));
        for _ in 0..2 {
            peer.write_all(b"news").unwrap();
            poll_fn(|cx| socket.poll_heard(cx)).await;
            assert!(socket.poll_peer_ended(&mut context).is_pending());
            assert!(socket.poll_heard(&mut context).is_ready(), "it may try");
            assert_eq!(receive(), Ok(4));
            assert_eq!(receive(), Err(NetError::WouldBlock));
            assert!(socket.poll_heard(&mut context).is_pending(), "it has");
        }
        peer.write_all(b"the last").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        poll_fn(|cx| socket.poll_peer_ended(cx)).await;
        assert_eq!((receive(), receive()), (Ok(8), Ok(0)));
    }

    /// What is set, and what is set back, reaches the kernel.
    #[test]
    fn options_reach_the_kernel() {
        let socket = open(Family::V4, SocketType::STREAM).unwrap();
        let changed = Options {
            keep_alive: true,
            keep_idle: 60_000_000_000,
            keep_interval: 7_000_000_000,
            keep_count: 3,
            hop_limit: 5,
            ..Options::DEFAULT
        };
        let read = || {
            (
                sockopt::socket_keepalive(&socket).unwrap(),
                sockopt::tcp_keepidle(&socket).unwrap().as_secs(),
                sockopt::tcp_keepintvl(&socket).unwrap().as_secs(),
                sockopt::tcp_keepcnt(&socket).unwrap(),
                sockopt::ip_ttl(&socket).unwrap(),
            )
        };
        apply(&Options::DEFAULT, &changed, Family::V4, socket.as_fd());
        assert_eq!(read(), (true, 60, 7, 3, 5));
        apply(&changed, &Options::DEFAULT, Family::V4, socket.as_fd());
        assert_eq!(read(), (false, 7200, 75, 9, 64));
    }
}
