//! How many tests passed, failed and were skipped, read from what the test runner prints.

use std::fmt;

/// What a test writes to standard error, at the start of a line, when it cannot run here.
pub(crate) const SKIP_MARK: &str = "skipped: ";

/// Numbers of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Ran to their end, those that told they were skipped among them.
    passed: usize,
    /// Ran and did not hold.
    failed: usize,
    /// Marked `#[ignore]`.
    ignored: usize,
    /// Told themselves that they cannot run on this machine.
    skipped: usize,
}

// === impl Counts ===

impl Counts {
    /// What one line of `cargo test` adds, on either of its streams.
    pub(crate) fn line(&mut self, line: &str) {
        if line.starts_with(SKIP_MARK) {
            self.skipped += 1;
        } else if let Some((passed, failed, ignored)) = result(line) {
            self.passed += passed;
            self.failed += failed;
            self.ignored += ignored;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.passed.saturating_sub(self.skipped);
        let skipped = self.skipped + self.ignored;
        write!(
            f,
            "{passed} passed, {} failed, {skipped} skipped",
            self.failed
        )
    }
}

/// Reads `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
fn result(line: &str) -> Option<(usize, usize, usize)> {
    let (_, numbers) = line.split_once("test result: ")?.1.split_once(". ")?;
    let number = |label: &str| {
        numbers
            .split(';')
            .find_map(|part| part.trim().strip_suffix(label)?.trim().parse().ok())
    };
    Some((number("passed")?, number("failed")?, number("ignored")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_over_binaries_and_skips_are_taken_off() {
        let mut counts = Counts::default();
        for line in [
            "running 13 tests",
            "skipped: network::steering: needs root",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test a ... ok",
            "\u{1b}[0mtest result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            counts.line(line);
        }
        assert_eq!(counts.to_string(), "13 passed, 3 failed, 2 skipped");
    }
}
