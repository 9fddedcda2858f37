//! The project's own commands: `cargo xtask demo | test | schema | bench-peers | fuzz`.
//!
//! Each installs what it needs itself, so that a fresh machine with Rust on it is enough. None of
//! them is part of the program, and nothing of the program is linked in here.

#![expect(
    clippy::print_stdout,
    reason = "a command line program speaks on standard output"
)]
#![expect(
    clippy::print_stderr,
    reason = "and tells its errors on standard error"
)]

use std::process::ExitCode;

mod bench_peers;
mod binaries;
mod counts;
mod demo;
mod fuzz;
mod guests;
mod languages;
mod large;
mod lines;
mod registries;
mod schema;
mod skipped;
mod step;
mod test;
mod toolchain;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo           builds everything, runs a pod of two wasm containers and fetches a page from it
  test [STEP]... every check of the project, or the named steps only
  schema         derives the table of Kubernetes kinds from registry packages
  bench-peers    installs what the benches compare with
  fuzz [TARGET]... [--seconds N] [--engine]
                 gives parsers bytes that nobody thought of";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let outcome = match command.as_deref() {
        Some("demo") => demo::run(),
        Some("test") => test::run(&rest),
        Some("schema") => schema::run(),
        Some("bench-peers") => bench_peers::run(),
        Some("fuzz") => fuzz::run(&rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
