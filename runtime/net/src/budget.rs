//! What a pod may make the host keep: sockets, kernel sockets, buffered bytes.
//!
//! A budget is a counter with a limit; a [`Share`] is a part of it that comes back when dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A counter with a limit that is named at each use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Budget {
    used: Arc<AtomicUsize>,
    /// Told when something is given back.
    freed: Option<Arc<Notify>>,
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    amount: usize,
}

// === impl Budget ===

impl Budget {
    /// One that tells when something is given back.
    pub(crate) fn telling(freed: Arc<Notify>) -> Self {
        Self {
            used: Arc::default(),
            freed: Some(freed),
        }
    }

    /// Takes `amount` if no more than `limit` is then in use.
    pub(crate) fn take(&self, amount: usize, limit: usize) -> bool {
        let add = |used: usize| used.checked_add(amount).filter(|sum| *sum <= limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_ok()
    }

    /// Gives back what was taken.
    pub(crate) fn give(&self, amount: usize) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
        if let Some(freed) = &self.freed {
            freed.notify_waiters();
        }
    }

    /// How much of `limit` is left.
    pub(crate) fn left(&self, limit: usize) -> usize {
        limit.saturating_sub(self.used.load(Ordering::Relaxed))
    }

    /// A part that comes back by itself.
    pub(crate) fn share(&self, amount: usize, limit: usize) -> Option<Share> {
        self.take(amount, limit).then(|| Share {
            budget: self.clone(),
            amount,
        })
    }
}

// === impl Share ===

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.give(self.amount);
    }
}
