//! Whose turn it is at an answer, and since when.
//!
//! ```text
//! headless ──head given──> client's ──next piece asked for, there is none──> guest's
//!                            ^ └─piece given─┘                                 │
//!                            └───────────────────piece given───────────────────┘
//! ```
//!
//! A client of HTTP/2 may read its socket and yet give no window for an answer, for ever: who
//! times the writing to sockets sees nothing of that. What tells is that nobody asks for the next
//! piece, since a piece is asked for once the one before is on its way.
//!
//! A guest may be silent for as long as it likes, unless its client has ended, or no task of it is
//! left: then nobody may ever break the silence.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::limits;

/// How the pieces of one answer are taken.
#[derive(Debug, Default)]
pub(super) struct Pace {
    state: Mutex<State>,
    /// It was silent for too long.
    given_up: Notify,
}

#[derive(Debug, Default)]
struct State {
    turn: Turn,
    /// No task of its guest is left.
    is_unattended: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There is no head yet, or the answer is given up.
    #[default]
    Nobodys,
    /// A piece, or the head, waits for the client since then.
    Clients(Instant),
    /// The client waits for a piece since then.
    Guests(Instant),
}

// === impl Pace ===

impl Pace {
    /// A piece is given, or the head: it is the client's turn.
    pub(super) fn given(&self) {
        self.state().turn = Turn::Clients(Instant::now());
    }

    /// The next piece is waited for: it is the guest's turn.
    pub(super) fn awaited(&self) {
        let mut state = self.state();
        if !matches!(state.turn, Turn::Guests(_)) {
            state.turn = Turn::Guests(Instant::now());
        }
    }

    /// No task of its guest is left, though its body is not sent.
    pub(super) fn note_unattended(&self) {
        self.state().is_unattended = true;
    }

    /// Since when a piece waits for its client; none where it is the guest's turn.
    pub(super) fn untaken_since(&self) -> Option<Instant> {
        match self.state().turn {
            Turn::Clients(since) => Some(since),
            Turn::Guests(_) | Turn::Nobodys => None,
        }
    }

    /// Since when the client waits for a piece; none before there is a head.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        match self.state().turn {
            Turn::Guests(since) => Some(since),
            Turn::Clients(_) | Turn::Nobodys => None,
        }
    }

    /// Gives it up if nobody is left who could break its silence, and none has for
    /// [`limits::BETWEEN_BYTES`].
    pub(super) fn look(&self) {
        let mut state = self.state();
        if let Turn::Guests(since) = state.turn
            && state.is_unattended
            && since.elapsed() >= limits::BETWEEN_BYTES
        {
            state.turn = Turn::Nobodys;
            drop(state);
            self.given_up.notify_one();
        }
    }

    /// Waits until it is given up.
    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_piece_waits_for_its_client_until_the_next_is_asked_for() {
        let pace = Pace::default();
        assert_eq!(pace.untaken_since(), None, "there is no answer yet");
        let begun = Instant::now();
        pace.given();
        tokio::time::advance(SECOND).await;
        assert_eq!(pace.untaken_since(), Some(begun));
        pace.given();
        assert_eq!(pace.untaken_since(), Some(Instant::now()), "each anew");
        pace.awaited();
        assert_eq!(pace.untaken_since(), None, "a guest may be slow");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_begins_with_the_first_question_for_a_piece() {
        let pace = Pace::default();
        assert_eq!(pace.silent_since(), None, "there is no answer yet");
        pace.given();
        assert_eq!(pace.silent_since(), None, "the client has not asked");
        let begun = Instant::now();
        for _ in 0..3 {
            pace.awaited();
            tokio::time::advance(SECOND).await;
        }
        assert_eq!(pace.silent_since(), Some(begun));
        pace.given();
        pace.awaited();
        assert_eq!(pace.silent_since(), Some(Instant::now()), "each anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_that_nobody_can_break_is_given_up() {
        for (is_unattended, silent, wanted) in [
            (false, limits::BETWEEN_BYTES * 10, false),
            (true, limits::BETWEEN_BYTES - SECOND, false),
            (true, limits::BETWEEN_BYTES, true),
        ] {
            let pace = Pace::default();
            pace.given();
            pace.awaited();
            if is_unattended {
                pace.note_unattended();
            }
            tokio::time::advance(silent).await;
            pace.look();
            let given_up = tokio::time::timeout(SECOND, pace.given_up()).await;
            assert_eq!(given_up.is_ok(), wanted, "{is_unattended} {silent:?}");
        }
    }
}
