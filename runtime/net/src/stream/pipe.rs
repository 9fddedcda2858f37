//! One direction of a connection in memory.
//!
//! ```text
//! Open ──finish──> Finished      the reader reads what is left, then the end
//!   └────reset───> Reset ──told──> Finished      … what is left, then the reset once
//! Reader: Reading ──shutdown──> Deaf (writes vanish)      Reading ──close──> Gone (writes fail)
//! ```
//!
//! What waits is a queue of chunks. Small pieces are copied under the lock that is around a pipe;
//! large ones are copied outside it, in two steps: the writer gets an empty chunk and hands it over
//! filled, the reader takes the first chunk out and puts back what it leaves. So reader and writer
//! copy at the same time. [`super::memory`] has the lock and does the steps.

use std::collections::VecDeque;

use super::PeerEnd;
use super::chunk::Chunk;
use super::pool::{Funds, LARGEST, SIZES};
use crate::error::NetError;
use crate::limits::{PIPE_BUDGET_PER_POD, PIPE_CAPACITY, PIPE_FLOOR, PIPE_OVERDRAFT};
use crate::waiters::Waiters;

/// Bytes on their way, and who waits for them.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    chunks: VecDeque<Chunk>,
    /// Bytes in the chunks, in the one a reader has, and in those that writers fill now.
    length: usize,
    /// The small buffer that costs the pod nothing; made at the first small write.
    floor: Floor,
    /// Whether a reader has the first chunk: others wait, so that the order stays.
    reading: bool,
    writer: Writer,
    reader: Reader,
    pub(crate) read_waiters: Waiters,
    pub(crate) write_waiters: Waiters,
}

/// How a write begins.
pub(crate) enum Write {
    /// So much of it is done.
    Done(usize),
    /// This chunk is to be filled with so many bytes and given to [`Pipe::hand_over`].
    Fill(Chunk, usize),
}

/// How a read begins.
pub(crate) enum Read {
    /// It is done; 0 is the end.
    Done(usize),
    /// This chunk is to be copied from and given to [`Pipe::put_back`].
    Copy(Chunk),
}

