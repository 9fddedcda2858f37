//! A connection through the kernel.
//!
//! WASI's `check-write` promises that so many bytes will be taken, which a kernel socket cannot
//! promise. So what the kernel leaves of a permitted write waits in a backlog, and one task writes
//! it: spawned when a backlog appears, gone when it is empty. Reading spawns nothing.

use std::collections::VecDeque;
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::net::sockopt;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::PeerEnd;
use crate::budget::{Budget, Share};
use crate::error::NetError;
use crate::kernel::KernelSocket;
use crate::limits::{KERNEL_WRITE_BACKLOG, PIPE_BUDGET_PER_POD, PIPE_FLOOR, PIPE_OVERDRAFT};
use crate::lock::Lock;
use crate::waiters::Waiters;

/// One end of a connection through the kernel. Dropping it closes it, after its backlog.
#[derive(Debug)]
pub(crate) struct KernelEnd {
    shared: Arc<Shared>,
    reactor: Handle,
    budget: Budget,
}

#[derive(Debug)]
struct Shared {
    socket: KernelSocket,
    /// Counts the descriptor against the pod until it is closed.
    _share: Share,
    backlog: Lock<Backlog>,
    /// Told when the guest is gone: the backlog has [`LINGER`] from then on.
    abandoned: Notify,
}

#[derive(Debug, Default)]
struct Backlog {
    bytes: VecDeque<u8>,
    /// Whether the guest can read or write no more.
    deaf: bool,
    finished: bool,
    /// What the kernel said to the task that writes.
    failed: Option<NetError>,
    /// Whether a write has heard of a reset that no read has heard of: the kernel tells it once, and
    /// a reader would take it for an orderly end.
    reset: bool,
    waiters: Waiters,
}

/// How long a backlog may wait for a peer that does not read, once the guest has closed: what
/// Linux' `tcp_fin_timeout` gives a closing connection.
const LINGER: Duration = Duration::from_secs(60);

// === impl KernelEnd ===

impl KernelEnd {
    pub(crate) fn new(socket: KernelSocket, reactor: Handle, budget: Budget, share: Share) -> Self {
        let backlog = Lock::default();
        let abandoned = Notify::new();
        let shared = Arc::new(Shared {
            socket,
            _share: share,
            backlog,
            abandoned,
        });
        Self {
            shared,
            reactor,
            budget,
        }
    }

    pub(crate) fn socket(&self) -> &KernelSocket {
        &self.shared.socket
    }

    /// Breaks the connection off as soon as it is dropped.
    pub(crate) fn abort(&self) {
        // Where it fails the peer sees an orderly end instead.
        let _ = sockopt::set_socket_linger(&self.shared.socket, Some(Duration::ZERO));
    }

