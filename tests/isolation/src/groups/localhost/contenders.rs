//! Who runs the two programs, and how.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::process::{self, Running};

/// In the arguments of the programs: the address that one listens on and the other asks.
pub(super) const ADDRESS: &str = "ADDRESS";

/// Localhost inside a pod, where every port is free.
const POD_ADDRESS: &str = "127.0.0.1:7000";

/// The two programs' arguments, the family's case first.
#[derive(Debug)]
pub(super) struct Talk<'a> {
    pub(super) server: &'a [&'a str],
    pub(super) client: &'a [&'a str],
}

/// What the two programs said.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) server: String,
    pub(super) client: String,
}

/// Someone who runs them.
pub(super) struct Contender {
    pub(super) name: &'static str,
    way: Result<Way, String>,
}

/// How.
enum Way {
    /// Two containers of one pod.
    Pod {
        wasmpod: PathBuf,
        data: PathBuf,
        manifest: PathBuf,
        image: PathBuf,
    },
    /// Two processes: a program with its first arguments.
    Processes {
        program: PathBuf,
        before: Vec<String>,
    },
}

/// One line of `wasmpod run --output json`, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    container: Option<String>,
    #[serde(default)]
    text: String,
}

/// Everyone, wasmpod first.
pub(super) fn all(bench: &Bench) -> Vec<Contender> {
    let pod = Way::Pod {
        wasmpod: bench.programs.wasmpod.clone(),
        data: bench.paths.data.clone(),
        manifest: bench.paths.work.join("talk.json"),
        image: bench.programs.net.clone(),
    };
    let native = Way::Processes {
        program: bench.programs.native_net.clone(),
        before: Vec::new(),
    };
    let contender = |name, way| Contender { name, way };
    vec![
        contender("wasmpod", Ok(pod)),
        contender("kernel-loopback", Ok(native)),
        contender("wasmtime-loopback", wasmtime(bench)),
    ]
}

/// Two `wasmtime run`, each with the machine's network.
fn wasmtime(bench: &Bench) -> Result<Way, String> {
    let peer = bench.wasmtime.as_ref().map_err(Clone::clone)?;
    let code = bench.paths.work.join("net.cwasm");
    let mut compile = Command::new(&peer.path);
    compile.arg("compile").arg("-o").arg(&code);
    compile.arg(&bench.programs.net);
    process::run(compile).map_err(|error| format!("{error:#}"))?;
    let before = ["run", "--allow-precompiled", "-S", "tcp,inherit-network"];
    let mut before: Vec<String> = before.map(str::to_owned).to_vec();
    before.push(code.display().to_string());
    Ok(Way::Processes {
        program: peer.path.clone(),
        before,
    })
}

// === impl Contender ===

impl Contender {
    /// Why it cannot take part.
    pub(super) fn reason(&self) -> Option<&str> {
        self.way.as_ref().err().map(String::as_str)
    }

    /// Has it talk once; if that, or what is read from it, fails, it does not take part.
    pub(super) fn try_out(&mut self, talk: &Talk<'_>, read: impl Fn(&Told) -> anyhow::Result<()>) {
        if self.way.is_ok()
            && let Err(error) = self.talk(talk).and_then(|told| read(&told))
        {
            self.way = Err(format!("{error:#}"));
        }
    }

    /// Runs both programs to their end.
    ///
    /// # Errors
    /// When one of them fails.
    pub(super) fn talk(&self, talk: &Talk<'_>) -> anyhow::Result<Told> {
        match &self.way {
            Err(reason) => anyhow::bail!("{}: {reason}", self.name),
            Ok(Way::Processes { program, before }) => in_processes(program, before, talk),
            Ok(Way::Pod {
                wasmpod,
                data,
                manifest,
                image,
            }) => {
                let pod = serde_json::to_vec(&pod(image, talk))?;
                fs::write(manifest, pod)
                    .with_context(|| format!("cannot write {}", manifest.display()))?;
                let mut command = Command::new(wasmpod);
                command.arg("run").arg("--data-dir").arg(data);
                command.args(["--output", "json", "-f"]).arg(manifest);
                in_pod(&process::run(command)?.stdout)
            }
        }
    }
}

/// The server, then the client, which asks until the server listens.
fn in_processes(program: &Path, before: &[String], talk: &Talk<'_>) -> anyhow::Result<Told> {
    let address = free_address()?;
    let command = |arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(before).args(placed(arguments, &address));
        command
    };
    let server = Running::start(command(talk.server))?;
    let client = process::run(command(talk.client))?;
    Ok(Told {
        server: server.succeeded()?.stdout,
        client: client.stdout,
    })
}

/// An address of this machine that nobody listens on.
fn free_address() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}

/// The arguments with the address in its place.
fn placed(arguments: &[&str], address: &str) -> Vec<String> {
    arguments
        .iter()
        .map(|argument| argument.replace(ADDRESS, address))
        .collect()
}

/// The pod with both programs.
fn pod(image: &Path, talk: &Talk<'_>) -> Value {
    let container = |name: &str, arguments: &[&str]| {
        json!({
            "name": name,
            "image": format!("file:{}", image.display()),
            "args": placed(arguments, POD_ADDRESS),
        })
    };
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "talk"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                container("server", talk.server),
                container("client", talk.client),
            ],
        },
    })
}

/// What the containers logged, from the lines of `wasmpod run --output json`.
fn in_pod(lines: &str) -> anyhow::Result<Told> {
    let mut told = Told::default();
    for line in lines.lines() {
        let line: Line = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        let log = match (line.kind.as_str(), line.container.as_deref()) {
            ("log", Some("server")) => &mut told.server,
            ("log", Some("client")) => &mut told.client,
            _ => continue,
        };
        log.push_str(&line.text);
        log.push('\n');
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TALK: Talk<'_> = Talk {
        server: &["echo", ADDRESS, "1"],
        client: &["rtt", ADDRESS, "10"],
    };

    #[test]
    fn the_pod_is_one_that_kubernetes_knows() {
        let manifest = pod(Path::new("/net.wasm"), &TALK).to_string();
        let mut workload = api::Workload::new();
        let added = workload.add(manifest, "talk", std::time::SystemTime::UNIX_EPOCH);
        assert!(added.is_ok(), "{added:?}");
        let containers = &workload.pods[0].pod.containers;
        assert_eq!(containers[1].args, ["rtt", POD_ADDRESS, "10"]);
    }

    #[test]
    fn containers_are_told_apart() -> anyhow::Result<()> {
        let lines = concat!(
            r#"{"type":"status","pod":"default/talk","status":{}}"#,
            "\n",
            r#"{"type":"log","pod":"default/talk","container":"server","text":"listening"}"#,
            "\n",
            r#"{"type":"log","pod":"default/talk","container":"client","text":"p50_ns 3"}"#,
            "\n",
            r#"{"type":"summary","exitCode":0}"#,
        );
        let wanted = Told {
            server: "listening\n".to_owned(),
            client: "p50_ns 3\n".to_owned(),
        };
        assert_eq!(in_pod(lines)?, wanted);
        assert!(in_pod("Hello").is_err());
        Ok(())
    }
}
