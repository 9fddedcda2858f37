//! `cargo xtask test`: every check of the project, cheapest first, stopped at the first failure.
//!
//! The tests themselves come last, so that the output closes with their counts.

use std::process::Command;

use anyhow::bail;

use crate::counts::Counts;
use crate::step::{Steps, exec};
use crate::toolchain::{Program, cargo, ensure_programs, ensure_wasm_targets, find, root};
use crate::{binaries, fuzz, guests, languages, large, lines};

/// Told to the tests when they run in a network namespace of their own, where they may use any
/// address.
const OWN_NAMESPACE: &str = "WASMPOD_TEST_NETNS";

const PROGRAMS: [Program; 5] = [
    Program {
        name: "curl",
        packages: &["curl"],
        without: "tests of http servers are skipped",
    },
    Program {
        name: "docker-registry",
        packages: &["docker-registry"],
        without: "tests against a real registry are skipped",
    },
    Program {
        name: "ip",
        packages: &["iproute2"],
        without: "tests of addresses outside 127.0.0.0/8 are skipped",
    },
    Program {
        name: "openssl",
        packages: &["openssl"],
        without: "the test of requests over https is skipped",
    },
    Program {
        name: "unshare",
        packages: &["util-linux"],
        without: "tests that need a network namespace are skipped",
    },
];

/// Tells the tests which `wasmpod` to test.
const PROGRAM: &str = "WASMPOD_BIN";

/// Runs every step, or those named.
pub(crate) fn run(only: &[String]) -> anyhow::Result<()> {
    let mut steps = Steps::only(only);
    let outcome = checks(&mut steps);
    steps.report();
    if let Some(counts) = outcome? {
        println!("{counts}");
    }
    Ok(())
}

/// A check by its name.
type Check = (&'static str, fn() -> anyhow::Result<()>);

const CHECKS: [Check; 11] = [
    ("programs", programs),
    ("format", format),
    ("tidy", tidy),
    ("guests", guests::build_all),
    ("toolbox", guests::build_toolbox),
    ("clippy", clippy),
    ("docs", docs),
    ("build", build),
    ("wasmpod", binaries::build_wasmpod),
    ("languages", languages::build_all),
    ("large", large::build_all),
];

/// Carries out the checks, and answers the counts if the tests were among them.
fn checks(steps: &mut Steps) -> anyhow::Result<Option<Counts>> {
    for (name, check) in CHECKS {
        steps.run(name, check)?;
    }
    let mut counts = None;
    steps.run("tests", || tests(counts.insert(Counts::default())))?;
    Ok(counts)
}

/// Everything that cargo fetches from elsewhere, so that the tests need no network.
fn programs() -> anyhow::Result<()> {
    ensure_wasm_targets()?;
    ensure_programs(&PROGRAMS);
    let fetch = || cargo(["fetch", "--quiet", "--locked"]);
    exec(&mut fetch())?;
    // Nothing here builds that workspace: only this tells that its lock file is behind.
    exec(fetch().current_dir(fuzz::drivers()))
}

fn format() -> anyhow::Result<()> {
    exec(&mut cargo(["fmt", "--all", "--check"]))?;
    for folder in guests::workspaces().chain([fuzz::drivers()]) {
        exec(cargo(["fmt", "--all", "--check"]).current_dir(folder))?;
    }
    Ok(())
}

/// The tidy tests alone, early: they need little to be built. They count when all tests run.
fn tidy() -> anyhow::Result<()> {
    exec(&mut cargo([
        "test",
        "--quiet",
        "--package",
        "e2e",
        "--",
        "tidy::",
    ]))
}

fn clippy() -> anyhow::Result<()> {
    let strict = ["--", "--deny", "warnings"];
    exec(cargo(["clippy", "--quiet", "--workspace", "--all-targets"]).args(strict))?;
    exec(guests::toolbox("clippy").args(strict))?;
    for build in guests::BUILDS {
        exec(build.cargo("clippy").args(strict))?;
    }
    Ok(())
}

fn docs() -> anyhow::Result<()> {
    let mut command = cargo([
        "doc",
        "--quiet",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    exec(command.env("RUSTDOCFLAGS", "--deny warnings"))
}

/// All programs and tests in one call, so that wasmtime is built once for them. `wasmpod` comes out
/// of it with the compiler, because cargo gives all crates of one call the features of all; the
/// next step builds it as it should be.
fn build() -> anyhow::Result<()> {
    exec(&mut cargo([
        "build",
        "--quiet",
        "--workspace",
        "--all-targets",
    ]))
}

/// Every test of the workspace, in a network namespace of its own where this machine gives us one.
fn tests(counts: &mut Counts) -> anyhow::Result<()> {
    let mut command = cargo(["test", "--workspace", "--no-fail-fast", "--offline"]);
    if can_have_namespace() {
        command = in_own_namespace(&command);
    } else {
        println!("   no network namespace for the tests: those that need one skip themselves");
    }
    // Else the tests build it themselves, and wasmpod-compile with features of its own.
    command.env(PROGRAM, binaries::wasmpod());
    let mut running = lines::start(&mut command)?;
    for (_, line) in &running.lines {
        println!("{line}");
        counts.line(&line);
    }
    let status = running.child.wait()?;
    if !status.success() {
        bail!("{counts}; `cargo test` ended with {status}");
    }
    Ok(())
}

/// Whether root here may make network namespaces, and bring up their loopback device.
fn can_have_namespace() -> bool {
    find("ip").is_some()
        && Command::new("unshare")
            .args(["--net", "ip", "link", "set", "lo", "up"])
            .status()
            .is_ok_and(|status| status.success())
}

/// The same command in a new network namespace with nothing but loopback in it.
fn in_own_namespace(command: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped
        .args([
            "--net",
            "sh",
            "-c",
            "ip link set lo up && exec \"$0\" \"$@\"",
        ])
        .arg(command.get_program())
        .args(command.get_args())
        .env(OWN_NAMESPACE, "1")
        .current_dir(root());
    wrapped
}
