//! The command line.

use std::net::SocketAddr;

use clap::Parser;

/// The option [`Options::serve_plain`].
pub(crate) const SERVE_PLAIN: &str = "--serve-plain";

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
    /// Measures nothing, but is a contender: hyper at this address.
    #[arg(long, hide = true, value_name = "ADDRESS")]
    pub(crate) serve_plain: Option<SocketAddr>,
}
