//! The volumes of one pod, from the pod's making to its removal.
//!
//! Everything that is made lies in the pod's directory or, for `medium: Memory`, in a private one
//! under `/dev/shm`:
//!
//! ```text
//! <pod>/volumes/<name>/            emptyDir, files from objects, one file
//! <pod>/containers/<key>/root/     what a container writes outside volumes
//! <pod>/containers/<key>/sub-path-N/   the frozen part of a Files volume
//! /dev/shm/wasmpod-<hash>/<name>/  emptyDir with medium Memory
//! ```

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::runtime::{FileSpec, VolumeSpec};
use rustix::fs::{self, Mode};
use rustix::io::Errno;

use crate::limit::{LimitExceeded, Observer};
use crate::measure::remove_tree;
use crate::volume::host_path::Handed;
use crate::volume::memory::Memory;
use crate::volume::{Body, PLACE, Volume, one_file};
use crate::{VolumeError, path};

/// A pod's volumes; a cheap clone. Holds no descriptor but those handed over.
#[derive(Clone)]
pub struct PodVolumes(Arc<Pod>);

struct Pod {
    directory: PathBuf,
    volumes: BTreeMap<String, Arc<Volume>>,
    memory: Arc<Memory>,
    observer: Arc<Observer>,
}

// === impl PodVolumes ===

impl PodVolumes {
    /// Knows the volumes of a pod. Nothing is made before it is used.
    ///
    /// `directory` is the pod's alone; it is made when something is put into it, mode 0700.
    pub fn new(directory: PathBuf, specs: BTreeMap<String, VolumeSpec>) -> Self {
        let observer = Arc::<Observer>::default();
        let memory = Arc::new(Memory::new(&directory));
        let volumes = specs
            .into_iter()
            .map(|(name, spec)| {
                let volume = Volume::new(&name, spec, &directory, &memory, Arc::clone(&observer));
                (name, Arc::new(volume))
            })
            .collect();
        Self(Arc::new(Pod {
            directory,
            volumes,
            memory,
            observer,
        }))
    }

    /// Uses an open directory for a hostPath instead of its path, for a process that may not open
    /// the path. A name that is no hostPath volume is passed over.
    #[must_use]
    pub fn with_host_dir(self, volume: &str, directory: OwnedFd) -> Self {
        self.hand(volume, directory, None)
    }

    /// The same for a hostPath that is not a directory: the directory that it lies in, and its name
    /// there.
    #[must_use]
    pub fn with_host_file(self, volume: &str, directory: OwnedFd, name: &str) -> Self {
        self.hand(volume, directory, Some(name))
    }

    /// Puts volumes with `medium: Memory` below this directory, which should be a tmpfs, instead of
    /// `/dev/shm`: for a process that may not write there.
    #[must_use]
    pub fn with_memory_dir(self, base: PathBuf) -> Self {
        self.0.memory.set_base(base);
        self
    }

    /// Who is told when a volume, or a container's own root, refuses to grow: once for each, from
    /// the thread that wanted to write. Kubelet evicts the pod then.
    #[must_use]
    pub fn on_limit(self, tell: impl Fn(LimitExceeded) + Send + Sync + 'static) -> Self {
        self.0.observer.set(Box::new(tell));
        self
    }

    /// Holds everything against the node that can be wrong before a container starts: the types of
    /// hostPaths, which are also made here as their types say, and the paths of files.
    ///
    /// # Errors
    /// The first that does not hold, in the words of kubelet's FailedMount.
    pub fn check(&self) -> Result<(), VolumeError> {
        for (name, volume) in &self.0.volumes {
            check_name(name)?;
            match volume.body() {
                Body::Host(host) => host.check(name)?,
                Body::Files(files) => files.check(name)?,
                Body::File(_, file) => one_file::name(name, file).map(|_| ())?,
                Body::Empty(_) | Body::Memory(_) | Body::Nothing => {}
            }
        }
        Ok(())
    }

    /// Replaces the files of a `Files` volume, all at once for whoever looks.
    ///
    /// # Errors
    /// No such volume, or of another sort; a path that Kubernetes would refuse; the disk. The old
    /// files stay then.
    pub fn update_files(&self, volume: &str, files: Vec<FileSpec>) -> Result<(), VolumeError> {
        let found = self.volume(volume)?;
        match found.body() {
            Body::Files(set) => found.unless_removed(|| set.update(volume, files)),
            _ => Err(kind(
                volume,
                "does not hold files from objects, so there is nothing to update",
            )),
        }
    }

    /// The last `at_most` bytes of a `File` volume; its first content if it was never used.
    ///
    /// # Errors
    /// No such volume, or of another sort; the disk.
    pub fn read_file(&self, volume: &str, at_most: u64) -> Result<Vec<u8>, VolumeError> {
        match self.volume(volume)?.body() {
            Body::File(directory, file) => one_file::read(volume, directory, file, at_most),
            _ => Err(kind(volume, "is not a single file")),
        }
    }

