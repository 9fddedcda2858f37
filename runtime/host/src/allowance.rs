//! How much somebody may say: much at once, and little in the long run.
//!
//! Pure: the time is told to it.

use std::time::{Duration, Instant};

/// What an allowance allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// The most at once.
    pub(crate) burst: u32,
    /// The time after which one more is allowed.
    pub(crate) each: Duration,
}

/// What one of them may still say.
#[derive(Debug)]
pub(crate) struct Allowance {
    rate: Rate,
    /// When all that was said is made up for; never where nothing was.
    even: Option<Instant>,
}

// === impl Allowance ===

impl Allowance {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, even: None }
    }

    /// Takes one; false where none is left.
    pub(crate) fn spend(&mut self, now: Instant) -> bool {
        let even = self.even.map_or(now, |even| even.max(now)) + self.rate.each;
        if even.duration_since(now) > self.rate.each * self.rate.burst {
            return false;
        }
        self.even = Some(even);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_as_much_as_time_gives() {
        let each = Duration::from_millis(50);
        let mut allowance = Allowance::new(Rate { burst: 3, each });
        let start = Instant::now();
        // How many times `each` has gone by, and whether one more is allowed.
        let cases = [
            (0, true),
            (0, true),
            (0, true),
            (0, false),
            (1, true),
            (1, false),
            (100, true),
            (100, true),
            (100, true),
            (100, false),
        ];
        for (index, (times, allowed)) in cases.into_iter().enumerate() {
            assert_eq!(allowance.spend(start + each * times), allowed, "{index}");
        }
    }
}
