//! How long an idle worker looks for work before it sleeps: as long as that has paid lately.
//!
//! To wake a sleeping thread costs a system call and, on a virtual machine whose processor has gone
//! idle, an exit from it: 10 to 50 µs before a guest runs. While work comes in quick succession a
//! worker therefore looks for a moment first. Each time that work comes too late for that it looks
//! half as long, and soon not at all, so that guests that wake rarely cost nothing. The kernel's
//! halt polling decides in the same way.

use std::time::Duration;

/// The longest look.
pub(super) const MOST: Duration = Duration::from_micros(200);

/// The first look after work has come soon.
const FIRST: Duration = Duration::from_micros(25);

/// One worker's patience.
#[derive(Debug, Default)]
pub(super) struct Patience(Duration);

// === impl Patience ===

impl Patience {
    /// How long to look now, if at all.
    pub(super) fn time(&self) -> Option<Duration> {
        (self.0 > Duration::ZERO).then_some(self.0)
    }

    /// Learns how long work took to come.
    pub(super) fn waited(&mut self, time: Duration) {
        self.0 = if time <= MOST {
            (self.0 * 2).clamp(FIRST, MOST)
        } else if self.0 > FIRST {
            self.0 / 2
        } else {
            Duration::ZERO
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_as_long_as_it_pays() {
        let mut patience = Patience::default();
        let waits_and_looks = [
            (10, 25),
            (100, 50),
            (199, 100),
            (1, 200),
            (200, 200),
            (201, 100),
            (5000, 50),
            (5000, 25),
            (5000, 0),
            (5000, 0),
            (30, 25),
        ];
        for (waited, look) in waits_and_looks {
            patience.waited(Duration::from_micros(waited));
            assert_eq!(patience.0, Duration::from_micros(look), "after {waited} µs");
            assert_eq!(patience.time().is_some(), look > 0);
        }
    }
}
