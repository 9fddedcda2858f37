//! wasmpod's own messages, on standard error; where a run prints, they go its way.

use tracing_subscriber::EnvFilter;

use crate::options::{Common, LogFormat};
use crate::output::Messages;

/// Starts telling: warnings, more with `-v`, or what `WASMPOD_LOG` says.
pub(crate) fn start(common: &Common) {
    let level = match common.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("WASMPOD_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Messages)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    // A second start in one process would only be refused, which is as well.
    let _ = match common.log_format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
