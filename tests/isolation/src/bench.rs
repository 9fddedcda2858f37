//! What every group works with: where things lie, what was built, how much to measure.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Map, Value};

use crate::peers::{self, Peer};
use crate::programs::{self, Programs};

/// Folders and files of the bench.
#[derive(Debug)]
pub(crate) struct Paths {
    /// The report.
    pub(crate) report: PathBuf,
    /// Made by one run for the next to find: bundles, compiled files.
    pub(crate) work: PathBuf,
    /// The data directory of the program under test, so that compiled code is found again.
    pub(crate) data: PathBuf,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amount {
    /// Samples where nothing but a function call is between them.
    pub(crate) in_process: usize,
    /// Samples where each starts a process.
    pub(crate) processes: usize,
    /// Round trips per process.
    pub(crate) round_trips: usize,
    /// MiB sent per process.
    pub(crate) mebibytes: usize,
}

/// Everything that a group needs.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) paths: Paths,
    pub(crate) programs: Programs,
    pub(crate) wasmtime: Result<Peer, String>,
    pub(crate) runc: Result<Peer, String>,
    pub(crate) skopeo: Result<Peer, String>,
    /// What images are pulled from.
    pub(crate) registry: Result<Peer, String>,
    pub(crate) amount: Amount,
}

/// For figures that others may rely on: at least 1,000 samples in process, 30 with processes.
const FULL: Amount = Amount {
    in_process: 2000,
    processes: 40,
    round_trips: 10_000,
    mebibytes: 1024,
};

/// To see that everything runs.
const QUICK: Amount = Amount {
    in_process: 200,
    processes: 6,
    round_trips: 2000,
    mebibytes: 128,
};

// === impl Bench ===

impl Bench {
    /// Builds what is measured and looks for the peers.
    ///
    /// # Errors
    /// When something of our own cannot be built.
    pub(crate) fn prepare(is_quick: bool) -> anyhow::Result<Self> {
        let home = programs::root()?.join("target/isolation");
        let paths = Paths {
            report: home.join("report.json"),
            work: home.join("work"),
            data: home.join("data"),
        };
        for folder in [&paths.work, &paths.data] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(Self {
            programs: Programs::build()?,
            wasmtime: peers::wasmtime(&paths.work),
            runc: peers::of_machine("runc"),
            skopeo: peers::of_machine("skopeo"),
            registry: peers::of_machine("docker-registry"),
            amount: if is_quick { QUICK } else { FULL },
            paths,
        })
    }

    /// The versions of everything that takes part.
    ///
    /// # Errors
    /// When the compiler does not tell its own.
    pub(crate) fn versions(&self) -> anyhow::Result<Map<String, Value>> {
        let mut versions = Map::new();
        let mut add = |name: &str, version: &str| versions.insert(name.to_owned(), version.into());
        add("wasmpod", env!("CARGO_PKG_VERSION"));
        add("engine", &format!("wasmtime {}", engine::WASMTIME_VERSION));
        add("rustc", &programs::rustc()?.release);
        let peers = [&self.wasmtime, &self.runc, &self.skopeo, &self.registry];
        for peer in peers.into_iter().flatten() {
            add(peer.name, &peer.version);
        }
        Ok(versions)
    }
}
