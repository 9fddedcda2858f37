//! A piece of what is on its way: filled at its end, read from its start.

use super::pool::Loan;
use crate::limits::PIPE_FLOOR;

/// Bytes in a buffer of a pipe's own, or in one on loan.
#[derive(Debug)]
pub(crate) struct Chunk {
    storage: Storage,
    start: usize,
    end: usize,
}

#[derive(Debug)]
enum Storage {
    /// The pipe's own, of [`PIPE_FLOOR`] bytes; it costs the pod nothing.
    Floor(Box<[u8]>),
    Lent(Loan),
}

// === impl Chunk ===

impl Chunk {
    /// An empty chunk in a buffer of the pipe's own.
    pub(crate) fn floor(kept: Option<Box<[u8]>>) -> Self {
        let buffer = kept.unwrap_or_else(|| vec![0; PIPE_FLOOR].into_boxed_slice());
        Self::new(Storage::Floor(buffer))
    }

    /// An empty chunk in a buffer on loan.
    pub(crate) fn lent(loan: Loan) -> Self {
        Self::new(Storage::Lent(loan))
    }

    /// What is to be read.
    pub(crate) fn filled(&self) -> &[u8] {
        let bytes = match &self.storage {
            Storage::Floor(buffer) => buffer,
            Storage::Lent(loan) => loan.bytes(),
        };
        bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// How much can be appended. In the small buffer what has been read makes room again.
    pub(crate) fn spare(&self) -> usize {
        match &self.storage {
            Storage::Floor(buffer) => buffer.len() - self.len(),
            Storage::Lent(loan) => loan.bytes().len() - self.end,
        }
    }

    /// Appends what fits and tells how much that was.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.spare());
        let buffer = match &mut self.storage {
            Storage::Floor(buffer) => {
                if buffer.len() - self.end < count {
                    buffer.copy_within(self.start..self.end, 0);
                    (self.start, self.end) = (0, self.end - self.start);
                }
                &mut **buffer
            }
            Storage::Lent(loan) => loan.bytes_mut(),
        };
        if let Some(place) = buffer.get_mut(self.end..self.end + count) {
            place.copy_from_slice(bytes.split_at(count).0);
        }
        self.end += count;
        count
    }

    /// Drops the first `count` bytes, or all if there are fewer.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// The pipe's own buffer, if it is in that.
    pub(crate) fn into_floor(self) -> Option<Box<[u8]>> {
        match self.storage {
            Storage::Floor(buffer) => Some(buffer),
            Storage::Lent(_) => None,
        }
    }

    pub(crate) fn is_floor(&self) -> bool {
        matches!(self.storage, Storage::Floor(_))
    }

    fn new(storage: Storage) -> Self {
        Self {
            storage,
            start: 0,
            end: 0,
        }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self.filled()
    }
}
