//! Who serves, and how: the same component each time, compiled before.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::load::Load;
use super::plain;
use crate::bench::Bench;
use crate::cores::{self, Side};
use crate::cpu::Meter;
use crate::options;
use crate::process::{self, Running};

/// Bytes of a memory and of a table that stay mapped between two instances: as our engine has it.
const RESIDENT: &str =
    "pooling-memory-keep-resident=524288,pooling-table-keep-resident=65536,pooling-pagemap-scan=y";

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(60);

/// A way to serve.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// A pod of `wasmpod run`.
    Wasmpod,
    /// `wasmtime serve` with its pool set up as ours.
    WasmtimePooled,
    /// `wasmtime serve` as it is.
    WasmtimeServe,
    /// No isolation: hyper, with which all of them serve.
    Hyper,
}

/// A server that runs; ended when dropped.
pub(super) struct Server {
    /// Kept so that it runs.
    _running: Running,
    meter: Meter,
    address: SocketAddr,
}

// === impl Way ===

impl Way {
    pub(super) const ALL: [Self; 4] = [
        Self::Wasmpod,
        Self::WasmtimePooled,
        Self::WasmtimeServe,
        Self::Hyper,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wasmpod => "wasmpod",
            Self::WasmtimePooled => "wasmtime-serve-pooled",
            Self::WasmtimeServe => "wasmtime-serve",
            Self::Hyper => "plain-hyper",
        }
    }

    /// What its output has in it once it listens.
    fn up(self) -> &'static str {
        match self {
            // Its probe has found the port open.
            Self::Wasmpod => r#""ready":true"#,
            Self::WasmtimePooled | Self::WasmtimeServe => "Serving HTTP on",
            Self::Hyper => plain::UP,
        }
    }

    fn command(self, bench: &Bench, address: SocketAddr, most: u32) -> anyhow::Result<Command> {
        match self {
            Self::Wasmpod => pod(bench, address, most),
            Self::WasmtimePooled => {
                let pool = format!("pooling-allocator=y,{RESIDENT}");
                wasmtime(bench, &["-O", &pool], address, most)
            }
            Self::WasmtimeServe => wasmtime(bench, &[], address, most),
            Self::Hyper => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args([options::SERVE_PLAIN, &address.to_string()]);
                Ok(command)
            }
        }
    }
}

// === impl Server ===

impl Server {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When there is no such server here, or it does not answer.
    pub(super) fn start(way: Way, bench: &Bench, most: u32) -> anyhow::Result<Self> {
        // Free now, and taken at once.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let command = way.command(bench, address, most)?;
        let mut running = cores::on(Side::Answers, || Running::start(command))?;
        let (up, is_up) = mpsc::channel();
        let stdout = running.take_stdout().context("a process without output")?;
        let stderr = running.take_stderr().context("a process without errors")?;
        let first = up.clone();
        thread::spawn(move || listen(stdout, way, &first));
        thread::spawn(move || listen(stderr, way, &up));
        let one = Load {
            connections: 1,
            requests: 1,
            most,
        };
        is_up
            .recv_timeout(START)
            .with_context(|| format!("{} does not listen", way.name()))?;
        one.put_on(address)?;
        Ok(Self {
            meter: Meter::of(running.pid())?,
            _running: running,
            address,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its processes have spent on a CPU, from when it answered first.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn cpu_seconds(&mut self) -> anyhow::Result<f64> {
        self.meter.seconds()
    }
}

/// Reads to the end, so that the server never waits for its reader, and tells when it listens.
fn listen(output: impl Read, way: Way, up: &Sender<()>) {
    let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
    for line in lines {
        if String::from_utf8_lossy(&line).contains(way.up()) {
            // Nobody waits for it a second time.
            let _ = up.send(());
        }
    }
}

/// A pod whose port is opened at this machine's.
fn pod(bench: &Bench, address: SocketAddr, most: u32) -> anyhow::Result<Command> {
    let image = bench.programs.guest("http", false);
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "http",
            "annotations": {"wasmpod.dev/http-reuse": most.to_string()},
        },
        "spec": {"containers": [{
            "name": "http",
            "image": format!("file:{}", image.display()),
            "ports": [{
                "containerPort": 8080,
                "hostPort": address.port(),
                "hostIP": address.ip().to_string(),
            }],
            "readinessProbe": {"tcpSocket": {"port": 8080}},
        }]},
    });
    let manifest = bench.paths.work.join(format!("http-{most}.json"));
    fs::write(&manifest, serde_json::to_vec(&pod)?)
        .with_context(|| format!("cannot write {}", manifest.display()))?;
    let mut command = Command::new(&bench.programs.wasmpod);
    command.arg("run").arg("--data-dir").arg(&bench.paths.data);
    command.args(["--output", "json", "-f"]).arg(&manifest);
    Ok(command)
}

fn wasmtime(
    bench: &Bench,
    options: &[&str],
    address: SocketAddr,
    most: u32,
) -> anyhow::Result<Command> {
    let peer = bench
        .wasmtime
        .as_ref()
        .map_err(|why| anyhow::anyhow!("{why}"))?;
    let code = bench.paths.work.join("http.cwasm");
    let mut compile = Command::new(&peer.path);
    compile.args(["compile", "-o"]).arg(&code);
    compile.arg(bench.programs.guest("http", false));
    process::run(compile)?;
    let mut command = Command::new(&peer.path);
    command
        .args(["serve", "--allow-precompiled", "-S", "cli"])
        .args(options)
        .args(["--addr", &address.to_string()])
        .args(["--max-instance-reuse-count", &most.to_string()])
        .arg(code)
        .env("XDG_CONFIG_HOME", &bench.paths.work);
    Ok(command)
}
