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

use super::limits;

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

    /// Whether a piece has waited for too long for its client.
    pub(super) fn is_stalled(&self) -> bool {
        let since = *self.since();
        since.is_some_and(|since| since.elapsed() >= limits::STALLED)
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
    async fn only_a_client_whose_turn_it_is_stalls() {
        let pace = Pace::default();
        tokio::time::advance(limits::STALLED).await;
        assert!(!pace.is_stalled(), "there is no answer yet");
        pace.given();
        tokio::time::advance(limits::STALLED - Duration::from_secs(1)).await;
        assert!(!pace.is_stalled(), "it has the whole time");
        pace.given();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!pace.is_stalled(), "each piece has the whole time");
        pace.awaited();
        tokio::time::advance(limits::STALLED).await;
        assert!(!pace.is_stalled(), "a guest may be slow");
        pace.given();
        tokio::time::advance(limits::STALLED).await;
        assert!(pace.is_stalled());
    }
}
