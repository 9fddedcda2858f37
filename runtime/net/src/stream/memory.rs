//! A connection between two sockets of the switch: two pipes in one allocation.
//!
//! Each direction has a lock of its own; nothing else is shared, and nobody else is asked.

use std::net::Shutdown;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use super::PeerEnd;
use super::pipe::{Pipe, Read, Write, copy};
use super::pool::{Funds, LARGEST};
use crate::error::NetError;
use crate::lock::Lock;
use crate::waiters::Waiters;

/// One end of a connection in memory. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct MemoryEnd {
    connection: Arc<Connection>,
    side: Side,
}

#[derive(Debug)]
struct Connection {
    /// From the side that connected.
    forth: Direction,
    /// From the side that accepted.
    back: Direction,
}

#[derive(Debug)]
struct Direction {
    pipe: Lock<Pipe>,
    funds: Funds,
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Connected,
    Accepted,
}

// === impl MemoryEnd ===

impl MemoryEnd {
    /// Both ends of a new connection: of the side that connects, of the side that accepts. Each is
    /// charged for what it writes.
    pub(crate) fn pair(connecting: Funds, accepting: Funds) -> (Self, Self) {
        let connection = Arc::new(Connection {
            forth: Direction {
                pipe: Lock::default(),
                funds: connecting,
            },
            back: Direction {
                pipe: Lock::default(),
                funds: accepting,
            },
        });
        let accepted = Self {
            connection: Arc::clone(&connection),
            side: Side::Accepted,
        };
        (
            Self {
                connection,
                side: Side::Connected,
            },
            accepted,
        )
    }

    /// Reads what is there into `into`; 0 is the end.
    pub(crate) fn read(&self, into: &mut [u8]) -> Result<usize, NetError> {
        self.incoming().read(into)
    }

    /// As [`MemoryEnd::read`], but leaves the bytes there.
    pub(crate) fn peek(&self, into: &mut [u8]) -> Result<usize, NetError> {
        self.incoming().pipe.lock().peek(into)
    }

    /// Reads up to `max` bytes: a large chunk as it is, small ones copied into `buffer`.
    pub(crate) fn read_bytes(&self, max: usize, buffer: &mut BytesMut) -> Result<Bytes, NetError> {
        let from = self.incoming();
        let mut pipe = from.pipe.lock();
        if let Some(chunk) = pipe.take_whole(max)? {
            from.wake(pipe);
            return Ok(Bytes::from_owner(chunk));
        }
        let available = pipe.available().min(max).min(LARGEST);
        drop(pipe);
        // Reclaims the memory of earlier reads whose bytes have been dropped.
        buffer.resize(available, 0);
        let count = from.read(buffer);
        let bytes = count.map(|count| buffer.split_to(count).freeze());
        buffer.clear();
        bytes
    }

    /// Writes what fits and tells how much that was.
    pub(crate) fn write(&self, bytes: &[u8], permitted: bool) -> Result<usize, NetError> {
        let to = self.outgoing();
        let mut written = 0;
        loop {
            match to.write(bytes.get(written..).unwrap_or_default(), permitted) {
                Ok(count) => written += count,
                Err(_) if written > 0 => return Ok(written),
                Err(error) => return Err(error),
            }
            if written == bytes.len() {
                return Ok(written);
            }
        }
    }

    pub(crate) fn writable(&self) -> Result<usize, NetError> {
        let to = self.outgoing();
        to.pipe.lock().writable(&to.funds)
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut pipe = self.incoming().pipe.lock();
        if pipe.is_readable() {
            return Poll::Ready(());
        }
        pipe.read_waiters.add(cx.waker());
        Poll::Pending
    }

    pub(crate) fn poll_peer_ended(&self, cx: &mut Context<'_>) -> Poll<PeerEnd> {
        let mut pipe = self.incoming().pipe.lock();
        if let Some(end) = pipe.writer_end() {
            return Poll::Ready(end);
        }
        pipe.read_waiters.add(cx.waker());
        Poll::Pending
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let to = self.outgoing();
        let mut pipe = to.pipe.lock();
        if pipe.writable(&to.funds) != Ok(0) {
            return Poll::Ready(());
        }
        pipe.write_waiters.add(cx.waker());
        Poll::Pending
    }

    pub(crate) fn shutdown(&self, how: Shutdown) {
        if how != Shutdown::Write {
            self.incoming().change(Pipe::deafen);
        }
        if how != Shutdown::Read {
            self.outgoing().change(Pipe::finish);
        }
    }

    /// Breaks the connection off in both directions.
    pub(crate) fn abort(&self) {
        self.incoming().change(Pipe::reset);
        self.outgoing().change(Pipe::reset);
    }

    fn incoming(&self) -> &Direction {
        match self.side {
            Side::Connected => &self.connection.back,
            Side::Accepted => &self.connection.forth,
        }
    }

    fn outgoing(&self) -> &Direction {
        match self.side {
            Side::Connected => &self.connection.forth,
            Side::Accepted => &self.connection.back,
        }
    }
}

impl Drop for MemoryEnd {
    /// As close(2): the peer reads what was written and then the end, or a reset if something it
    /// wrote was never read.
    fn drop(&mut self) {
        let unread = self.incoming().change(Pipe::abandon);
        self.outgoing()
            .change(if unread { Pipe::reset } else { Pipe::finish });
    }
}

// === impl Direction ===

impl Direction {
    /// Changes the pipe and wakes both sides.
    fn change<T>(&self, change: impl FnOnce(&mut Pipe) -> T) -> T {
        let mut pipe = self.pipe.lock();
        let result = change(&mut pipe);
        let (readers, writers) = (pipe.read_waiters.take(), pipe.write_waiters.take());
        drop(pipe);
        readers.wake();
        writers.wake();
        result
    }

    /// Reads; a large chunk is copied while the lock is free.
    fn read(&self, into: &mut [u8]) -> Result<usize, NetError> {
        let mut pipe = self.pipe.lock();
        let count = match pipe.read(into)? {
            Read::Done(count) => count,
            Read::Copy(chunk) => {
                drop(pipe);
                let count = copy(chunk.filled(), into);
                pipe = self.pipe.lock();
                pipe.put_back(chunk, count);
                count
            }
        };
        self.wake(pipe);
        Ok(count)
    }

    /// Writes one piece; a large one is copied while the lock is free.
    fn write(&self, bytes: &[u8], permitted: bool) -> Result<usize, NetError> {
        let mut pipe = self.pipe.lock();
        let count = match pipe.write(bytes, &self.funds, permitted)? {
            Write::Done(count) => count,
            Write::Fill(mut chunk, count) => {
                drop(pipe);
                chunk.append(bytes.split_at(count).0);
                pipe = self.pipe.lock();
                pipe.hand_over(chunk)?;
                count
            }
        };
        let readers = pipe.read_waiters.take();
        drop(pipe);
        readers.wake();
        Ok(count)
    }

    /// After a read: wakes the writer, once a good piece fits, and other readers that had to wait
    /// for this one.
    fn wake(&self, mut pipe: MutexGuard<'_, Pipe>) {
        let mut writers = Waiters::default();
        if !pipe.write_waiters.is_empty() && pipe.writable(&self.funds) != Ok(0) {
            writers = pipe.write_waiters.take();
        }
        let readers = pipe.read_waiters.take();
        drop(pipe);
        writers.wake();
        readers.wake();
    }
}

#[cfg(test)]
mod tests;
