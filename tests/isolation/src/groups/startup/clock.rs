//! When a guest began, on the host's clock.
//!
//! A guest's monotonic clock counts from where its host pleases; its wall clock is the kernel's
//! CLOCK_REALTIME in nanoseconds, as is ours, so the two can be compared within one machine. A
//! clock that is set meanwhile would show as a time before the start and is an error; one that is
//! slewed errs by at most 0.05 %.
//!
//! The guest is plain Rust and reads the clock first thing in `main`. The standard library has
//! asked the host for its arguments before that, so what is measured is a little more than the
//! time to the first host call.

use std::time::{SystemTime, SystemTimeError};

use anyhow::Context as _;

/// What the guest `start` told, in nanoseconds of Unix time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// When its `main` began.
    pub(super) began: Option<u64>,
    /// When it had read one file and written another.
    pub(super) used: Option<u64>,
}

/// Nanoseconds of Unix time, now.
///
/// # Errors
/// When the clock stands before 1970.
pub(super) fn now() -> Result<u64, SystemTimeError> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

// === impl Told ===

impl Told {
    /// Takes one line of the guest's output.
    pub(super) fn hear(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("began_ns", time)) => self.began = time.parse().ok(),
            Some(("used_ns", time)) => self.used = time.parse().ok(),
            _ => {}
        }
    }

    /// Whether it has told everything.
    pub(super) fn is_complete(&self) -> bool {
        self.began.is_some() && self.used.is_some()
    }

    /// Microseconds from `start` to the beginning of the guest's `main`, and to the end of its use
    /// of files.
    ///
    /// # Errors
    /// When the guest did not tell, or the clock was set meanwhile.
    pub(super) fn since(&self, start: u64) -> anyhow::Result<(f64, f64)> {
        let since = |time: Option<u64>| {
            let time = time.context("the guest did not tell when it began")?;
            let passed = time
                .checked_sub(start)
                .context("the clock was set meanwhile")?;
            anyhow::Ok(std::time::Duration::from_nanos(passed).as_secs_f64() * 1e6)
        };
        Ok((since(self.began)?, since(self.used)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_tells() -> anyhow::Result<()> {
        let mut told = Told::default();
        told.hear("began_ns 1500");
        assert!(told.since(0).is_err(), "half told");
        assert!(!told.is_complete());
        told.hear("something else");
        told.hear("used_ns 4000");
        assert!(told.is_complete());
        assert_eq!(told.since(1000)?, (0.5, 3.0));
        assert!(told.since(2000).is_err(), "before its start");
        Ok(())
    }
}
