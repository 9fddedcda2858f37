//! What isolation costs: wasmpod measured beside other ways to isolate, on this machine.
//!
//! ```text
//! options ─> Bench: programs built, peers found
//!              └─ groups ─> samples ─> Report ─> target/isolation/report.json
//!                                        └─────> a table, and the promises kept or missed
//! ```
//!
//! Contenders of a case are measured in turns within one run, so that a busy machine is busy for
//! all of them. A contender that this machine does not have stays in the report, with the reason.
//! It measures the program as it is shipped (release profile) and judges nothing: a missed promise
//! is printed, not an error.

mod bench;
mod cores;
mod cpu;
mod groups;
mod machine;
mod options;
mod peers;
mod process;
mod programs;
mod promises;
mod report;
mod samples;
mod table;

use anyhow::Context as _;
use clap::Parser as _;

use bench::Bench;
use options::Options;
use report::Report;

/// Runs the groups that the command line names, or all.
///
/// # Errors
/// When the program cannot be built, or does not do what is to be measured. A peer that is not
/// there is no error.
pub fn run() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(address) = options.serve_plain {
        return groups::serve_plain(address);
    }
    let groups = groups::chosen(&options.groups)?;
    let bench = Bench::prepare(options.quick)?;
    let mut report = Report::open(&bench.paths.report)?;
    for group in groups {
        table::heading(group.name)?;
        let load = machine::load();
        let figures = (group.measure)(&bench).with_context(|| format!("group {}", group.name))?;
        report.replace(group.name, figures, load, &bench.versions()?);
        report.save(&bench.paths.report)?;
        table::print(report.of(group.name))?;
    }
    promises::print(&report)?;
    table::closing(&bench.paths.report)
}
