//! The `wasmpod` binary: everything that a person types.
//!
//! It wires rooms together and prints; what a pod is and how it lives is decided elsewhere.

mod claim;
mod data_dir;
mod image;
mod images;
mod options;
mod output;
mod pod_host;
mod registry_images;
mod run;
mod tracing_output;

use std::process::ExitCode;

use clap::Parser as _;

use options::{Command, Options};

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
    let text = run::escaped(format!("{error:#}").as_bytes());
    let _ = writeln!(std::io::stderr(), "error: {text}");
}
