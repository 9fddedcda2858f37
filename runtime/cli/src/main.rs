//! The `wasmpod` binary: everything that a person types.
//!
//! It wires rooms together and prints; what a pod is and how it lives is decided elsewhere.

mod claim;
mod data_dir;
mod image;
mod images;
mod machine;
mod options;
mod output;
mod pod_host;
mod registry_images;
mod run;
mod tracing_output;
mod used;

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;

use options::{Command, Options};

/// Each request to an http server allocates some eighty times, most of it freed by whoever allocated it:
/// what the C library's allocator took of that time was a twentieth of a request.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Exit code for bad usage, bad manifests and a machine that cannot run pods: none of the
/// containers' own.
const FAILURE: u8 = 125;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => return usage(&error),
    };
    tracing_output::start(&options.common);
    let result = match options.command {
        Command::Run(run) => run::run(&options.common, run),
        Command::Image(image) => image::run(&options.common, image),
        Command::Version => version(),
        Command::PodHost(options) => pod_host::serve(options),
    };
    result.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::from(FAILURE)
    })
}

/// Help that was asked for, or what is wrong with the command line.
fn usage(error: &clap::Error) -> ExitCode {
    // Where it cannot be printed nobody reads it.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(FAILURE)
    } else {
        ExitCode::SUCCESS
    }
}

fn version() -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    let text = concat!("wasmpod ", env!("CARGO_PKG_VERSION"));
    writeln!(
        std::io::stdout(),
        "{text} (wasmtime {})",
        engine::WASMTIME_VERSION
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Says what went wrong, all causes in one line. Part of it may be another program's words: control
/// characters are shown, not obeyed.
fn complain(error: &anyhow::Error) {
    use std::io::Write as _;
    let text = run::escaped(causes(error).as_bytes());
    let _ = writeln!(std::io::stderr(), "error: {text}");
}

/// An error and its causes, each once: many say theirs themselves.
fn causes(error: &anyhow::Error) -> String {
    let mut causes = error.chain().map(ToString::to_string);
    let mut text = causes.next().unwrap_or_default();
    for cause in causes.filter(|cause| !cause.is_empty()) {
        if !tells(&text, &cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Whether a cause is told already: after a colon or in brackets, where some say what to do after it. The
/// same words within a sentence are another's.
fn tells(text: &str, cause: &str) -> bool {
    let is_cause = |(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        before.is_empty() || before.ends_with(": ") || before.ends_with('(')
    };
    text.match_indices(cause).any(is_cause)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read f: {source}")]
    struct Unread {
        source: io::Error,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no room for f: {source}; free some")]
    struct NoRoom {
        source: io::Error,
    }

    #[test]
    fn no_cause_is_told_twice() {
        let source = || io::Error::from(io::ErrorKind::NotFound);
        let words = source().to_string();
        let unread = || anyhow::Error::from(Unread { source: source() });
        for (error, wanted) in [
            (unread(), format!("cannot read f: {words}")),
            (
                unread().context("no image"),
                format!("no image: cannot read f: {words}"),
            ),
            (
                anyhow::Error::from(NoRoom { source: source() }).context("cannot pack"),
                format!("cannot pack: no room for f: {words}; free some"),
            ),
            (
                anyhow::Error::from(source()).context("cannot open g"),
                format!("cannot open g: {words}"),
            ),
            (
                anyhow::anyhow!("timeout").context("cannot read timeout.json"),
                "cannot read timeout.json: timeout".to_owned(),
            ),
        ] {
            assert_eq!(causes(&error), wanted);
        }
    }
}
