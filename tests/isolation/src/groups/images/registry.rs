//! Debian's `docker-registry` on a port of its own, with nothing in it at first.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::peers::Peer;
use crate::process::Running;

/// What it says when it is ready, before its address.
const READY: &str = "listening on ";

/// A registry. It ends when dropped.
#[derive(Debug)]
pub(super) struct Registry {
    _running: Running,
    /// Host and port, as references have them.
    pub(super) host: String,
}

// === impl Registry ===

impl Registry {
    /// Starts one that keeps what it is given in a folder.
    ///
    /// # Errors
    /// When it does not start, in its words.
    pub(super) fn start(peer: &Peer, folder: &Path) -> anyhow::Result<Self> {
        let settings = folder.join("registry.yml");
        let data = folder.join("registry");
        let text = format!(
            "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: true\nstorage:\n  \
             filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
            data.display()
        );
        fs::write(&settings, text)?;
        let mut command = Command::new(&peer.path);
        command.arg("serve").arg(&settings);
        let mut running = Running::start(command)?;
        let stderr = running.take_stderr().context("no standard error")?;
        let mut lines = BufReader::new(stderr).lines();
        let mut said = String::new();
        let host = loop {
            let Some(line) = lines.next().transpose()? else {
                bail!("{} ended: {said}", peer.path.display());
            };
            if let Some((_, address)) = line.split_once(READY) {
                let end = address.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
                let address = address.get(..end.unwrap_or(address.len()));
                break address.unwrap_or_default().to_owned();
            }
            said.push_str(&line);
        };
        // It must not wait for a reader of what it logs.
        std::thread::spawn(move || lines.count());
        Ok(Self {
            _running: running,
            host,
        })
    }
}
