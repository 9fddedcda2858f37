//! Who starts a program, and with which command line.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow};
use serde_json::json;

use super::start::{Start, answered, ended};
use super::{Goal, Language};
use crate::bench::Bench;
use crate::process;

/// What the command reads: a page with code in it.
const PAGE: &str = "# A page\n\n```rust\nfn main() {}\n```\n";

/// A way to run a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `wasmpod run`.
    Wasmpod,
    /// `wasmtime run` or `serve`, with its cache.
    Wasmtime,
    /// The same of what `wasmtime compile` made.
    Precompiled,
}

/// Where a program is started, and what it works on.
pub(super) struct Place<'a> {
    bench: &'a Bench,
    goal: Goal,
    program: PathBuf,
    folder: PathBuf,
}

// === impl Way ===

impl Way {
    /// Who can start a program that was never seen; ours first.
    pub(super) const FIRST: [Self; 2] = [Self::Wasmpod, Self::Wasmtime];

    /// Who can start one that is compiled already; ours first.
    pub(super) const SECOND: [Self; 3] = [Self::Wasmpod, Self::Wasmtime, Self::Precompiled];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wasmpod => "wasmpod",
            Self::Wasmtime => "wasmtime",
            Self::Precompiled => "wasmtime-precompiled",
        }
    }

    /// What its output has in it once a server listens.
    fn up(self) -> &'static str {
        match self {
            Self::Wasmpod => r#""ready":true"#,
            Self::Wasmtime | Self::Precompiled => "Serving HTTP on",
        }
    }
}

// === impl Place ===

impl<'a> Place<'a> {
    pub(super) fn new(
        bench: &'a Bench,
        language: &Language,
        program: PathBuf,
    ) -> anyhow::Result<Self> {
        let folder = bench.paths.work.join(language.name);
        for name in ["pages", "site"] {
            fs::create_dir_all(folder.join(name))?;
        }
        fs::write(folder.join("pages/page.md"), PAGE)?;
        Ok(Self {
            bench,
            goal: language.goal,
            program,
            folder,
        })
    }

    /// What this way knows of the program is gone.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub(super) fn forget(&self, way: Way) -> anyhow::Result<()> {
        let known = self.known(way);
        if known.exists() {
            fs::remove_dir_all(&known)
                .with_context(|| format!("cannot delete {}", known.display()))?;
        }
        Ok(())
    }

    /// Where this way keeps compiled code.
    fn known(&self, way: Way) -> PathBuf {
        self.folder.join(way.name())
    }

    /// Starts the program once.
    ///
    /// # Errors
    /// When it does not do what it is for.
    pub(super) fn start(&self, way: Way) -> anyhow::Result<Start> {
        let program = self.given(way)?;
        match self.goal {
            Goal::Answered(path) => {
                // Free now, and taken at once.
                let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
                answered(
                    self.server(way, &program, address)?,
                    way.up(),
                    address,
                    path,
                )
            }
            Goal::Ended => {
                let page = self.folder.join("site/page.html");
                let start = ended(self.command(way, &program)?)?;
                fs::remove_file(&page)
                    .with_context(|| format!("it did not write {}", page.display()))?;
                Ok(start)
            }
        }
    }

    /// The file that this way is given; what it takes to make it is no part of a start.
    fn given(&self, way: Way) -> anyhow::Result<PathBuf> {
        if way != Way::Precompiled {
            return Ok(self.program.clone());
        }
        let code = self.known(way).join("program.cwasm");
        if !code.exists() {
            fs::create_dir_all(self.known(way))?;
            let mut compile = self.wasmtime()?;
            compile.arg("compile").arg("-o").arg(&code);
            compile.arg(&self.program);
            process::run(compile)?;
        }
        Ok(code)
    }

    /// The command that turns pages into a site.
    fn command(&self, way: Way, program: &Path) -> anyhow::Result<Command> {
        let (pages, site) = (self.folder.join("pages"), self.folder.join("site"));
        let mut command = match way {
            Way::Wasmpod => {
                let mut command = self.wasmpod();
                command
                    .arg("--dir")
                    .arg(format!("{}:/pages:ro", pages.display()));
                command
                    .arg("--dir")
                    .arg(format!("{}:/site", site.display()));
                command.arg(program).arg("--");
                command
            }
            Way::Wasmtime | Way::Precompiled => {
                let mut command = self.wasmtime()?;
                command.arg("run").args(precompiled(way));
                command
                    .arg("--dir")
                    .arg(format!("{}::/pages", pages.display()));
                command
                    .arg("--dir")
                    .arg(format!("{}::/site", site.display()));
                command.arg(program);
                command
            }
        };
        command.args(["/pages", "/site"]);
        Ok(command)
    }

    /// The server, at an address of this machine.
    fn server(&self, way: Way, program: &Path, address: SocketAddr) -> anyhow::Result<Command> {
        if way == Way::Wasmpod {
            let mut command = self.wasmpod();
            command.arg("-f").arg(self.manifest(program, address)?);
            return Ok(command);
        }
        let mut command = self.wasmtime()?;
        command.arg("serve").args(precompiled(way));
        command.args(["-S", "cli", "--addr", &address.to_string()]);
        command.arg(program);
        Ok(command)
    }

    /// A pod whose port is open at this machine's.
    fn manifest(&self, program: &Path, address: SocketAddr) -> anyhow::Result<PathBuf> {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "server"},
            "spec": {"containers": [{
                "name": "server",
                "image": format!("file:{}", program.display()),
                "ports": [{
                    "containerPort": 8080,
                    "hostPort": address.port(),
                    "hostIP": address.ip().to_string(),
                }],
                "readinessProbe": {"tcpSocket": {"port": 8080}},
            }]},
        });
        let manifest = self.folder.join("pod.json");
        fs::write(&manifest, serde_json::to_vec(&pod)?)
            .with_context(|| format!("cannot write {}", manifest.display()))?;
        Ok(manifest)
    }

    /// Tells what compiling took, as a line of JSON.
    fn wasmpod(&self) -> Command {
        let mut command = Command::new(&self.bench.programs.wasmpod);
        command.args(["run", "-v", "--log-format", "json"]);
        command.args(["--output", "json", "--data-dir"]);
        command.arg(self.known(Way::Wasmpod));
        command
    }

    fn wasmtime(&self) -> anyhow::Result<Command> {
        let peer = self
            .bench
            .wasmtime
            .as_ref()
            .map_err(|why| anyhow!("{why}"))?;
        let mut command = Command::new(&peer.path);
        command.env("XDG_CONFIG_HOME", &self.bench.paths.work);
        command.env("XDG_CACHE_HOME", self.known(Way::Wasmtime));
        Ok(command)
    }
}

/// What `wasmtime` is told of a file that it made itself.
fn precompiled(way: Way) -> Option<&'static str> {
    (way == Way::Precompiled).then_some("--allow-precompiled")
}
