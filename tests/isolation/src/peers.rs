//! Other ways to isolate, as their users have them. One that is not here is told with the remedy.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;
use crate::programs;

/// A program to compare with.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// What it says of itself.
    pub(crate) version: String,
}

/// What installs the peers.
const REMEDY: &str = "run `cargo xtask bench-peers`";

/// `wasmtime`, built from the line that our engine is of. `work` keeps its settings from
/// those of the person who runs the bench.
pub(crate) fn wasmtime(work: &Path) -> Result<Peer, String> {
    let root = programs::root().map_err(|error| error.to_string())?;
    let path = root.join("target/peers/bin/wasmtime");
    if !path.is_file() {
        return Err(format!("wasmtime is not in target/peers: {REMEDY}"));
    }
    let mut ask = Command::new(&path);
    ask.arg("--version").env("XDG_CONFIG_HOME", work);
    let version = first_line(ask)?;
    Ok(Peer {
        name: "wasmtime",
        path,
        version,
    })
}

/// A program of the machine.
pub(crate) fn of_machine(name: &'static str) -> Result<Peer, String> {
    let path = find(name).ok_or_else(|| format!("{name} is not installed: {REMEDY}"))?;
    let mut ask = Command::new(&path);
    ask.arg("--version");
    let version = first_line(ask)?;
    Ok(Peer {
        name,
        path,
        version,
    })
}

/// What a peer says of itself.
fn first_line(command: Command) -> Result<String, String> {
    let ended = process::run(command).map_err(|error| format!("{error:#}"))?;
    Ok(ended.stdout.lines().next().unwrap_or_default().to_owned())
}

/// A program on the search path, or where a user's path does not lead but programs lie.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-anywhere").is_none());
    }
}
