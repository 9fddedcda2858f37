//! Who is to be woken when something changes.
//!
//! Wakers are registered under the lock of the thing waited for, so that no change is missed, and
//! taken out under it, to be woken after it is released. Being woken for nothing is allowed.

use std::task::Waker;

use crate::limits::MAX_WAITERS;

/// Tasks that wait for one event. Nearly always none or one: the first costs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    first: Option<Waker>,
    more: Vec<Waker>,
}

// === impl Waiters ===

impl Waiters {
    /// Adds a task, once.
    pub(crate) fn add(&mut self, waker: &Waker) {
        match &self.first {
            None => self.first = Some(waker.clone()),
            Some(first) if first.will_wake(waker) => {}
            Some(_) if self.more.iter().any(|other| other.will_wake(waker)) => {}
            Some(_) => {
                if self.more.len() >= MAX_WAITERS {
                    // It finds nothing, asks again and is then the newest.
                    self.more.remove(0).wake();
                }
                self.more.push(waker.clone());
            }
        }
    }

    /// Takes all out, to be woken once the lock is released.
    #[must_use]
    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Wakes all.
    pub(crate) fn wake(self) {
        if let Some(waker) = self.first {
            waker.wake();
        }
        for waker in self.more {
            waker.wake();
        }
    }
}
