//! Where wasmpod keeps what outlives a process.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The data directory and its rooms.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    path: PathBuf,
}

// === impl DataDir ===

impl DataDir {
    /// The directory that was asked for, else the user's, else the machine's for root.
    ///
    /// # Errors
    /// When there is no home to put it in, or it cannot be made.
    pub(crate) fn find(asked: Option<&Path>) -> anyhow::Result<Self> {
        let path = match asked {
            Some(path) => path.to_owned(),
            None => default()?,
        };
        std::fs::create_dir_all(&path).with_context(|| {
            format!(
                "cannot make the data directory {}: name another with --data-dir",
                path.display()
            )
        })?;
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { path })
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Compiled code, shared by all processes of the owner.
    pub(crate) fn code(&self) -> PathBuf {
        self.path.join("code")
    }

    /// Pods' files, a directory each.
    pub(crate) fn pods(&self) -> PathBuf {
        self.path.join("pods")
    }

    /// Files of our own, such as the toolbox.
    pub(crate) fn content(&self) -> PathBuf {
        self.path.join("content")
    }
}

fn default() -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/wasmpod"));
    }
    let data_home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    match data_home.or_else(home) {
        Some(path) => Ok(path.join("wasmpod")),
        None => bail!("neither XDG_DATA_HOME nor HOME is set: name a directory with --data-dir"),
    }
}
