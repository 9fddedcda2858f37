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
    /// What it has before it is asked.
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

    /// Asks the guest to stop within this time; asked again, it can only be shorter. False if it
    /// does not listen for that and has to be ended.
    pub(crate) fn ask(&self, left: Duration) -> bool {
        let end = Instant::now().checked_add(left);
        let mut deadline = self.deadline();
        *deadline = match (*deadline, end) {
            (Some(earlier), Some(end)) => Some(earlier.min(end)),
            (earlier, end) => earlier.or(end),
        };
        drop(deadline);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_told_what_is_left() {
        let stop = Stop::new(Duration::from_secs(30));
        assert_eq!(stop.grace_left(), Duration::from_secs(30));
        // Part of it went by before it was asked, and more is taken away afterwards.
        for (left, told) in [(20, 20), (25, 20), (5, 5)] {
            stop.ask(Duration::from_secs(left));
            let now = stop.grace_left();
            assert!(now <= Duration::from_secs(told), "{left}: {now:?}");
            assert!(now > Duration::from_secs(told - 1), "{left}: {now:?}");
        }
    }
}
