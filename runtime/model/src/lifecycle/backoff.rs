//! How long to wait before trying again: kubelet's exponential back-off, exactly.
//!
//! No jitter, as in kubelet. Image pulls and failed creations use the same steps.

use std::time::Duration;

use super::Tick;

/// The wait before the second restart; the first one is immediate.
pub const CRASH_FIRST: Duration = Duration::from_secs(10);

/// The longest wait.
pub const CRASH_LONGEST: Duration = Duration::from_secs(300);

/// A container that has run for longer than this since its last restart starts from nothing:
/// twice the longest wait.
pub const CRASH_FORGOTTEN: Duration = Duration::from_secs(600);

/// The back-off of one container, or of one thing that fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    /// The wait that the next try has to keep; zero before the first failure.
    step: Duration,
    /// When `step` was last set.
    updated: Tick,
}

// === impl Backoff ===

impl Backoff {
    /// One whose next wait is `step`.
    pub(super) fn at(step: Duration, updated: Tick) -> Self {
        Self {
            step: step.min(CRASH_LONGEST),
            updated,
        }
    }

    /// How long after its end at `ended` a container may start again.
    pub(super) fn wait(&self, ended: Tick) -> Duration {
        if self.is_forgotten(ended) {
            Duration::ZERO
        } else {
            self.step
        }
    }

    /// A container that ended at `ended` starts again now: the next wait is twice as long.
    pub(super) fn restart(&mut self, ended: Tick, now: Tick) {
        self.step = if self.step.is_zero() || self.is_forgotten(ended) {
            CRASH_FIRST
        } else {
            (self.step * 2).min(CRASH_LONGEST)
        };
        self.updated = now;
    }

    /// A try failed now: when the next one is due.
    pub(super) fn fail(&mut self, now: Tick) -> Tick {
        self.restart(now, now);
        now.after(self.step)
    }

    /// What failed has succeeded.
    pub(super) fn reset(&mut self) {
        self.step = Duration::ZERO;
    }

    fn is_forgotten(&self, ended: Tick) -> bool {
        ended.since(self.updated) > CRASH_FORGOTTEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long each of a row of instances runs, and the wait before the next.
    fn waits(runs: &[u64]) -> Vec<u64> {
        let mut backoff = Backoff::default();
        let mut now = Tick::default();
        let mut waits = Vec::new();
        for run in runs {
            let ended = now.after(Duration::from_secs(*run));
            let wait = backoff.wait(ended);
            waits.push(wait.as_secs());
            now = ended.after(wait);
            backoff.restart(ended, now);
        }
        waits
    }

    #[test]
    fn doubles_from_ten_seconds_to_five_minutes() {
        assert_eq!(
            waits(&[1; 9]),
            [0, 10, 20, 40, 80, 160, 300, 300, 300],
            "crashes at once"
        );
    }

    #[test]
    fn is_forgotten_after_ten_minutes_of_running() {
        assert_eq!(waits(&[1, 1, 600, 601, 1]), [0, 10, 20, 0, 10]);
    }

    #[test]
    fn a_failing_try_waits_longer_each_time() {
        let mut backoff = Backoff::default();
        let mut now = Tick::default();
        let mut waits = Vec::new();
        for _ in 0..7 {
            let due = backoff.fail(now);
            waits.push(due.since(now).as_secs());
            now = due;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        backoff.reset();
        assert_eq!(backoff.fail(now).since(now).as_secs(), 10);
    }
}