#[derive(Debug, Default)]
enum Floor {
    Free(Box<[u8]>),
    #[default]
    Unmade,
    InUse,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Writer {
    #[default]
    Open,
    Finished,
    Reset,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Reader {
    #[default]
    Reading,
    Deaf,
    Gone,
}

/// The most that is copied under the lock: less than a microsecond.
const UNDER_LOCK: usize = 8 * 1024;

/// A waiting writer is woken only when a good piece fits: one WASI write.
const LOW_WATER: usize = LARGEST;

// === impl Pipe: writing ===

impl Pipe {
    /// Begins to write what fits. `permitted` is for bytes that [`Pipe::writable`] promised to
    /// take.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        funds: &Funds,
        permitted: bool,
    ) -> Result<Write, NetError> {
        self.check_writer()?;
        if bytes.is_empty() || self.reader == Reader::Deaf {
            return Ok(Write::Done(bytes.len()));
        }
        let wanted = bytes.len().min(PIPE_CAPACITY - self.length);
        let bytes = bytes.split_at(wanted).0;
        if wanted == 0 {
            return Err(NetError::WouldBlock);
        }
        let limit = if permitted {
            PIPE_BUDGET_PER_POD + PIPE_OVERDRAFT
        } else {
            PIPE_BUDGET_PER_POD
        };
        let spare = self.chunks.back().map_or(0, Chunk::spare);
        let fresh = if spare > 0 && wanted <= UNDER_LOCK {
            None
        } else {
            self.chunk(wanted, funds, limit)
        };
        let Some(mut chunk) = fresh else {
            let count = self.chunks.back_mut().map_or(0, |last| last.append(bytes));
            self.length += count;
            return if count > 0 {
                Ok(Write::Done(count))
            } else {
                Err(NetError::WouldBlock)
            };
        };
        if wanted <= UNDER_LOCK || chunk.is_floor() {
            let count = chunk.append(bytes);
            self.length += count;
            self.chunks.push_back(chunk);
            return Ok(Write::Done(count));
        }
        let count = wanted.min(chunk.spare());
        self.length += count;
        Ok(Write::Fill(chunk, count))
    }

    /// Takes a filled chunk.
    pub(crate) fn hand_over(&mut self, chunk: Chunk) -> Result<(), NetError> {
        let open = self.check_writer();
        if open.is_ok() && self.reader == Reader::Reading {
            self.chunks.push_back(chunk);
        } else {
            self.length -= chunk.len();
        }
        open
    }

    /// How much a write would take now; 0 while little does.
    pub(crate) fn writable(&self, funds: &Funds) -> Result<usize, NetError> {
        self.check_writer()?;
        if self.reader == Reader::Deaf {
            return Ok(PIPE_CAPACITY);
        }
        let free = PIPE_CAPACITY - self.length;
        let left = funds.budget.left(PIPE_BUDGET_PER_POD);
        let affordable = match left / LARGEST {
            0 => largest_below(left).unwrap_or(0),
            chunks => chunks * LARGEST,
        };
        let spare = match self.chunks.back() {
            Some(last) => last.spare(),
            None => PIPE_FLOOR,
        };
        let reach = affordable.max(spare);
        let little = free < LOW_WATER || reach < PIPE_FLOOR / 4;
        Ok(if little { 0 } else { free.min(reach) })
    }

    /// An empty chunk for `wanted` bytes, or as many as can be had.
    fn chunk(&mut self, wanted: usize, funds: &Funds, limit: usize) -> Option<Chunk> {
        let small = self.chunks.is_empty() && wanted <= PIPE_FLOOR;
        if !small || matches!(self.floor, Floor::InUse) {
            // Where much waits already, more will come.
            let wanted = wanted.max(self.length.min(LARGEST));
            let fits = SIZES.iter().position(|size| *size >= wanted);
            let sizes = SIZES.iter().take(fits.unwrap_or(SIZES.len()) + 1).rev();
            let loan = sizes.copied().find_map(|size| funds.lend(size, limit));
            if let Some(loan) = loan {
                return Some(Chunk::lent(loan));
            }
        }
        match std::mem::replace(&mut self.floor, Floor::InUse) {
            Floor::Free(buffer) => Some(Chunk::floor(Some(buffer))),
            Floor::Unmade => Some(Chunk::floor(None)),
            Floor::InUse => None,
        }
    }

    fn check_writer(&self) -> Result<(), NetError> {
        match (self.writer, self.reader) {
            (Writer::Reset, _) => Err(NetError::ConnectionReset),
            (Writer::Finished, _) | (_, Reader::Gone) => Err(NetError::ConnectionBroken),
            (Writer::Open, Reader::Reading | Reader::Deaf) => Ok(()),
        }
    }
}

// === impl Pipe: reading ===

impl Pipe {
    /// Begins to read what is there.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<Read, NetError> {
        self.check_reader()?;
        let first = self.chunks.front().map_or(0, Chunk::len);
        if first.min(into.len()) > UNDER_LOCK {
            return Ok(self.take_first().map_or(Read::Done(0), Read::Copy));
        }
        let mut count = 0;
        while let Some(first) = self.chunks.front_mut() {
            let room = into.get_mut(count..).unwrap_or_default();
            let next = first.len().min(room.len());
            if next == 0 || count + next > UNDER_LOCK {
                break;
            }
            let copied = copy(first.filled(), room);
            count += copied;
            first.consume(copied);
            self.length -= copied;
            self.drop_first_if_read();
        }
        Ok(Read::Done(count))
    }

    /// Copies out what is there and leaves it.
    pub(crate) fn peek(&mut self, into: &mut [u8]) -> Result<usize, NetError> {
        self.check_reader()?;
        let mut count = 0;
        for chunk in &self.chunks {
            count += copy(chunk.filled(), into.get_mut(count..).unwrap_or_default());
        }
        Ok(count)
    }

