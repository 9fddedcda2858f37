//! `cargo xtask fuzz`: bytes that nobody thought of, for every parser of what comes from outside.
//!
//! The targets are in `tests/fuzz`, libFuzzer's program in `tests/fuzz/drivers`. It is built
//! with coverage and checked arithmetic by the stable compiler, without a sanitizer of memory: the
//! parsers have no unsafe code. What was found stays in `target/fuzz`: inputs that reach something
//! new in `corpus/TARGET`, those that fail in `failed/TARGET`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::step::exec;
use crate::toolchain::{cargo, root, target};

/// How long each target runs where nobody says it, in seconds.
const SECONDS: u64 = 60;

/// The longest input, in bytes: nothing in a parser begins later.
const LENGTH: u32 = 16 << 10;

/// What an input may take, in seconds: the slowest seed takes milliseconds.
const TIMEOUT: u32 = 10;

/// The memory of a target, in MiB, most of which is libFuzzer's.
const MEMORY: u32 = 2048;

/// What libFuzzer sees of a program: its edges, and what is compared. Libraries know by `fuzzing` that
/// they are in one.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// What to fuzz, and how long.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// All targets where none is named.
    targets: Vec<String>,
    seconds: u64,
    /// The targets that reach the engine too, which takes minutes to build.
    with_engine: bool,
}

/// Runs the targets named, or all, one after the other.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let plan = Plan::of(arguments)?;
    let home = target().join("fuzz");
    build(&plan, &home)?;
    let program = home.join(host()?).join("release/target");
    let names = names(&program)?;
    let wanted = match plan.targets.is_empty() {
        true => names.clone(),
        false => plan.targets.clone(),
    };
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(name)) {
        bail!(
            "there is no target {unknown:?}: the targets are {}",
            names.join(", ")
        );
    }
    let mut failed = Vec::new();
    for name in wanted {
        if fuzz(&program, &home, &name, plan.seconds).is_err() {
            failed.push(name);
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => bail!(
            "{} failed: the inputs are in {}",
            failed.join(", "),
            home.join("failed").display()
        ),
    }
}

/// The workspace of libFuzzer's program.
pub(crate) fn drivers() -> PathBuf {
    root().join("tests/fuzz/drivers")
}

fn build(plan: &Plan, home: &Path) -> anyhow::Result<()> {
    let mut command = cargo(["build", "--release", "--locked", "--target", &host()?]);
    if plan.with_engine {
        command.args(["--features", "engine"]);
    }
    command
        .arg("--target-dir")
        .arg(home)
        .env("RUSTFLAGS", COVERAGE)
        .current_dir(drivers());
    exec(&mut command)
}

/// Runs one target.
fn fuzz(program: &Path, home: &Path, name: &str, seconds: u64) -> anyhow::Result<()> {
    let folder = |what: &str| -> anyhow::Result<OsString> {
        let folder = home.join(what).join(name);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        // libFuzzer puts names after it as they are.
        Ok(folder.join("").into_os_string())
    };
    let mut failed = OsString::from("-artifact_prefix=");
    failed.push(folder("failed")?);
    exec(
        Command::new(program)
            .env("WASMPOD_FUZZ", name)
            .env("WASMPOD_FUZZ_SEEDS", folder("corpus")?)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={LENGTH}"))
            .arg(format!("-timeout={TIMEOUT}"))
            .arg(format!("-rss_limit_mb={MEMORY}"))
            .args(["-print_final_stats=1", "-use_value_profile=1"])
            .arg(failed)
            .arg(folder("corpus")?),
    )
}

/// The targets' names.
fn names(program: &Path) -> anyhow::Result<Vec<String>> {
    let answer = Command::new(program).env_remove("WASMPOD_FUZZ").output()?;
    let text = String::from_utf8(answer.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// This machine as rustc names it. Named to cargo, so that what it runs while it builds has no
/// coverage.
fn host() -> anyhow::Result<String> {
    let answer = Command::new("rustc")
        .arg("-vV")
        .current_dir(root())
        .output()
        .context("`rustc` is not on the path: install Rust first")?;
    let text = String::from_utf8(answer.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

// === impl Plan ===

impl Plan {
    fn of(arguments: &[String]) -> anyhow::Result<Self> {
        let mut plan = Self {
            targets: Vec::new(),
            seconds: SECONDS,
            with_engine: false,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--seconds" => {
                    let number = words.next().and_then(|text| text.parse().ok());
                    plan.seconds = number.context("--seconds wants a number")?;
                }
                "--engine" => plan.with_engine = true,
                option if option.starts_with('-') => {
                    bail!(
                        "unknown option {option:?}: cargo xtask fuzz [TARGET]... [--seconds N] [--engine]"
                    )
                }
                name => plan.targets.push(name.to_owned()),
            }
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_time_are_read() {
        let plan = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            Plan::of(&words)
        };
        let wanted = Plan {
            targets: vec!["pod".to_owned(), "layer".to_owned()],
            seconds: 5,
            with_engine: true,
        };
        assert_eq!(plan("pod --seconds 5 layer --engine").ok(), Some(wanted));
        assert_eq!(plan("").map(|plan| plan.seconds).ok(), Some(SECONDS));
        for wrong in ["--seconds", "--seconds x", "--minutes 1"] {
            assert!(plan(wrong).is_err(), "{wrong}");
        }
    }
}
