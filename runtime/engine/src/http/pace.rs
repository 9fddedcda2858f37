//! Whether a client takes its answer.
//!
//! ```text
//! untaken ──next piece asked for, there is none──> awaited ──piece given──> untaken
//! ```
//!
//! A client of HTTP/2 may read its socket and yet give no window for an answer, for ever: who
//! times the writing to sockets sees nothing of that. What tells is that nobody asks for the next
//! piece, since a piece is asked for once the one before is on its way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// How the pieces of one answer are taken.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Option<Instant>>);

// === impl Pace ===

impl Pace {
    /// A piece is given, or the head: it is the client's turn.
    pub(super) fn given(&self) {
        *self.since() = Some(Instant::now());
    }

    /// The next piece is waited for: it is the guest's turn.
    pub(super) fn awaited(&self) {
        *self.since() = None;
    }

    /// Since when a piece waits for its client; none where it is the guest's turn.
    pub(super) fn untaken_since(&self) -> Option<Instant> {
        *self.since()
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_piece_waits_for_its_client_until_the_next_is_asked_for() {
        let pace = Pace::default();
        assert_eq!(pace.untaken_since(), None, "there is no answer yet");
        let begun = Instant::now();
        pace.given();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(pace.untaken_since(), Some(begun));
        pace.given();
        assert_eq!(pace.untaken_since(), Some(Instant::now()), "each anew");
        pace.awaited();
        assert_eq!(pace.untaken_since(), None, "a guest may be slow");
    }
}
