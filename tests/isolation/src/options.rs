//! The command line.

use clap::Parser;

/// Measures what isolation costs.
#[derive(Debug, Parser)]
#[command(name = "isolation")]
pub(crate) struct Options {
    /// What to measure; everything where nothing is named.
    #[arg(value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    /// Few samples: to see that everything runs, not to compare.
    #[arg(long)]
    pub(crate) quick: bool,
    /// What cargo passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}
