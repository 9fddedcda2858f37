//! `cargo xtask bench-peers`: installs what the benches compare with, as its users get it.
//!
//! A peer that cannot be had here is named with the remedy; the benches then report it as not
//! available instead of leaving it out.

use anyhow::Context as _;

use crate::step::exec;
use crate::toolchain::{Program, cargo, ensure_programs, target};

const PROGRAMS: [Program; 4] = [
    Program {
        name: "docker-registry",
        packages: &["docker-registry"],
        without: "no figures for pulling images",
    },
    Program {
        name: "runc",
        packages: &["runc"],
        without: "no figures for namespace containers",
    },
    Program {
        name: "skopeo",
        packages: &["skopeo"],
        without: "nobody to pull images beside wasmpod",
    },
    Program {
        name: "strace",
        packages: &["strace"],
        without: "no counts of system calls",
    },
];

/// The wasmtime line that the engine is built on: the same compiler and runtime on both sides.
const WASMTIME: &str = "~48";

/// What takes part in `wasmtime run`, `serve` and `compile`; left out are its other commands
/// (debugger, explorer, wast, wizer) and hosts (nn, tls, key-value), which a start does not touch.
const WASMTIME_FEATURES: &str = "addr2line,backtrace,cache,compile,component-model,\
    component-model-async,config,cranelift,demangle,gc,gc-drc,gc-null,logging,\
    parallel-compilation,pooling-allocator,run,serve,threads";

/// Installs every peer that is absent.
pub(crate) fn run() -> anyhow::Result<()> {
    let absent = ensure_programs(&PROGRAMS);
    let wasmtime = wasmtime();
    println!("\npeer            state");
    for Program { name, without, .. } in &PROGRAMS {
        let is_absent = absent.iter().any(|program| program.name == *name);
        println!(
            "{name:<15} {}",
            if is_absent { without } else { "installed" }
        );
    }
    let state = if wasmtime.is_ok() {
        "installed in target/peers"
    } else {
        "not installed"
    };
    println!("{:<15} {state}", "wasmtime");
    wasmtime
}

/// cargo leaves an installed one alone when it is of the version and features asked for.
fn wasmtime() -> anyhow::Result<()> {
    let mut command = cargo(["install", "wasmtime-cli", "--locked", "--version", WASMTIME]);
    command
        .args([
            "--no-default-features",
            "--features",
            WASMTIME_FEATURES,
            "--root",
        ])
        .arg(target().join("peers"));
    exec(&mut command).context("wasmtime could not be built: is the package registry reached?")
}
