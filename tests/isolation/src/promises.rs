//! What wasmpod promises, and whether the figures keep it.

use std::io::{self, Write as _};

use crate::report::{Figure, RATIO, Report};
use crate::table::number;

/// A bound on a median.
struct Promise {
    case: &'static str,
    contender: &'static str,
    unit: &'static str,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    Below(f64),
    Above(f64),
}

const PROMISES: [Promise; 6] = [
    Promise {
        case: "pod-start",
        contender: "wasmpod",
        unit: "us",
        bound: Bound::AtMost(100.0),
    },
    Promise {
        case: "engine-start",
        contender: "wasmpod",
        unit: "us",
        bound: Bound::AtMost(15.0),
    },
    Promise {
        case: "cli-hello",
        contender: "wasmpod/wasmtime-run-precompiled",
        unit: RATIO,
        bound: Bound::AtMost(1.5),
    },
    Promise {
        case: "cli-hello",
        contender: "wasmpod/runc-run",
        unit: RATIO,
        bound: Bound::Below(0.5),
    },
    Promise {
        case: "rtt-64",
        contender: "wasmpod",
        unit: "us",
        bound: Bound::AtMost(5.0),
    },
    Promise {
        case: "throughput",
        contender: "wasmpod/kernel-loopback",
        unit: RATIO,
        bound: Bound::Above(1.0),
    },
];

// === impl Promise ===

impl Promise {
    fn is_about(&self, figure: &Figure) -> bool {
        figure.case == self.case && figure.contender == self.contender && figure.unit == self.unit
    }

    /// What a person reads: kept or missed, and by how much.
    fn verdict(&self, median: f64) -> String {
        let (word, bound, is_kept) = match self.bound {
            Bound::AtMost(bound) => ("at most", bound, median <= bound),
            Bound::Below(bound) => ("below", bound, median < bound),
            Bound::Above(bound) => ("above", bound, median > bound),
        };
        let (bound, median) = (number(Some(bound)), number(Some(median)));
        let verdict = if is_kept { "kept" } else { "MISSED" };
        format!("{verdict:<6} {word} {bound} {}: {median}", self.unit)
    }
}

/// One line per promise that the report says something about.
pub(crate) fn print(report: &Report) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\npromises")?;
    for promise in &PROMISES {
        let figure = report.figures.iter().find(|f| promise.is_about(f));
        let Some(median) = figure.and_then(|figure| figure.median) else {
            continue;
        };
        let (case, contender) = (promise.case, promise.contender);
        writeln!(
            out,
            "{case:<12} {contender:<36} {}",
            promise.verdict(median)
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_kept_or_missed() {
        let cases = [
            (Bound::AtMost(1.5), 1.5, "kept   at most 1.50 us: 1.50"),
            (Bound::AtMost(1.5), 1.6, "MISSED at most 1.50 us: 1.60"),
            (Bound::Below(0.5), 0.5, "MISSED below 0.50 us: 0.50"),
            (Bound::Above(1.0), 1.2, "kept   above 1.00 us: 1.20"),
        ];
        for (bound, median, wanted) in cases {
            let promise = Promise {
                case: "case",
                contender: "wasmpod",
                unit: "us",
                bound,
            };
            assert_eq!(promise.verdict(median), wanted);
        }
    }
}
