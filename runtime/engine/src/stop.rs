//! A guest's wish to end by itself, and the request to do so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Whether one instance was asked to stop, and whether it listens for that.
#[derive(Debug)]
pub(crate) struct Stop {
    asked: watch::Sender<bool>,
    /// Set once the guest has called `stop-requested`.
    listens: AtomicBool,
    grace: Duration,
    deadline: Mutex<Option<Instant>>,
}

// === impl Stop ===

impl Stop {
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            asked: watch::Sender::new(false),
            listens: AtomicBool::new(false),
            grace,
            deadline: Mutex::new(None),
        }
    }

    /// Asks the guest to stop. False if it does not listen for that and has to be ended.
    pub(crate) fn ask(&self) -> bool {
        self.deadline()
            .get_or_insert_with(|| Instant::now() + self.grace);
        self.asked.send_replace(true);
        self.listens.load(Ordering::Acquire)
    }

    /// The guest will end by itself once this changes to true.
    pub(crate) fn listen(&self) -> watch::Receiver<bool> {
        self.listens.store(true, Ordering::Release);
        self.asked.subscribe()
    }

    /// How long the guest may go on.
    pub(crate) fn grace_left(&self) -> Duration {
        match *self.deadline() {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => self.grace,
        }
    }

    fn deadline(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
