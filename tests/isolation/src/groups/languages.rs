//! The first and the second start of programs that bring a whole interpreter with them.
//!
//! A first start compiles: the data directory, or wasmtime's cache, is empty. At a second start the
//! code is there. Either is over when a server has answered its first request, or when a command
//! has done its work and ended. The programs are those of the examples, and absent where their
//! compilers were not to be had.

mod start;
mod ways;

use anyhow::bail;

use self::start::Start;
use self::ways::{Place, Way};
use crate::bench::Bench;
use crate::programs;
use crate::report::{Case, Figure, ratios};
use crate::samples::{Better, Samples};
use crate::table::progress;

const GROUP: &str = "languages";

/// What makes the programs.
const REMEDY: &str = "run `cargo xtask test languages`";

/// An example's program, and its cases.
#[derive(Debug)]
struct Language {
    /// The example's folder and the program's name.
    name: &'static str,
    goal: Goal,
    first: Case,
    second: Case,
    /// The most memory that compiling took.
    compile: Case,
}

/// What a program is, and so when it has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// An http server: when it has answered a request for this path.
    Answered(&'static str),
    /// A command that reads one folder and writes to another: when it has ended.
    Ended,
}

const LANGUAGES: [Language; 2] = [
    Language {
        name: "javascript",
        goal: Goal::Answered("/slug?text=first"),
        first: case("js-first", "us"),
        second: case("js-second", "us"),
        compile: case("js-compile", "KiB"),
    },
    Language {
        name: "python",
        goal: Goal::Ended,
        first: case("py-first", "us"),
        second: case("py-second", "us"),
        compile: case("py-compile", "KiB"),
    },
];

const fn case(name: &'static str, unit: &'static str) -> Case {
    Case {
        group: GROUP,
        name,
        unit,
        better: Better::Lower,
    }
}

/// Measures all of it.
///
/// # Errors
/// When wasmpod does not start a program that is there.
pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for language in &LANGUAGES {
        progress(language.name)?;
        figures.extend(language.measure(bench)?);
    }
    Ok(figures)
}

/// A way to run, and what its starts took; or why it takes no part.
type Measured = (Way, Result<Vec<Start>, String>);

// === impl Language ===

impl Language {
    fn measure(&self, bench: &Bench) -> anyhow::Result<Vec<Figure>> {
        let program = programs::root()?
            .join("examples/target/wasm32-wasip2/guest")
            .join(self.name)
            .with_extension("wasm");
        if !program.is_file() {
            let reason = format!("examples/{} is not built: {REMEDY}", self.name);
            return Ok(self.absent(&reason));
        }
        let place = Place::new(bench, self, program)?;
        // A quarter: each takes seconds.
        let firsts = (bench.amount.processes / 4).max(1);
        let first = in_turns(&place, &Way::FIRST, firsts, true)?;
        let second = in_turns(&place, &Way::SECOND, bench.amount.processes, false)?;
        let mut figures = figures(self.first, &first)?;
        figures.extend(figures_of_memory(self.compile, &first));
        figures.extend(self::figures(self.second, &second)?);
        Ok(figures)
    }

    fn absent(&self, reason: &str) -> Vec<Figure> {
        let rows = |case: Case, ways: &[Way]| -> Vec<Figure> {
            let row = |way: &Way| case.absent(way.name(), reason);
            ways.iter().map(row).collect()
        };
        [
            rows(self.first, &Way::FIRST),
            rows(self.compile, &[Way::Wasmpod]),
            rows(self.second, &Way::SECOND),
        ]
        .concat()
    }
}

/// So many starts each, in turns. Whoever failed once takes no further part.
fn in_turns(
    place: &Place<'_>,
    ways: &[Way],
    rounds: usize,
    is_first: bool,
) -> anyhow::Result<Vec<Measured>> {
    let mut all: Vec<Measured> = ways.iter().map(|way| (*way, Ok(Vec::new()))).collect();
    // At second starts a round before the first makes the code.
    for round in usize::from(is_first)..=rounds {
        for (way, outcome) in &mut all {
            let Ok(starts) = outcome else { continue };
            if is_first {
                place.forget(*way)?;
            }
            match place.start(*way) {
                Ok(_) if round == 0 => {}
                Ok(start) => starts.push(start),
                Err(error) => *outcome = Err(format!("{error:#}")),
            }
        }
    }
    Ok(all)
}

/// The times, ours first, and how they compare.
fn figures(case: Case, all: &[Measured]) -> anyhow::Result<Vec<Figure>> {
    if let Some((_, Err(reason))) = all.first() {
        bail!("wasmpod does not start {}: {reason}", case.name);
    }
    let figure = |(way, outcome): &Measured| match outcome {
        Ok(starts) => {
            let times = starts.iter().map(|start| start.took.as_secs_f64() * 1e6);
            case.measured(way.name(), &Samples::new(times.collect()))
        }
        Err(reason) => case.absent(way.name(), reason),
    };
    let mut figures: Vec<Figure> = all.iter().map(figure).collect();
    figures.extend(ratios(&figures));
    Ok(figures)
}

/// What our compiler held at most, as it tells itself; others do not.
fn figures_of_memory(case: Case, all: &[Measured]) -> Vec<Figure> {
    let starts = all.first().and_then(|(_, outcome)| outcome.as_ref().ok());
    let peaks: Option<Vec<f64>> =
        starts.and_then(|starts| starts.iter().map(|s| s.peak_kib).collect());
    vec![match peaks {
        Some(peaks) => case.measured(Way::Wasmpod.name(), &Samples::new(peaks)),
        None => case.absent(Way::Wasmpod.name(), "the compiler did not tell"),
    }]
}
