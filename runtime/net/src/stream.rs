//! A connection as both sides see it: memory or kernel.
//!
//! ```text
//!   TcpStream ── End ──┬── MemoryEnd ── two pipes ── MemoryEnd ── End ── TcpStream
//!                      └── KernelEnd ── socket ── the world
//! ```

pub(crate) mod chunk;
pub(crate) mod kernel;
pub(crate) mod memory;
pub(crate) mod pipe;
pub(crate) mod pool;
#[cfg(test)]
mod speed;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::kernel::KernelEnd;
use self::memory::MemoryEnd;
use crate::budget::Share;
use crate::error::NetError;
use crate::meter::Meter;
use crate::ports::PortClaim;

/// One end of a TCP connection. Clones are the same end; the last one closes it: the peer reads
/// to the end of what was written, or gets a reset if this end had unread data.
///
/// It is `tokio::io::AsyncRead` and `AsyncWrite` as well. Any number of tasks may wait.
#[derive(Clone)]
pub struct TcpStream(Arc<End>);

struct End {
    link: Link,
    addresses: Addresses,
    meter: Meter,
    /// Whether the last read of a task filled what it was given.
    is_flowing: AtomicBool,
    /// Whether the last write of a task found no room. It waits then until the kernel calls the socket
    /// writable: trying sooner would squeeze in a few bytes, which whoever times the peer would take
    /// for a peer that reads.
    is_full: AtomicBool,
    /// Counts the socket against its pod; none for the host's own ends.
    _slot: Option<Share>,
    /// Keeps the port of a socket that connected.
    _claim: Option<PortClaim>,
}

/// How the other side of a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerEnd {
    /// It sends no more. It may have closed, or wait for what it is sent: that cannot be told.
    Finished,
    /// The connection is over: reset, failed, or ended by both sides.
    Broken,
}

/// The two addresses of a connection as its owner sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// What a connection runs over.
#[derive(Debug)]
pub(crate) enum Link {
    Memory(MemoryEnd),
    Kernel(KernelEnd),
}

/// The most that one read through the kernel hands out: what the thread's buffer is made for.
const KERNEL_READ: usize = 64 * 1024;

/// The room that is made ready first for a read into a buffer that is not yet written to: a request
/// or an answer without a body fits.
const FIRST: usize = 2048;

thread_local! {
    /// Where reads put their bytes; its memory comes back when the bytes are dropped.
    static BUFFER: RefCell<BytesMut> = RefCell::default();
}

// === impl TcpStream ===

impl TcpStream {
    pub(crate) fn new(
        link: Link,
        addresses: Addresses,
        meter: Meter,
        slot: Option<Share>,
        claim: Option<PortClaim>,
    ) -> Self {
        Self(Arc::new(End {
            link,
            addresses,
            meter,
            is_flowing: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            _slot: slot,
            _claim: claim,
        }))
    }

