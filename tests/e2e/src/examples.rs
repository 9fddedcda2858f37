//! Every folder of `examples/` runs as it stands and gives what its `expect.json` says.
//!
//! `examples/README.md` explains the expectation's fields. One that is not known here fails, so
//! that none is written in vain.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use serde::Deserialize;

use crate::harness::{Run, Running, Said, fetch, has_c_compiler, root, skip, why_not_built};

/// What a run of an example gives.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expectation {
    /// Ends by Ctrl-C, once the lines and pages are there, instead of by itself.
    #[serde(default)]
    stop: bool,
    exit_code: i32,
    #[serde(default)]
    fetch: Vec<Fetch>,
    pods: BTreeMap<String, PodExpectation>,
}

/// A page of a pod.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fetch {
    pod: String,
    port: u16,
    path: String,
    contains: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodExpectation {
    phase: Option<String>,
    containers: BTreeMap<String, ContainerExpectation>,
}

/// What is said of a container; parts of lines, in the order of the log.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ContainerExpectation {
    exit_code: Option<i64>,
    reason: Option<String>,
    restarts: Option<u64>,
    /// Written before the run is stopped.
    #[serde(default)]
    lines: Vec<String>,
    /// Written after it.
    #[serde(default)]
    last_lines: Vec<String>,
}

/// One test per folder, and the list of them.
macro_rules! examples {
    ($($test:ident: $folder:literal,)*) => {
        const FOLDERS: &[&str] = &[$($folder),*];
        $(
            #[test]
            fn $test() -> anyhow::Result<()> {
                run($folder)
            }
        )*
    };
}

examples! {
    config: "config",
    gather: "gather",
    go: "go",
    hello: "hello",
    http: "http",
    init_and_sidecar: "init-and-sidecar",
    javascript: "javascript",
    jobs: "jobs",
    keyvalue: "keyvalue",
    lifecycle: "lifecycle",
    limits: "limits",
    pair: "pair",
    preview1: "preview1",
    probes: "probes",
    python: "python",
    two_pods: "two-pods",
    udp: "udp",
}

#[test]
fn every_example_has_a_test() -> anyhow::Result<()> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("examples"))? {
        let path = entry?.path();
        if path.join("pod.yaml").is_file() {
            found.push(
                path.file_name()
                    .context("a folder")?
                    .to_string_lossy()
                    .into_owned(),
            );
        }
    }
    found.sort();
    assert_eq!(found, FOLDERS);
    Ok(())
}

/// Runs the example of a folder and compares.
fn run(folder: &str) -> anyhow::Result<()> {
    let folder = root().join("examples").join(folder);
    if let Some(why) = missing_guests(&folder)? {
        return skip(&why);
    }
    let expected = fs::read_to_string(folder.join("expect.json"))?;
    let expected: Expectation = serde_json::from_str(&expected)
        .with_context(|| format!("{}/expect.json", folder.display()))?;
    let manifest = folder.join("pod.yaml");
    let mut running = Run::new()?
        .args(["-f", &manifest.to_string_lossy()])
        .start()?;
    if expected.stop {
        wait_for_lines(&mut running, &expected)?;
        fetch_pages(&mut running, &expected)?;
        running.signal(Signal::INT)?;
    }
    let ended = running.finish()?;
    let mismatches = mismatches(&expected, &ended.said);
    let transcript = ended.said.transcript();
    ensure!(
        mismatches.is_empty(),
        "{}\nin:\n{transcript}",
        mismatches.join("\n")
    );
    ensure!(
        ended.code == Some(expected.exit_code),
        "exit code {:?}, not {}, after:\n{transcript}",
        ended.code,
        expected.exit_code
    );
    Ok(())
}

fn wait_for_lines(running: &mut Running, expected: &Expectation) -> anyhow::Result<()> {
    for (pod, expectation) in &expected.pods {
        for (container, expectation) in &expectation.containers {
            for line in &expectation.lines {
                running.wait_log(pod, container, line)?;
            }
        }
    }
    Ok(())
}

fn fetch_pages(running: &mut Running, expected: &Expectation) -> anyhow::Result<()> {
    for Fetch {
        pod,
        port,
        path,
        contains,
    } in &expected.fetch
    {
        let address: IpAddr = running.wait_for("an address", |line| {
            line.status(pod)?["podIP"].as_str()?.parse().ok()
        })?;
        let page = fetch(SocketAddr::new(address, *port), path)?;
        for part in contains {
            ensure!(
                page.contains(part),
                "{pod}{path} does not contain `{part}`:\n{page}"
            );
        }
    }
    Ok(())
}

/// Everything that is not as expected, once the run has ended.
fn mismatches(expected: &Expectation, said: &Said) -> Vec<String> {
    let mut mismatches = Vec::new();
    let mut compare = |what: String, is: &serde_json::Value, wanted: Option<serde_json::Value>| {
        if let Some(wanted) = wanted.filter(|wanted| wanted != is) {
            mismatches.push(format!("{what} is {is}, not {wanted}"));
        }
    };
    for (pod, expectation) in &expected.pods {
        let phase = &said.status(pod)["phase"];
        compare(
            format!("phase of {pod}"),
            phase,
            expectation.phase.clone().map(Into::into),
        );
        for (name, expectation) in &expectation.containers {
            let container = said.container(pod, name);
            let ended = said.terminated(pod, name);
            let of = |what: &str| format!("{what} of {pod}/{name}");
            compare(
                of("exit code"),
                &ended["exitCode"],
                expectation.exit_code.map(Into::into),
            );
            compare(
                of("reason"),
                &ended["reason"],
                expectation.reason.clone().map(Into::into),
            );
            let restarts = expectation.restarts.map(Into::into);
            compare(of("restarts"), &container["restartCount"], restarts);
            let mut logs = said.logs(pod, name).into_iter();
            for line in expectation.lines.iter().chain(&expectation.last_lines) {
                let is_there = logs.any(|log| log.contains(line.as_str()));
                compare(
                    of(&format!("`{line}` in its place in the log")),
                    &is_there.into(),
                    Some(true.into()),
                );
            }
        }
    }
    mismatches
}

/// Fails for a guest that is not built; answers why, where this machine cannot build it.
fn missing_guests(folder: &Path) -> anyhow::Result<Option<String>> {
    let manifest = fs::read_to_string(folder.join("pod.yaml"))?;
    let images = manifest
        .lines()
        .filter_map(|line| line.split_once("image: file:"));
    for (_, image) in images {
        let path = folder.join(image.trim());
        if path.is_file() {
            continue;
        }
        if let Some(why) = why_not_built(&path) {
            return Ok(Some(why));
        }
        let name = path.with_extension("c");
        let source: PathBuf = folder.join(name.file_name().context("an image has a name")?);
        if source.is_file() && !has_c_compiler() {
            return Ok(Some(format!("{} needs clang", source.display())));
        }
        bail!(
            "{} is not built: run `cargo xtask test guests languages`",
            path.display()
        );
    }
    Ok(None)
}
