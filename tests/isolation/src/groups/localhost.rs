//! Two programs that talk over localhost: 64 bytes there and back, and as much as goes one way.
//!
//! Every contender runs the same two programs in plain std::net, which time themselves. In wasmpod
//! they are two containers of one pod; with the peers they are two processes over the kernel's
//! loopback.

mod contenders;
mod said;

use anyhow::bail;

use crate::bench::Bench;
use crate::report::{Case, Figure, ratios};
use crate::samples::{Better, Samples};
use crate::table::progress;
use contenders::{Contender, Talk};
use said::{RoundTrips, round_trips, throughput};

const GROUP: &str = "localhost";

const ROUND_TRIP: Case = Case {
    group: GROUP,
    name: "rtt-64",
    unit: "us",
    better: Better::Lower,
};

const THROUGHPUT: Case = Case {
    group: GROUP,
    name: "throughput",
    unit: "MiB_per_s",
    better: Better::Higher,
};

/// KiB of one write.
const CHUNK: &str = "64";

/// Bytes of one message.
const MESSAGE: &str = "64";

/// Where the sender is told whom to reach; each contender puts its own address there.
const ADDRESS: &str = contenders::ADDRESS;

/// Measures all of it.
///
/// # Errors
/// When wasmpod does not do what is to be measured, or a contender that could does not any more.
pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut contenders = contenders::all(bench);
    let rounds = bench.amount.processes;
    progress("rtt-64")?;
    let count = bench.amount.round_trips.to_string();
    let ask = Talk {
        server: &["echo", ADDRESS, "1"],
        client: &["rtt", ADDRESS, &count, MESSAGE],
    };
    let asked = in_turns(&mut contenders, rounds, &ask, |told| {
        round_trips(&told.client)
    })?;
    let mut figures = round_trip_figures(asked);
    progress("throughput")?;
    let mebibytes = bench.amount.mebibytes.to_string();
    let stream = Talk {
        server: &["sink", ADDRESS],
        client: &["source", ADDRESS, &mebibytes, CHUNK],
    };
    let streamed = in_turns(&mut contenders, rounds, &stream, |told| {
        throughput(&told.server)
    })?;
    figures.extend(throughput_figures(streamed));
    Ok(figures)
}

/// What each contender measured, or why it cannot be asked.
type Measured<T> = Vec<(&'static str, Result<Vec<T>, String>)>;

/// Has every contender run the two programs so many times, in turns; the first time does not
/// count, and finds out who cannot.
fn in_turns<T>(
    contenders: &mut [Contender],
    rounds: usize,
    talk: &Talk<'_>,
    read: impl Fn(&contenders::Told) -> anyhow::Result<T>,
) -> anyhow::Result<Measured<T>> {
    for contender in &mut *contenders {
        contender.try_out(talk, |told| read(told).map(drop));
    }
    if let Some(reason) = contenders.first().and_then(Contender::reason) {
        bail!("wasmpod does not talk: {reason}");
    }
    let mut measured: Vec<Vec<T>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (contender, measured) in contenders.iter().zip(&mut measured) {
            if contender.reason().is_none() {
                measured.push(read(&contender.talk(talk)?)?);
            }
        }
    }
    let outcomes = contenders
        .iter()
        .zip(measured)
        .map(|(contender, measured)| {
            let outcome = match contender.reason() {
                None => Ok(measured),
                Some(reason) => Err(reason.to_owned()),
            };
            (contender.name, outcome)
        });
    Ok(outcomes.collect())
}

/// Each run tells the quantiles of its own round trips; the figure is the median run's.
fn round_trip_figures(asked: Measured<RoundTrips>) -> Vec<Figure> {
    let figure = |contender: &str, runs: &[RoundTrips]| {
        let of = |field: fn(&RoundTrips) -> f64| Samples::new(runs.iter().map(field).collect());
        Figure {
            n: runs.iter().map(|run| run.count).sum(),
            p90: of(|run| run.p90).median(),
            p99: of(|run| run.p99).median(),
            p999: of(|run| run.p999).median(),
            ..ROUND_TRIP.measured(contender, &of(|run| run.p50))
        }
    };
    with_ratios(ROUND_TRIP, asked, figure)
}

/// Each run tells one rate.
fn throughput_figures(streamed: Measured<f64>) -> Vec<Figure> {
    let figure = |contender: &str, runs: &[f64]| {
        THROUGHPUT.measured(contender, &Samples::new(runs.to_vec()))
    };
    with_ratios(THROUGHPUT, streamed, figure)
}

fn with_ratios<T>(
    case: Case,
    measured: Measured<T>,
    figure: impl Fn(&str, &[T]) -> Figure,
) -> Vec<Figure> {
    let mut figures: Vec<Figure> = measured
        .into_iter()
        .map(|(contender, outcome)| match outcome {
            Ok(runs) => figure(contender, &runs),
            Err(reason) => case.absent(contender, &reason),
        })
        .collect();
    figures.extend(ratios(&figures));
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_run_speaks_for_a_contender() {
        let run = |p50: f64, p99: f64| RoundTrips {
            count: 10,
            p50,
            p90: p50,
            p99,
            p999: p99,
        };
        let runs = vec![run(3.0, 30.0), run(1.0, 10.0), run(2.0, 50.0)];
        let asked = vec![("wasmpod", Ok(runs)), ("peer", Err("gone".to_owned()))];
        let figures = round_trip_figures(asked);
        assert_eq!(figures.len(), 3, "{figures:?}");
        assert_eq!((figures[0].n, figures[0].median), (30, Some(2.0)));
        assert_eq!(figures[0].p99, Some(30.0));
        assert_eq!(figures[1].reason.as_deref(), Some("gone"));
        assert_eq!(figures[2].contender, "wasmpod/peer");
        assert!(!figures[2].available);
    }
}
