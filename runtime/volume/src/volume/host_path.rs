//! hostPath: a file or directory of the node, checked and made as kubelet does.
//!
//! The path is the manifest author's and may lead through links of the node. It is resolved once,
//! when it is checked, and from then on opened without following any: a guest that can write to
//! one hostPath cannot turn another one into a link to somewhere else.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use model::volume::HostPathType;
use rustix::fs::{self, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Opened, PLACE};
use crate::VolumeError;

/// One `hostPath`.
pub(crate) struct HostPath {
    path: PathBuf,
    kind: HostPathType,
    /// The path without links, known once it has been checked.
    real: OnceLock<PathBuf>,
    /// Handed over open, for a process that cannot open the path itself.
    handed: OnceLock<Handed>,
}

/// An open directory instead of a path.
pub(crate) struct Handed {
    /// The hostPath itself, or the directory that it lies in.
    pub(crate) directory: Arc<OwnedFd>,
    /// Its name there, if it is no directory.
    pub(crate) file: Option<OsString>,
}

// === impl HostPath ===

impl HostPath {
    pub(crate) fn new(path: PathBuf, kind: HostPathType) -> Self {
        Self {
            path,
            kind,
            real: OnceLock::new(),
            handed: OnceLock::new(),
        }
    }

    /// Uses this instead of the path; the first one stays.
    pub(crate) fn hand(&self, handed: Handed) {
        if self.handed.set(handed).is_err() {
            tracing::warn!(path = %self.path.display(), "a hostPath was handed over twice; the first descriptor stays");
        }
    }

    /// Holds `hostPath.type` against the node, and makes what it says to make. Where no type is
    /// given and nothing is there, a directory is made, as container runtimes do.
    pub(crate) fn check(&self, volume: &str) -> Result<(), VolumeError> {
        if self.handed.get().is_some() {
            return Ok(());
        }
        if !self.path.is_absolute()
            || self
                .path
                .components()
                .any(|part| part == Component::ParentDir)
        {
            return Err(VolumeError::Path {
                volume: volume.to_owned(),
                field: "hostPath.path",
                path: self.path.display().to_string(),
                problem: "must be absolute and without '..'",
            });
        }
        self.make(volume)?;
        let kind = std::fs::metadata(&self.path).map(|found| found.file_type());
        let (holds, expected) = match self.kind {
            HostPathType::Unset => (true, ""),
            HostPathType::Directory | HostPathType::DirectoryOrCreate => {
                (kind.is_ok_and(|kind| kind.is_dir()), "a directory")
            }
            HostPathType::File | HostPathType::FileOrCreate => {
                (kind.is_ok_and(|kind| kind.is_file()), "a file")
            }
            HostPathType::Socket => (kind.is_ok_and(|kind| kind.is_socket()), "a socket file"),
            HostPathType::CharDevice => (
                kind.is_ok_and(|kind| kind.is_char_device()),
                "a character device",
            ),
            HostPathType::BlockDevice => (
                kind.is_ok_and(|kind| kind.is_block_device()),
                "a block device",
            ),
        };
        if !holds {
            return Err(VolumeError::HostPathType {
                volume: volume.to_owned(),
                path: self.path.clone(),
                expected,
            });
        }
        let real = self.real(volume)?;
        if fs::statfs(real).is_ok_and(|about| about.f_type == fs::PROC_SUPER_MAGIC) {
            return Err(VolumeError::Path {
                volume: volume.to_owned(),
                field: "hostPath.path",
                path: self.path.display().to_string(),
                problem: "is of /proc, which would show a container the processes of this machine \
                          and the runtime itself; name another path",
            });
        }
        Ok(())
    }

    /// Opens it without following a link.
    pub(crate) fn open(&self, volume: &str) -> Result<Opened, VolumeError> {
        if let Some(handed) = self.handed.get() {
            let directory = Arc::clone(&handed.directory);
            return Ok(match &handed.file {
                Some(file) => Opened::File(directory, file.clone()),
                None => Opened::Directory(directory),
            });
        }
        let real = self.real(volume)?;
        let failed = |errno: Errno| VolumeError::io(volume, "open", real, errno);
        match open_exactly(real) {
            Ok(directory) => Ok(Opened::Directory(Arc::new(directory))),
            Err(Errno::NOTDIR) => {
                let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
                    return Err(failed(Errno::NOTDIR));
                };
                let parent = open_exactly(parent).map_err(failed)?;
                Ok(Opened::File(Arc::new(parent), name.to_owned()))
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The path without links.
    pub(crate) fn real(&self, volume: &str) -> Result<&Path, VolumeError> {
        if let Some(real) = self.real.get() {
            return Ok(real);
        }
        let real = std::fs::canonicalize(&self.path)
            .map_err(|source| VolumeError::io(volume, "resolve hostPath", &self.path, source))?;
        Ok(self.real.get_or_init(|| real))
    }

    fn make(&self, volume: &str) -> Result<(), VolumeError> {
        if std::fs::exists(&self.path).unwrap_or(true) {
            return Ok(());
        }
        let (made, action) = match self.kind {
            HostPathType::Unset | HostPathType::DirectoryOrCreate => {
                let made = std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o755)
                    .create(&self.path);
                (made, "make directory")
            }
            HostPathType::FileOrCreate => {
                let made = std::fs::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(0o644)
                    .custom_flags(O_NONBLOCK)
                    .open(&self.path);
                (made.map(|_| ()), "make file")
            }
            _ => return Ok(()),
        };
        made.map_err(|source| VolumeError::io(volume, action, &self.path, source))
    }
}

/// Somebody may put a FIFO there first.
const O_NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// Opens a directory by an absolute path that must not lead through a link. Errors: ENOTDIR if it
/// is something else.
fn open_exactly(path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match fs::openat2(CWD, path, PLACE, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => open_name_by_name(path),
        opened => opened,
    }
}

/// The same for kernels and sandboxes without `openat2`.
fn open_name_by_name(path: &Path) -> Result<OwnedFd, Errno> {
    let mut at = fs::open("/", PLACE, Mode::empty())?;
    for part in path.components() {
        if let Component::Normal(name) = part {
            at = fs::openat(at.as_fd(), name, PLACE, Mode::empty())?;
        }
    }
    Ok(at)
}

/// Whether it is of /proc, wherever that is mounted.
pub(super) fn is_procfs(opened: impl AsFd) -> Result<bool, Errno> {
    Ok(fs::fstatfs(opened)?.f_type == fs::PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests;