    /// Gives a `File` volume its first content again, as a container that starts again finds its
    /// termination log.
    ///
    /// # Errors
    /// No such volume, or of another sort; the disk.
    pub fn reset_file(&self, volume: &str) -> Result<(), VolumeError> {
        let found = self.volume(volume)?;
        match found.body() {
            Body::File(directory, file) => {
                found.unless_removed(|| one_file::write(volume, directory, file, true))
            }
            _ => Err(kind(volume, "is not a single file")),
        }
    }

    /// Bytes that a volume holds, counted now.
    ///
    /// # Errors
    /// No such volume.
    pub fn usage(&self, volume: &str) -> Result<u64, VolumeError> {
        Ok(self.volume(volume)?.used())
    }

    /// Makes a volume and tells where it is, for whoever mounts it otherwise.
    ///
    /// # Errors
    /// No such volume; what stands in the way of making it.
    pub fn node_path(&self, volume: &str) -> Result<PathBuf, VolumeError> {
        let found = self.volume(volume)?;
        found.make()?;
        match found.body() {
            Body::Empty(path) => Ok(path.clone()),
            Body::Memory(memory) => Ok(memory.directory().join(volume)),
            Body::Files(files) => Ok(files.directory().to_owned()),
            Body::File(directory, file) => Ok(directory.join(one_file::name(volume, file)?)),
            Body::Host(host) => host.real(volume).map(Path::to_owned),
            Body::Nothing => Err(kind(volume, "is nowhere on the node")),
        }
    }

    /// Lets nothing open any more. What was made stays, for whoever deletes it.
    pub fn close(&self) {
        self.0.volumes.values().for_each(|volume| volume.close());
    }

    /// Deletes everything that was made for the pod, also by an earlier process. Nothing opens
    /// afterwards. Never follows a link, and never touches what a hostPath names.
    ///
    /// # Errors
    /// What could not be deleted; it may be tried again.
    pub fn remove(&self) -> Result<(), VolumeError> {
        self.close();
        let mut volumes = self.0.volumes.values();
        if volumes.any(|volume| matches!(volume.body(), Body::Memory(_))) {
            // First: once the pod's directory is gone, nobody looks for the rest.
            remove_ours(&self.0.memory.directory())?;
        }
        Self::remove_directory(&self.0.directory)
    }

    /// Deletes a directory of ours. That it is absent is no error.
    pub(crate) fn remove_directory(directory: &Path) -> Result<(), VolumeError> {
        let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
            return Ok(());
        };
        let removed = match fs::open(parent, PLACE, Mode::empty()) {
            Ok(parent) => remove_tree(parent.as_fd(), name),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        };
        removed.map_err(|source| VolumeError::Remove {
            path: directory.to_owned(),
            source,
        })
    }

    /// Where a container's own files are. Errors: a key that is not one plain name.
    pub(crate) fn container_directory(&self, key: &str) -> Result<PathBuf, VolumeError> {
        check_name(key)?;
        Ok(self.0.directory.join("containers").join(key))
    }

    /// A volume by its name.
    pub(crate) fn volume(&self, name: &str) -> Result<&Arc<Volume>, VolumeError> {
        check_name(name)?;
        self.0
            .volumes
            .get(name)
            .ok_or_else(|| VolumeError::Unknown {
                volume: name.to_owned(),
            })
    }

    /// The place for volumes in memory.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.0.memory
    }

    /// Who is told of refusals.
    pub(crate) fn observer(&self) -> &Arc<Observer> {
        &self.0.observer
    }

    fn hand(self, volume: &str, directory: OwnedFd, file: Option<&str>) -> Self {
        match self.0.volumes.get(volume).map(|volume| volume.body()) {
            Some(Body::Host(host)) => host.hand(Handed {
                directory: Arc::new(directory),
                file: file.map(Into::into),
            }),
            _ => tracing::warn!(
                volume,
                "a descriptor was handed over for a volume that is no hostPath"
            ),
        }
        self
    }
}

/// Deletes a directory with everything in it, following no link, if it is there and [ours](is_ours).
///
/// # Errors
/// What could not be deleted; it may be tried again.
pub fn remove_ours(directory: &Path) -> Result<(), VolumeError> {
    match is_ours(directory) {
        Ok(true) => PodVolumes::remove_directory(directory),
        Ok(false) => Ok(()),
        Err(source) => Err(VolumeError::Remove {
            path: directory.to_owned(),
            source,
        }),
    }
}

/// Whether a directory is there and belongs to the user of this process: in a place such as
/// `/dev/shm` anybody may have made one of that name.
///
/// # Errors
/// When that cannot be told.
pub fn is_ours(directory: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(directory) {
        Ok(about) => Ok(about.is_dir() && about.uid() == rustix::process::geteuid().as_raw()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A name becomes a directory's name, so it must be a single plain one.
fn check_name(name: &str) -> Result<(), VolumeError> {
    match path::names(name) {
        Ok(names) if names.as_slice() == [name] => Ok(()),
        _ => Err(VolumeError::Path {
            volume: name.to_owned(),
            field: "name",
            path: name.to_owned(),
            problem: "must be a single file name",
        }),
    }
}

fn kind(volume: &str, problem: &'static str) -> VolumeError {
    VolumeError::Kind {
        volume: volume.to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests;
