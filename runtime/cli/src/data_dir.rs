//! Where wasmpod keeps what outlives a process.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{Access, access};

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
    /// When there is no home to put it in, it cannot be made, or somebody else could write to it.
    pub(crate) fn find(asked: Option<&Path>) -> anyhow::Result<Self> {
        let path = match asked {
            Some(path) => path.to_owned(),
            None => default()?,
        };
        host::private_directory(&path).with_context(|| {
            format!(
                "cannot make the data directory {}: {ANOTHER}",
                path.display()
            )
        })?;
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot open {}", path.display()))?;
        owned(&path)?;
        Ok(Self { path })
    }

    /// Makes its rooms where they are missing, for their owner alone.
    ///
    /// # Errors
    /// A room that cannot be made or written to, or that somebody else could write to.
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
        for room in [self.code(), self.pods(), self.content(), self.runs()] {
            host::private_directory(&room).with_context(|| {
                format!(
                    "cannot make {}: {ANOTHER}, or mend this one",
                    room.display()
                )
            })?;
            owned(&room)?;
            access(&room, Access::WRITE_OK | Access::EXEC_OK).with_context(|| {
                format!(
                    "cannot write to {}: {ANOTHER}, or mend its mode or its mount",
                    room.display()
                )
            })?;
        }
        Ok(())
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

    /// What each living run claims as its own.
    pub(crate) fn runs(&self) -> PathBuf {
        self.path.join("runs")
    }

    /// Files of our own, such as the toolbox.
    pub(crate) fn content(&self) -> PathBuf {
        self.path.join("content")
    }
}

/// What to do about one that is of no use.
const ANOTHER: &str = "name another directory with --data-dir";

/// Refuses a directory that somebody else can write to: compiled code in it would run as ours, and
/// a room in it could be exchanged for another.
///
/// # Errors
/// When it belongs to another user, or its mode lets others write.
fn owned(directory: &Path) -> anyhow::Result<()> {
    let about = std::fs::symlink_metadata(directory)
        .with_context(|| format!("cannot look at {}", directory.display()))?;
    let is_ours = about.uid() == rustix::process::geteuid().as_raw();
    if !is_ours || !about.is_dir() || about.mode() & 0o022 != 0 {
        bail!(
            "{} may be written to by somebody else: name a --data-dir of your own, or mend its owner and mode (0700)",
            directory.display()
        );
    }
    Ok(())
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
