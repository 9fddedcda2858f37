//! An http server whose component is called for each request: how many requests a second of CPU
//! answers, all processes of the server counted.
//!
//! The guest counts in a static and gives back a field of the request. Where each request has an
//! instance of its own every answer shows 1; where one serves many, none shows more than it may. An
//! answer that shows anything else ends the bench. Clients are tasks of this process, whose time does
//! not count, on connections that stay open. They have the last processor to themselves, and servers
//! the others.

mod load;
mod plain;
mod servers;

pub(crate) use plain::serve as serve_plain;

use anyhow::bail;

use self::load::Load;
use self::servers::{Server, Way};
use crate::bench::Bench;
use crate::report::{Case, Figure, ratios};
use crate::samples::{Better, Samples};
use crate::table::progress;

const GROUP: &str = "http";

/// Requests that an instance serves where it may serve several.
const REUSE: u32 = 128;

/// Connections at once.
const CONNECTIONS: usize = 16;

/// What is measured, and how many requests one instance serves.
const CASES: [(Case, u32); 2] = [(case("hello-fresh"), 1), (case("hello-reused"), REUSE)];

const fn case(name: &'static str) -> Case {
    Case {
        group: GROUP,
        name,
        unit: "per_cpu_s",
        better: Better::Higher,
    }
}

/// Measures all of it.
///
/// # Errors
/// When wasmpod does not serve, or anybody answers what is not to be answered.
pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (case, most) in CASES {
        progress(case.name)?;
        let mut measured = in_turns(bench, most)?;
        if let Some((_, Err(reason))) = measured.first() {
            bail!("wasmpod does not serve: {reason}");
        }
        let own: Vec<Figure> = measured
            .drain(..)
            .map(|(name, outcome)| match outcome {
                Ok(rates) => case.measured(name, &Samples::new(rates)),
                Err(reason) => case.absent(name, &reason),
            })
            .collect();
        let compared = ratios(&own);
        figures.extend(own);
        figures.extend(compared);
    }
    Ok(figures)
}

/// Requests per CPU second of each contender in each round, or why it takes no part.
type Measured = Vec<(&'static str, Result<Vec<f64>, String>)>;

/// A server, and what it has reached in each round.
type Asked = (Server, Vec<f64>);

/// All servers run side by side, and are asked in turns; who is not asked sleeps.
fn in_turns(bench: &Bench, most: u32) -> anyhow::Result<Measured> {
    let mut servers: Vec<(&'static str, Result<Asked, String>)> = Way::ALL
        .iter()
        .map(|way| {
            let started = Server::start(*way, bench, most);
            let started = started.map(|server| (server, Vec::new()));
            (way.name(), started.map_err(|error| format!("{error:#}")))
        })
        .collect();
    let load = Load {
        connections: CONNECTIONS,
        requests: (bench.amount.in_process / 4).max(1),
        most,
    };
    // The first round does not count.
    for round in 0..=bench.amount.processes {
        for (_, server) in &mut servers {
            let Ok((server, rates)) = server else {
                continue;
            };
            let before = server.cpu_seconds()?;
            load.put_on(server.address())?;
            let spent = server.cpu_seconds()? - before;
            if round > 0 && spent > 0.0 {
                rates.push(load.total() / spent);
            }
        }
    }
    let outcome = |server: Result<Asked, String>| server.map(|(_, rates)| rates);
    Ok(servers
        .into_iter()
        .map(|(name, server)| (name, outcome(server)))
        .collect())
}
