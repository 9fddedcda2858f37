//! Large programs that were not written here, run as their users run them.
//!
//! What is tested is the ground they stand on: standard input, files in mounts, exit codes, limits,
//! much data. What the programs themselves are right about is their makers' business.

mod jaq;
mod quickjs;
mod sqlite;

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Ended, Pod, Run};

/// Runs a program without a manifest, with arguments and what comes in.
fn run(program: &Path, args: &[&str], stdin: &str) -> anyhow::Result<Ended> {
    let program = program.to_string_lossy().into_owned();
    let run = Run::new()?
        .args([program.as_str(), "--"])
        .args(args.iter().copied());
    run.stdin(stdin)?.finish()
}

/// What the only container wrote, as one text.
fn output(ended: &Ended) -> String {
    let lines = ended.said.lines.iter().filter_map(|line| line.told("log"));
    let texts = lines.filter_map(|line| line["text"].as_str());
    texts.map(|text| format!("{text}\n")).collect()
}

/// A pod with one container that runs such a program, its first volume at /data.
fn pod(program: &Path, args: &[&str], fields: Value, volumes: Value) -> Pod {
    let pod = Pod::new("p").container("c", "", args, fields);
    pod.image(&format!("file:{}", program.display()))
        .spec(json!({"volumes": volumes}))
}
