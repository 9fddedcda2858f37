//! Where `medium: Memory` lies: in `/dev/shm`, in a directory that only the pod's owner can enter.
//!
//! No tmpfs is mounted: that takes root and a mount per volume. `/dev/shm` is open to every user
//! of the machine, so the pod's directory there is made private and checked to be ours before
//! anything is put into it. Where `/dev/shm` is no tmpfs, the volume lies on disk.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{self, Mode};
use rustix::io::Errno;

use crate::VolumeError;

const SHARED_MEMORY: &str = "/dev/shm";
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// The place for the memory volumes of one pod.
pub(crate) struct Memory {
    pod: PathBuf,
    base: OnceLock<PathBuf>,
}

// === impl Memory ===

impl Memory {
    /// For the pod whose directory is `pod`.
    pub(crate) fn new(pod: &Path) -> Self {
        Self {
            pod: pod.to_owned(),
            base: OnceLock::new(),
        }
    }

    /// Uses a directory of tmpfs in place of `/dev/shm`; the first one stays.
    pub(crate) fn set_base(&self, base: PathBuf) {
        if self.base.set(base).is_err() {
            tracing::warn!(pod = %self.pod.display(), "the memory directory of a pod was set twice; the first one stays");
        }
    }

    /// The pod's directory there. The same pod gets the same one, so that a later process can
    /// remove what an earlier one left.
    pub(crate) fn directory(&self) -> PathBuf {
        let base = match self.base.get() {
            Some(base) => base,
            None if is_tmpfs() => Path::new(SHARED_MEMORY),
            None => return self.pod.join("memory"),
        };
        base.join(format!("wasmpod-{:016x}", fingerprint(&self.pod)))
    }

    /// Makes the pod's directory, and makes sure that it is the pod's. On disk nothing is to be
    /// done: it lies in the pod's own.
    pub(crate) fn prepare(&self, volume: &str) -> Result<(), VolumeError> {
        let directory = self.directory();
        if directory.starts_with(&self.pod) {
            return Ok(());
        }
        let failed =
            |source: std::io::Error| VolumeError::io(volume, "make directory", &directory, source);
        match fs::mkdir(&directory, Mode::RWXU) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
        let found = std::fs::symlink_metadata(&directory).map_err(failed)?;
        let ours = found.is_dir()
            && found.uid() == rustix::process::geteuid().as_raw()
            && found.mode() & 0o077 == 0;
        if ours {
            return Ok(());
        }
        Err(VolumeError::Path {
            volume: volume.to_owned(),
            field: "directory",
            path: directory.display().to_string(),
            problem: "exists and belongs to somebody else; remove it",
        })
    }
}

/// Whether `/dev/shm` is memory.
fn is_tmpfs() -> bool {
    fs::statfs(SHARED_MEMORY).is_ok_and(|stat| u64::try_from(stat.f_type) == Ok(TMPFS_MAGIC))
}

/// FNV-1a: the name must be the same in every build and process, and need not be secret.
fn fingerprint(path: &Path) -> u64 {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}
