//! What wasmpod promises, and whether the figures keep it.

use std::io::{self, Write as _};

use crate::report::{Figure, RATIO, Report};
use crate::table::number;

/// A bound on a figure.
struct Promise {
    case: &'static str,
    contender: &'static str,
    unit: &'static str,
    of: Quantile,
    bound: Bound,
}

/// What the bound is on.
#[derive(Clone, Copy)]
enum Quantile {
    Median,
    P99,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
    Above(f64),
}

const PROMISES: [Promise; 11] = [
    Promise {
        case: "pod-start",
        contender: "wasmpod",
        unit: "us",
        of: Quantile::Median,
        bound: Bound::AtMost(100.0),
    },
    Promise {
        case: "engine-start",
        contender: "wasmpod",
        unit: "us",
        of: Quantile::Median,
        bound: Bound::AtMost(15.0),
    },
    Promise {
        case: "cli-hello",
        contender: "wasmpod/wasmtime-run-precompiled",
        unit: RATIO,
        of: Quantile::Median,
        bound: Bound::AtMost(1.5),
    },
    Promise {
        case: "cli-hello",
        contender: "wasmpod/runc-run",
        unit: RATIO,
        of: Quantile::Median,
        bound: Bound::Below(0.5),
    },
    Promise {
        case: "rtt-64",
        contender: "wasmpod",
        unit: "us",
        of: Quantile::Median,
        bound: Bound::AtMost(5.0),
    },
    Promise {
        case: "throughput",
        contender: "wasmpod/kernel-loopback",
        unit: RATIO,
        of: Quantile::Median,
        bound: Bound::Above(1.0),
    },
    Promise {
        case: "hello-fresh",
        contender: "wasmpod",
        unit: "per_cpu_s",
        of: Quantile::Median,
        bound: Bound::AtLeast(45_000.0),
    },
    Promise {
        case: "hello-fresh",
        contender: "wasmpod/wasmtime-serve-pooled",
        unit: RATIO,
        of: Quantile::Median,
        bound: Bound::AtLeast(1.5),
    },
    Promise {
        case: "hello-reused",
        contender: "wasmpod/wasmtime-serve-pooled",
        unit: RATIO,
        of: Quantile::Median,
        bound: Bound::AtLeast(1.05),
    },
    Promise {
        case: "victim-http",
        contender: "worst",
        unit: "us",
        of: Quantile::P99,
        bound: Bound::AtMost(50_000.0),
    },
    Promise {
        case: "host-growth",
        contender: "worst",
        unit: "KiB",
        of: Quantile::P99,
        bound: Bound::Below(16_384.0),
    },
];

// === impl Promise ===

impl Promise {
    fn is_about(&self, figure: &Figure) -> bool {
        figure.case == self.case && figure.contender == self.contender && figure.unit == self.unit
    }

    fn value(&self, figure: &Figure) -> Option<f64> {
        match self.of {
            Quantile::Median => figure.median,
            Quantile::P99 => figure.p99,
        }
    }

    /// What a person reads: kept or missed, and by how much.
    fn verdict(&self, value: f64) -> String {
        let (word, bound, is_kept) = match self.bound {
            Bound::AtLeast(bound) => ("at least", bound, value >= bound),
            Bound::AtMost(bound) => ("at most", bound, value <= bound),
            Bound::Below(bound) => ("below", bound, value < bound),
            Bound::Above(bound) => ("above", bound, value > bound),
        };
        let (bound, value) = (number(Some(bound)), number(Some(value)));
        let verdict = if is_kept { "kept" } else { "MISSED" };
        let of = match self.of {
            Quantile::Median => "",
            Quantile::P99 => "p99 ",
        };
        format!("{verdict:<6} {of}{word} {bound} {}: {value}", self.unit)
    }
}

/// One line per promise that the report says something about.
pub(crate) fn print(report: &Report) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\npromises")?;
    for promise in &PROMISES {
        let figure = report.figures.iter().find(|f| promise.is_about(f));
        let Some(value) = figure.and_then(|figure| promise.value(figure)) else {
            continue;
        };
        let (case, contender) = (promise.case, promise.contender);
        writeln!(out, "{case:<12} {contender:<36} {}", promise.verdict(value))?;
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
            (Bound::AtLeast(1.5), 1.5, "kept   at least 1.50 us: 1.50"),
            (Bound::Above(1.0), 1.2, "kept   above 1.00 us: 1.20"),
        ];
        for (bound, median, wanted) in cases {
            let promise = Promise {
                case: "case",
                contender: "wasmpod",
                unit: "us",
                of: Quantile::Median,
                bound,
            };
            assert_eq!(promise.verdict(median), wanted);
        }
    }
}
