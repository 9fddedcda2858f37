//! One `wasmpod run` that is listened to while it runs.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::{ChildStdout, Command};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;

use super::PATIENCE;
use crate::bench::Bench;
use crate::process::Running;

/// A run, killed when dropped.
pub(super) struct Run {
    running: Running,
    told: Receiver<Told>,
    reader: JoinHandle<()>,
    addresses: HashMap<String, IpAddr>,
    listening: HashSet<(String, u16)>,
    begun: HashSet<String>,
}

/// What is listened for.
enum Told {
    /// A pod has this address, and whether all its containers have started once.
    Status(String, IpAddr, bool),
    /// A program of a pod listens on this port.
    Listening(String, u16),
}

/// One line of `--output json`, as far as it is needed.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    pod: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    status: Value,
}

// === impl Run ===

impl Run {
    /// Starts it with these objects.
    ///
    /// # Errors
    /// When the manifest cannot be written, or the program not be started.
    pub(super) fn start(bench: &Bench, objects: &Value) -> anyhow::Result<Self> {
        let manifest = bench.paths.work.join("hostile.json");
        fs::write(&manifest, serde_json::to_vec(objects)?)
            .with_context(|| format!("cannot write {}", manifest.display()))?;
        let mut command = Command::new(&bench.programs.wasmpod);
        command.arg("run").arg("--data-dir").arg(&bench.paths.data);
        command.args(["--output", "json", "-f"]).arg(&manifest);
        let mut running = Running::start(command)?;
        let stdout = running.take_stdout().context("a process without output")?;
        let (sender, told) = mpsc::channel();
        let reader = thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || listen(stdout, &sender))?;
        Ok(Self {
            running,
            told,
            reader,
            addresses: HashMap::new(),
            listening: HashSet::new(),
            begun: HashSet::new(),
        })
    }

    /// Waits until a program of this pod listens on this port, and tells the address.
    ///
    /// # Errors
    /// When the run ends before, or says nothing for too long.
    pub(super) fn listening(&mut self, pod: &str, port: u16) -> anyhow::Result<SocketAddr> {
        let wanted = (pod.to_owned(), port);
        loop {
            if let Some(address) = self.addresses.get(pod)
                && self.listening.contains(&wanted)
            {
                return Ok((*address, port).into());
            }
            self.hear()
                .with_context(|| format!("pod {pod} does not listen on port {port}"))?;
        }
    }

    /// Waits until all containers of this pod have started.
    ///
    /// # Errors
    /// When the run ends before, or says nothing for too long.
    pub(super) fn begun(&mut self, pod: &str) -> anyhow::Result<()> {
        while !self.begun.contains(pod) {
            self.hear()
                .with_context(|| format!("pod {pod} has not started"))?;
        }
        Ok(())
    }

    /// Takes the next news.
    fn hear(&mut self) -> anyhow::Result<()> {
        match self.told.recv_timeout(PATIENCE)? {
            Told::Status(pod, address, has_begun) => {
                if has_begun {
                    self.begun.insert(pod.clone());
                }
                self.addresses.insert(pod, address);
            }
            Told::Listening(pod, port) => drop(self.listening.insert((pod, port))),
        }
        Ok(())
    }

    pub(super) fn pid(&self) -> Pid {
        self.running.pid()
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// When it does not end.
    pub(super) fn end(self) -> anyhow::Result<()> {
        kill_process(self.running.pid(), Signal::KILL)?;
        self.running.ended()?;
        self.reader
            .join()
            .map_err(|_| anyhow::anyhow!("the reader of the run's output panicked"))
    }
}

/// Reads to the end, so that the run never waits for its reader, and passes on what is of use.
fn listen(stdout: ChildStdout, told: &Sender<Told>) {
    for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
        if let Some(news) = news(&line) {
            // Nobody waits for news any more: the rest is only read.
            let _ = told.send(news);
        }
    }
}

fn news(line: &[u8]) -> Option<Told> {
    // Most of a flood is told apart without being parsed.
    let is_of_use = |word: &[u8]| line.windows(word.len()).any(|part| part == word);
    if line.len() > 64 * 1024 || !(is_of_use(b"\"status\"") || is_of_use(b"listening ")) {
        return None;
    }
    let line: Line = serde_json::from_slice(line).ok()?;
    let pod = line.pod.rsplit('/').next()?.to_owned();
    match line.kind.as_str() {
        "status" => {
            let address = line.status.get("podIP")?.as_str()?.parse().ok()?;
            let has_begun = line.status.get("phase")?.as_str()? != "Pending";
            Some(Told::Status(pod, address, has_begun))
        }
        "log" => {
            let (_, address) = line.text.split_once("listening ")?;
            let address: SocketAddr = address.parse().ok()?;
            Some(Told::Listening(pod, address.port()))
        }
        _ => None,
    }
}

/// Anonymous memory of a process that is resident, in KiB.
///
/// # Errors
/// When it is gone.
pub(super) fn memory_kib(process: Pid) -> anyhow::Result<f64> {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse().ok())
        .with_context(|| format!("{path} tells no RssAnon"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_tells() {
        let told = |line: &str| match news(line.as_bytes()) {
            Some(Told::Status(pod, address, begun)) => format!("{pod} has {address}, {begun}"),
            Some(Told::Listening(pod, port)) => format!("{pod} listens on {port}"),
            None => String::new(),
        };
        let cases = [
            (
                r#"{"type":"status","pod":"default/victim","status":{"phase":"Pending","podIP":"127.64.0.2"}}"#,
                "victim has 127.64.0.2, false",
            ),
            (
                r#"{"type":"status","pod":"default/hostile","status":{"phase":"Running","podIP":"127.64.0.3"}}"#,
                "hostile has 127.64.0.3, true",
            ),
            (
                r#"{"type":"log","pod":"default/victim","text":"listening 0.0.0.0:8080"}"#,
                "victim listens on 8080",
            ),
            (
                r#"{"type":"status","pod":"default/victim","status":{}}"#,
                "",
            ),
            (
                r#"{"type":"log","pod":"default/hostile","text":"xxxxx"}"#,
                "",
            ),
            ("no JSON with listening 1", ""),
        ];
        for (line, wanted) in cases {
            assert_eq!(told(line), wanted, "{line}");
        }
    }

    #[test]
    fn memory_of_this_process() -> anyhow::Result<()> {
        assert!(memory_kib(rustix::process::getpid())? > 0.0);
        Ok(())
    }
}