    pub(crate) fn read(&self, into: &mut [u8], peek: bool) -> Result<usize, NetError> {
        if into.is_empty() || self.shared.backlog.lock().deaf {
            return Ok(0);
        }
        let count = self.shared.socket.receive(into, peek)?;
        if count > 0 {
            return Ok(count);
        }
        let mut backlog = self.shared.backlog.lock();
        let reset = backlog.reset;
        // A look ahead takes nothing away, this neither.
        backlog.reset &= peek;
        if reset {
            return Err(NetError::ConnectionReset);
        }
        Ok(0)
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, NetError> {
        let mut backlog = self.shared.backlog.lock();
        backlog.check()?;
        if !backlog.bytes.is_empty() {
            return Err(NetError::WouldBlock);
        }
        let sent = self.shared.socket.send(bytes);
        backlog.note(sent)
    }

    pub(crate) fn writable(&self) -> Result<usize, NetError> {
        let backlog = self.shared.backlog.lock();
        backlog.check()?;
        if !backlog.bytes.is_empty() || !self.shared.socket.has(PollFlags::OUT) {
            return Ok(0);
        }
        Ok(KERNEL_WRITE_BACKLOG.min(self.budget.left(PIPE_BUDGET_PER_POD).max(PIPE_FLOOR)))
    }

    pub(crate) fn write_permitted(&self, bytes: &[u8]) -> Result<(), NetError> {
        let mut backlog = self.shared.backlog.lock();
        backlog.check()?;
        let sent = match backlog.bytes.is_empty() {
            true => match self.shared.socket.send(bytes) {
                Err(NetError::WouldBlock) => 0,
                other => backlog.note(other)?,
            },
            false => 0,
        };
        let rest = bytes.get(sent..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        let room = KERNEL_WRITE_BACKLOG.saturating_sub(backlog.bytes.len());
        let hard = PIPE_BUDGET_PER_POD + PIPE_OVERDRAFT;
        if rest.len() > room || !self.budget.take(rest.len(), hard) {
            return Err(NetError::OutOfMemory);
        }
        let idle = backlog.bytes.is_empty();
        backlog.bytes.extend(rest);
        drop(backlog);
        if idle {
            self.reactor
                .spawn(drain(Arc::clone(&self.shared), self.budget.clone()));
        }
        Ok(())
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.backlog.lock().deaf {
            return Poll::Ready(());
        }
        self.shared.socket.poll_readable(cx)
    }

    /// Ready unless a read is known to find nothing.
    pub(crate) fn poll_worth_reading(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.backlog.lock().deaf {
            return Poll::Ready(());
        }
        self.shared.socket.poll_heard(cx)
    }

    pub(crate) fn poll_peer_ended(&self, cx: &mut Context<'_>) -> Poll<PeerEnd> {
        let ended = self.shared.socket.poll_peer_ended(cx);
        ended.map(|()| match self.shared.socket.has(PollFlags::HUP) {
            true => PeerEnd::Broken,
            false => PeerEnd::Finished,
        })
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        std::task::ready!(self.poll_flushed(cx));
        if self.shared.backlog.lock().check().is_err() {
            return Poll::Ready(());
        }
        self.shared.socket.poll_writable(cx)
    }

    pub(crate) fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut backlog = self.shared.backlog.lock();
        if backlog.bytes.is_empty() {
            return Poll::Ready(());
        }
        backlog.waiters.add(cx.waker());
        Poll::Pending
    }

    pub(crate) fn shutdown(&self, how: Shutdown) {
        let mut backlog = self.shared.backlog.lock();
        backlog.deaf |= how != Shutdown::Write;
        backlog.finished |= how != Shutdown::Read;
        let waits = !backlog.bytes.is_empty();
        drop(backlog);
        let kernel = match how {
            // The task does the other half once it has written everything.
            Shutdown::Write if waits => return,
            Shutdown::Both if waits => rustix::net::Shutdown::Read,
            Shutdown::Read => rustix::net::Shutdown::Read,
            Shutdown::Write => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        // Fails only where the peer has ended the connection already.
        let _ = rustix::net::shutdown(&self.shared.socket, kernel);
    }
}

impl Drop for KernelEnd {
    fn drop(&mut self) {
        self.shared.abandoned.notify_one();
    }
}

// === impl Backlog ===

impl Backlog {
    fn check(&self) -> Result<(), NetError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.finished => Err(NetError::ConnectionBroken),
            None => Ok(()),
        }
    }

    /// Remembers a reset that a write was told of.
    fn note<T>(&mut self, written: Result<T, NetError>) -> Result<T, NetError> {
        self.reset |= matches!(written, Err(NetError::ConnectionReset));
        written
    }
}

/// Writes the backlog until it is empty or the connection fails.
async fn drain(shared: Arc<Shared>, budget: Budget) {
    let write_all = std::future::poll_fn(|cx| shared.poll_drain(cx, &budget));
    tokio::pin!(write_all);
    tokio::select! {
        () = &mut write_all => {}
        () = shared.abandoned.notified() => {
            if tokio::time::timeout(LINGER, write_all).await.is_err() {
                shared.fail(NetError::Timeout, &budget);
            }
        }
    }
}

// === impl Shared ===

impl Shared {
    fn poll_drain(&self, cx: &mut Context<'_>, budget: &Budget) -> Poll<()> {
        loop {
            std::task::ready!(self.socket.poll_writable(cx));
            let mut backlog = self.backlog.lock();
            let (first, _) = backlog.bytes.as_slices();
            match self.socket.send(first) {
                Ok(count) => {
                    backlog.bytes.drain(..count);
                    budget.give(count);
                    if backlog.bytes.is_empty() {
                        let (waiters, finished) = (backlog.waiters.take(), backlog.finished);
                        drop(backlog);
                        if finished {
                            let _ =
                                rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
                        }
                        waiters.wake();
                        return Poll::Ready(());
                    }
                }
                Err(NetError::WouldBlock) => {}
                Err(error) => {
                    drop(backlog);
                    self.fail(error, budget);
                    return Poll::Ready(());
                }
            }
        }
    }

    fn fail(&self, error: NetError, budget: &Budget) {
        let mut backlog = self.backlog.lock();
        backlog.failed = Some(error);
        backlog.reset |= error == NetError::ConnectionReset;
        budget.give(backlog.bytes.len());
        backlog.bytes = VecDeque::new();
        let waiters = backlog.waiters.take();
        drop(backlog);
        waiters.wake();
    }
}
