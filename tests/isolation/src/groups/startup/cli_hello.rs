//! `cli-hello`: a program that says hello, as a whole process each time, nothing of ours before or
//! after; the same source for every contender.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::case;
use crate::bench::Bench;
use crate::peers::Peer;
use crate::process;
use crate::programs::build_static;
use crate::report::{Case, Figure, ratios};
use crate::samples::Samples;

const CASE: Case = case("cli-hello");

/// What every contender must say.
const HELLO: &str = "Hello, world.";

/// Makes the command of one sample, given its number.
type MakeCommand = Box<dyn Fn(usize) -> Command>;

/// Someone who says hello.
struct Contender {
    name: &'static str,
    command: Result<MakeCommand, String>,
    times: Vec<f64>,
}

/// Measures wasmpod and its peers in turns.
///
/// # Errors
/// When wasmpod does not say hello.
pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut contenders = [
        Contender::new("wasmpod", Ok(wasmpod(bench))),
        Contender::new("wasmtime-run-precompiled", wasmtime(bench)),
        Contender::new("runc-run", runc(bench)),
    ];
    // The first time warms every cache and finds out who cannot.
    for contender in &mut contenders {
        contender.try_out();
    }
    for number in 1..=bench.amount.processes {
        for contender in &mut contenders {
            contender.sample(number)?;
        }
    }
    let [ours, ..] = &contenders;
    if let Err(reason) = &ours.command {
        bail!("wasmpod does not say hello: {reason}");
    }
    let mut figures: Vec<Figure> = contenders.into_iter().map(Contender::figure).collect();
    figures.extend(ratios(&figures));
    Ok(figures)
}

// === impl Contender ===

impl Contender {
    fn new(name: &'static str, command: Result<MakeCommand, String>) -> Self {
        Self {
            name,
            command,
            times: Vec::new(),
        }
    }

    /// Runs it once; one that cannot is not available.
    fn try_out(&mut self) {
        if let Ok(command) = &self.command
            && let Err(error) = hello(command(0))
        {
            self.command = Err(format!("{error:#}"));
        }
    }

    fn sample(&mut self, number: usize) -> anyhow::Result<()> {
        if let Ok(command) = &self.command {
            self.times.push(hello(command(number))?);
        }
        Ok(())
    }

    fn figure(self) -> Figure {
        match self.command {
            Ok(_) => CASE.measured(self.name, &Samples::new(self.times)),
            Err(reason) => CASE.absent(self.name, &reason),
        }
    }
}

/// Microseconds from start to end of a process that says hello.
fn hello(command: Command) -> anyhow::Result<f64> {
    let ended = process::run(command)?;
    if !ended.stdout.contains(HELLO) {
        bail!("it did not say hello but {:?}", ended.stdout);
    }
    Ok(ended.took.as_secs_f64() * 1e6)
}

/// `wasmpod run file:hello.wasm`.
fn wasmpod(bench: &Bench) -> MakeCommand {
    let program = bench.programs.wasmpod.clone();
    let data = bench.paths.data.clone();
    let image = format!("file:{}", bench.programs.hello.display());
    Box::new(move |_| {
        let mut command = Command::new(&program);
        command.arg("run").arg("--data-dir").arg(&data).arg(&image);
        command
    })
}

/// `wasmtime run` of the file that it compiled before.
fn wasmtime(bench: &Bench) -> Result<MakeCommand, String> {
    let peer = bench.wasmtime.as_ref().map_err(Clone::clone)?;
    let code = bench.paths.work.join("hello.cwasm");
    let wasmtime = peer.path.clone();
    let mut compile = Command::new(&wasmtime);
    compile.arg("compile").arg("-o").arg(&code);
    compile.arg(&bench.programs.hello);
    process::run(compile).map_err(|error| format!("{error:#}"))?;
    Ok(Box::new(move |_| {
        let mut command = Command::new(&wasmtime);
        command.args(["run", "--allow-precompiled"]).arg(&code);
        command
    }))
}

/// `runc run` of a root file system that holds the static program.
fn runc(bench: &Bench) -> Result<MakeCommand, String> {
    let peer = bench.runc.as_ref().map_err(Clone::clone)?;
    let bundle = bench.paths.work.join("bundle");
    make_bundle(peer, &bundle, &bench.programs.hello_source)
        .map_err(|error| format!("{error:#}"))?;
    let (runc, state) = (peer.path.clone(), bench.paths.work.join("runc"));
    Ok(Box::new(move |number| {
        let mut command = Command::new(&runc);
        let name = format!("isolation-{}-{number}", std::process::id());
        command.arg("--root").arg(&state).args(["run", "--bundle"]);
        command.arg(&bundle).arg(name);
        command
    }))
}

/// The bundle that `runc spec` makes, with our program in the place of its shell.
fn make_bundle(peer: &Peer, bundle: &Path, source: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(bundle.join("rootfs"))?;
    build_static(source, &bundle.join("rootfs/hello"))?;
    let config = bundle.join("config.json");
    if config.exists() {
        fs::remove_file(&config)?;
    }
    let mut spec = Command::new(&peer.path);
    spec.arg("spec").arg("--bundle").arg(bundle);
    if !rustix::process::geteuid().is_root() {
        spec.arg("--rootless");
    }
    process::run(spec)?;
    let mut value: Value = serde_json::from_slice(&fs::read(&config)?)?;
    let process = value
        .get_mut("process")
        .context("runc spec wrote no process")?;
    process["terminal"] = json!(false);
    process["args"] = json!(["/hello"]);
    fs::write(&config, serde_json::to_vec(&value)?)?;
    Ok(())
}
