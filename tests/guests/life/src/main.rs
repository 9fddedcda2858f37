//! The start, health and end of a container, as a guest takes part in them or does not.

mod bindings;
mod end;
mod health;
mod server;

use std::process::ExitCode;

/// What it can do.
#[rustfmt::skip]
const CASES: &[case::Case] = &[
    ("graceful", "[CLEANUP_MS]: waits to be asked to stop, cleans up, ends with 0", end::graceful),
    ("stubborn", ": is asked to stop and does not", end::stubborn),
    ("deaf", ": sleeps for ever and never asks about its end", end::deaf),
    ("deaf-spin", ": computes for ever and never asks about its end", end::deaf_spin),
    ("server", "ADDR: answers HTTP requests until it is asked to stop, ends with 0", server::graceful),
    ("healthz", "ADDR [HEALTHY_ANSWERS] [START_MS]: HTTP; /healthz is 503 after that many answers", health::healthz),
    ("healthz-file", "ADDR PATH: HTTP; /healthz is 200 while PATH exists", health::healthz_file),
    ("unready", "PATH: calls itself not ready until PATH exists, then ready", health::unready),
    ("identity", ": prints what it knows of its pod", health::identity),
];

fn main() -> ExitCode {
    case::run(CASES)
}
