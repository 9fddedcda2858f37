//! How long until a program runs: in a warm host, in the engine alone, and as a process.

mod cli_hello;
mod clock;
mod engine_start;
mod images;
mod pod_start;
mod warm_host;

use crate::bench::Bench;
use crate::report::{Case, Figure};
use crate::samples::Better;
use crate::table::progress;

const GROUP: &str = "startup";

/// A case of this group.
const fn case(name: &'static str) -> Case {
    Case {
        group: GROUP,
        name,
        unit: "us",
        better: Better::Lower,
    }
}

/// Measures all of it.
///
/// # Errors
/// When the program under test does not do what is to be measured.
pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    progress("pod-start")?;
    let mut figures = pod_start::measure(bench)?;
    progress("engine-start")?;
    figures.extend(engine_start::measure(bench)?);
    progress("cli-hello")?;
    figures.extend(cli_hello::measure(bench)?);
    Ok(figures)
}
