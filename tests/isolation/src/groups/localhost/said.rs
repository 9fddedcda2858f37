//! What the programs say of their own measurements: lines of a name and a number.

use anyhow::Context as _;

/// Round trips of one run, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RoundTrips {
    pub(super) count: usize,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
}

/// What `rtt` says.
///
/// # Errors
/// When a number is missing.
pub(super) fn round_trips(said: &str) -> anyhow::Result<RoundTrips> {
    let time = |name: &str| anyhow::Ok(number::<f64>(said, name)? / 1000.0);
    Ok(RoundTrips {
        count: number(said, "round_trips")?,
        p50: time("p50_ns")?,
        p90: time("p90_ns")?,
        p99: time("p99_ns")?,
        p999: time("p999_ns")?,
    })
}

/// What `sink` says, in MiB per second.
///
/// # Errors
/// When the number is missing.
pub(super) fn throughput(said: &str) -> anyhow::Result<f64> {
    number(said, "mib_per_s")
}

/// The number that follows this name at the beginning of a line.
fn number<T: std::str::FromStr>(said: &str, name: &str) -> anyhow::Result<T> {
    let mut lines = said.lines().map(|line| line.split_whitespace());
    let found = lines.find_map(|mut words| {
        (words.next() == Some(name)).then(|| words.next().and_then(|word| word.parse().ok()))
    });
    found
        .flatten()
        .with_context(|| format!("it tells no {name} but {said:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_name() -> anyhow::Result<()> {
        let said =
            "round_trips 10 of 64 bytes\np50_ns 3000\np90_ns 3500\np99_ns 4000\np999_ns 9000\n";
        let wanted = RoundTrips {
            count: 10,
            p50: 3.0,
            p90: 3.5,
            p99: 4.0,
            p999: 9.0,
        };
        assert_eq!(round_trips(said)?, wanted);
        let said = "listening 127.0.0.1:7\nreceived_bytes 5\nmib_per_s 123.5\n";
        assert!((throughput(said)? - 123.5).abs() < 1e-9);
        for silent in ["", "mib_per_s", "mib_per_s fast"] {
            assert!(throughput(silent).is_err(), "{silent:?}");
        }
        Ok(())
    }
}