    /// Reads what is there into `buffer`; 0 is the end (or an empty buffer).
    ///
    /// # Errors
    /// [`NetError::WouldBlock`], [`NetError::ConnectionReset`] once.
    pub fn try_read(&self, buffer: &mut [u8]) -> Result<usize, NetError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = match &self.0.link {
            Link::Memory(end) => end.read(buffer),
            Link::Kernel(end) => end.read(buffer, false),
        }?;
        self.0.meter.received(count);
        Ok(count)
    }

    /// As [`TcpStream::try_read`], but leaves the bytes there: MSG_PEEK.
    ///
    /// # Errors
    /// As there.
    pub fn try_peek(&self, buffer: &mut [u8]) -> Result<usize, NetError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match &self.0.link {
            Link::Memory(end) => end.peek(buffer),
            Link::Kernel(end) => end.read(buffer, true),
        }
    }

    /// Reads up to `max` bytes; empty is the end (or `max` is 0). The memory comes from a buffer
    /// that the thread recycles once the bytes are dropped.
    ///
    /// # Errors
    /// As [`TcpStream::try_read`].
    pub fn try_read_bytes(&self, max: usize) -> Result<Bytes, NetError> {
        if max == 0 {
            return Ok(Bytes::new());
        }
        let bytes = BUFFER.with_borrow_mut(|buffer| match &self.0.link {
            Link::Memory(end) => end.read_bytes(max, buffer),
            Link::Kernel(end) => {
                buffer.resize(max.min(KERNEL_READ), 0);
                let count = end.read(buffer, false);
                let bytes = count.map(|count| buffer.split_to(count).freeze());
                buffer.clear();
                bytes
            }
        })?;
        self.0.meter.received(bytes.len());
        Ok(bytes)
    }

    /// Writes what fits and tells how much that was.
    ///
    /// # Errors
    /// [`NetError::WouldBlock`] if nothing fits, [`NetError::ConnectionBroken`],
    /// [`NetError::ConnectionReset`].
    pub fn try_write(&self, bytes: &[u8]) -> Result<usize, NetError> {
        let count = match &self.0.link {
            Link::Memory(end) => end.write(bytes, false),
            Link::Kernel(end) => end.write(bytes),
        }?;
        self.0.meter.sent(count);
        Ok(count)
    }

    /// How many bytes [`TcpStream::write_permitted`] takes now: WASI's `check-write`. 0 means
    /// wait with [`TcpStream::poll_write_ready`].
    ///
    /// # Errors
    /// As [`TcpStream::try_write`].
    pub fn writable(&self) -> Result<usize, NetError> {
        match &self.0.link {
            Link::Memory(end) => end.writable(),
            Link::Kernel(end) => end.writable(),
        }
    }

    /// Takes all of `bytes`, no more than [`TcpStream::writable`] told last: WASI's `write`. What
    /// the kernel does not take at once is written in the background.
    ///
    /// # Errors
    /// As [`TcpStream::try_write`]; [`NetError::OutOfMemory`] for more than was permitted.
    pub fn write_permitted(&self, bytes: &[u8]) -> Result<(), NetError> {
        match &self.0.link {
            Link::Memory(end) => match end.write(bytes, true) {
                Ok(count) if count == bytes.len() => {}
                Ok(_) | Err(NetError::WouldBlock) => return Err(NetError::OutOfMemory),
                Err(error) => return Err(error),
            },
            Link::Kernel(end) => end.write_permitted(bytes)?,
        }
        self.0.meter.sent(bytes.len());
        Ok(())
    }

    /// Ready when a read has bytes, an end or an error.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.0.link {
            Link::Memory(end) => end.poll_read_ready(cx),
            Link::Kernel(end) => end.poll_read_ready(cx),
        }
    }

    /// The same, where the kernel is not asked: ready unless a read is known to find nothing.
    fn poll_worth_reading(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.0.link {
            Link::Memory(end) => end.poll_read_ready(cx),
            Link::Kernel(end) => end.poll_worth_reading(cx),
        }
    }

    /// Reads what is there. Most messages are short: the whole of a buffer is made ready only behind
    /// a read that has filled what it was given.
    fn try_fill(&self, buffer: &mut ReadBuf<'_>) -> Result<(), NetError> {
        let room = match self.0.is_flowing.load(Relaxed) {
            true => buffer.remaining(),
            false => buffer.remaining().min(FIRST),
        };
        let count = self.try_read(buffer.initialize_unfilled_to(room))?;
        self.0.is_flowing.store(count == room, Relaxed);
        buffer.advance(count);
        Ok(())
    }

    /// Ready once the other side has ended, whether or not what it sent before is read: for whoever
    /// does not read meanwhile.
    pub fn poll_peer_ended(&self, cx: &mut Context<'_>) -> Poll<PeerEnd> {
        match &self.0.link {
            Link::Memory(end) => end.poll_peer_ended(cx),
            Link::Kernel(end) => end.poll_peer_ended(cx),
        }
    }

    /// Ready when a write fits or fails.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.0.link {
            Link::Memory(end) => end.poll_write_ready(cx),
            Link::Kernel(end) => end.poll_write_ready(cx),
        }
    }

    /// Ready when everything written has left this process: always, in memory. WASI's `flush`.
    pub fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.0.link {
            Link::Memory(_) => Poll::Ready(()),
            Link::Kernel(end) => end.poll_flushed(cx),
        }
    }

    /// Ends one or both directions. The peer reads on to the end of what was written.
    pub fn shutdown(&self, how: Shutdown) {
        match &self.0.link {
            Link::Memory(end) => end.shutdown(how),
            Link::Kernel(end) => end.shutdown(how),
        }
    }

    /// This end's address.
    pub fn local_address(&self) -> SocketAddr {
        self.0.addresses.local
    }

    /// The other end's address.
    pub fn remote_address(&self) -> SocketAddr {
        self.0.addresses.remote
    }

    pub(crate) fn link(&self) -> &Link {
        &self.0.link
    }

    /// Breaks off a connection that nobody has accepted.
    pub(crate) fn abort(&self) {
        match &self.0.link {
            Link::Memory(end) => end.abort(),
            Link::Kernel(end) => end.abort(),
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.poll_worth_reading(cx));
            match self.try_fill(buffer) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(NetError::WouldBlock) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.0.is_full.load(Relaxed) {
                ready!(self.poll_write_ready(cx));
            }
            let written = self.try_write(bytes);
            let is_full = written == Err(NetError::WouldBlock);
            self.0.is_full.store(is_full, Relaxed);
            if !is_full {
                return Poll::Ready(written.map_err(io::Error::from));
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flushed(cx).map(Ok)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdown(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0.link {
            Link::Memory(_) => "memory",
            Link::Kernel(_) => "kernel",
        };
        let Addresses { local, remote } = self.0.addresses;
        write!(f, "TcpStream({kind}, {local} to {remote})")
    }
}
