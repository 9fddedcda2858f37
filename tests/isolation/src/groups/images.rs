//! How long until an image is here.

mod pull;
mod registry;

use crate::bench::Bench;
use crate::report::Figure;
use crate::table::progress;

const GROUP: &str = "images";

/// Measures all of it.
///
/// # Errors
/// When the program under test does not do what is to be measured.
pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    progress("pull")?;
    pull::measure(bench)
}
