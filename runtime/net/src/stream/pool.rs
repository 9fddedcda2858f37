//! Buffers that go round.
//!
//! A pipe borrows a buffer when more waits in it than its small one holds, and whoever has read it
//! gives it back, so an idle connection costs little and a busy one meets memory that is still in
//! the cache. Nobody waits for the pool: where another thread has a shelf, the caller allocates or
//! frees instead.

use std::sync::Arc;

use crate::budget::Budget;
use crate::lock::Lock;

/// Sizes of the buffers, ascending. The largest is one WASI write.
pub(crate) const SIZES: [usize; 4] = [8 << 10, 16 << 10, 32 << 10, LARGEST];

/// The largest buffer.
pub(crate) const LARGEST: usize = 64 << 10;

/// How many buffers of each size are kept for the next user: 16 MiB in all.
const KEPT: [usize; 4] = [256, 128, 64, 160];

/// Where a pipe's memory comes from, and who is charged: the pod that writes.
#[derive(Debug, Clone)]
pub(crate) struct Funds {
    pub(crate) pool: Arc<Pool>,
    pub(crate) budget: Budget,
}

/// Buffers that nobody uses now.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    shelves: [Shelf; 4],
}

/// Buffers of one size.
type Shelf = Lock<Vec<Box<[u8]>>>;

/// A buffer on loan; it goes back, and the charge with it, when dropped.
#[derive(Debug)]
pub(crate) struct Loan {
    bytes: Box<[u8]>,
    funds: Funds,
}

// === impl Funds ===

impl Funds {
    /// Lends a buffer of `size`, one of [`SIZES`], if the budget allows it. Its content is
    /// whatever the last user left.
    pub(crate) fn lend(&self, size: usize, limit: usize) -> Option<Loan> {
        if !self.budget.take(size, limit) {
            return None;
        }
        let bytes = self.pool.take(size);
        Some(Loan {
            bytes,
            funds: self.clone(),
        })
    }
}

// === impl Pool ===

impl Pool {
    fn take(&self, size: usize) -> Box<[u8]> {
        let kept = self
            .shelf(size)
            .and_then(|(shelf, _)| shelf.try_lock()?.pop());
        kept.unwrap_or_else(|| vec![0; size].into_boxed_slice())
    }

    fn give(&self, bytes: Box<[u8]>) {
        if let Some((shelf, kept)) = self.shelf(bytes.len())
            && let Some(mut shelf) = shelf.try_lock()
            && shelf.len() < kept
        {
            shelf.push(bytes);
        }
    }

    fn shelf(&self, size: usize) -> Option<(&Shelf, usize)> {
        let shelves = self.shelves.iter().zip(KEPT);
        let mut sized = SIZES.iter().zip(shelves);
        sized.find_map(|(has, shelf)| (*has == size).then_some(shelf))
    }
}

// === impl Loan ===

impl Loan {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.funds.budget.give(self.bytes.len());
        self.funds.pool.give(std::mem::take(&mut self.bytes));
    }
}