    /// Takes the first chunk whole, if it is large and no larger than `max`: the reader keeps it.
    pub(crate) fn take_whole(&mut self, max: usize) -> Result<Option<Chunk>, NetError> {
        self.check_reader()?;
        let size = self.chunks.front().map_or(0, Chunk::len);
        if size <= UNDER_LOCK || size > max {
            return Ok(None);
        }
        self.length -= size;
        Ok(self.chunks.pop_front())
    }

    /// How much [`Pipe::read`] has to give now.
    pub(crate) fn available(&self) -> usize {
        self.chunks.iter().map(Chunk::len).sum()
    }

    /// Takes back the chunk that a reader copied `count` bytes from.
    pub(crate) fn put_back(&mut self, mut chunk: Chunk, count: usize) {
        self.reading = false;
        chunk.consume(count);
        let gone = self.reader != Reader::Reading;
        self.length -= if gone { count + chunk.len() } else { count };
        if !gone {
            self.chunks.push_front(chunk);
            self.drop_first_if_read();
        }
    }

    /// Whether a read would answer.
    pub(crate) fn is_readable(&self) -> bool {
        let ended = self.writer != Writer::Open || self.reader != Reader::Reading;
        !self.reading && (!self.chunks.is_empty() || ended)
    }

    /// How the writer has ended, if it has. (A reset that was told is an end: whoever was told
    /// knows.)
    pub(crate) fn writer_end(&self) -> Option<PeerEnd> {
        match self.writer {
            Writer::Open => None,
            Writer::Finished => Some(PeerEnd::Finished),
            Writer::Reset => Some(PeerEnd::Broken),
        }
    }

    fn take_first(&mut self) -> Option<Chunk> {
        let first = self.chunks.pop_front()?;
        self.reading = true;
        Some(first)
    }

    fn drop_first_if_read(&mut self) {
        if self.chunks.front().is_some_and(|first| first.len() == 0)
            && let Some(first) = self.chunks.pop_front()
            && let Some(buffer) = first.into_floor()
        {
            self.floor = Floor::Free(buffer);
        }
    }

    /// An error where nothing can be read now; a reset is told once and is then an end.
    fn check_reader(&mut self) -> Result<(), NetError> {
        if self.reading {
            return Err(NetError::WouldBlock);
        }
        if !self.chunks.is_empty() || self.reader != Reader::Reading {
            return Ok(());
        }
        match self.writer {
            Writer::Open => Err(NetError::WouldBlock),
            Writer::Finished => Ok(()),
            Writer::Reset => {
                self.writer = Writer::Finished;
                Err(NetError::ConnectionReset)
            }
        }
    }
}

// === impl Pipe: ends ===

impl Pipe {
    /// No more will be written.
    pub(crate) fn finish(&mut self) {
        if self.writer == Writer::Open {
            self.writer = Writer::Finished;
        }
    }

    /// The connection is broken off.
    pub(crate) fn reset(&mut self) {
        self.writer = Writer::Reset;
    }

    /// No more will be read: what waits is dropped and what comes vanishes.
    pub(crate) fn deafen(&mut self) {
        self.reader = Reader::Deaf;
        self.empty();
    }

    /// The reader is closed. Tells whether it left something unread.
    pub(crate) fn abandon(&mut self) -> bool {
        self.reader = Reader::Gone;
        let unread = !self.chunks.is_empty();
        self.empty();
        unread
    }

    fn empty(&mut self) {
        self.length -= self.available();
        self.chunks = VecDeque::new();
    }
}

/// Copies what fits and tells how much that was.
pub(crate) fn copy(from: &[u8], into: &mut [u8]) -> usize {
    let count = from.len().min(into.len());
    let (from, into) = (from.split_at(count).0, into.split_at_mut(count).0);
    into.copy_from_slice(from);
    count
}

/// The largest buffer that costs no more than `bytes`.
fn largest_below(bytes: usize) -> Option<usize> {
    SIZES.iter().rev().copied().find(|size| *size <= bytes)
}
