//! A run's claim to the files of its pods, so that what a killed run leaves behind is known as
//! nobody's.
//!
//! ```text
//! <data>/runs/<id>         a line for each pod of the run, locked for as long as it lives
//! <data>/pods/<uid>/       made after the claim, deleted with the pod
//! /dev/shm/wasmpod-<id>/   volumes in memory of a run whose pods have processes of their own
//! ```
//!
//! The lock is the kernel's on an open file, so it ends with its process, however that ends. Whose
//! lock can be taken is dead: its pods' files go, and its claim last. What no claim names is left
//! alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use model::runtime::{VolumeSource, VolumeSpec};
use rustix::fs::{FlockOperation, flock};
use volume::PodVolumes;

use crate::data_dir::DataDir;

/// How often a claim is tried: each time a collector may take it for a dead one's, between its
/// making and its lock.
const TRIES: usize = 16;

/// The largest claim that is read: a hundred thousand pods' of 37 bytes each.
const LARGEST: u64 = 4 << 20;

/// Where volumes in memory lie.
const MEMORY: &str = "/dev/shm";

/// The claim of this process, until dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    id: String,
    path: PathBuf,
    pods: Vec<PathBuf>,
    /// Locked for as long as it is open.
    _file: File,
}

// === impl Claim ===

impl Claim {
    /// Claims the files of pods with these uids, before any is made.
    ///
    /// # Errors
    /// When the claim cannot be written or locked.
    pub(crate) fn take<'a>(
        data: &DataDir,
        uids: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<Self> {
        let uids: Vec<&str> = uids.collect();
        let text: String = uids.iter().map(|uid| format!("{uid}\n")).collect();
        let mut last = io::Error::from(io::ErrorKind::WouldBlock);
        for _ in 0..TRIES {
            let id = api::identity::uid();
            let path = data.runs().join(&id);
            match write_locked(&path, &text) {
                Ok(file) => {
                    return Ok(Self {
                        id,
                        path,
                        pods: uids.iter().map(|uid| data.pods().join(uid)).collect(),
                        _file: file,
                    });
                }
                Err(error) => last = error,
            }
            if !matches!(
                last.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::NotFound
            ) {
                break;
            }
        }
        let runs = data.runs();
        Err(last).with_context(|| {
            format!(
                "cannot claim the files of this run in {}: make room there, or name another --data-dir",
                runs.display()
            )
        })
    }

    /// Where volumes in memory of this run's processes lie; not made yet.
    pub(crate) fn memory(&self) -> PathBuf {
        memory_of(&self.id)
    }
}

impl Drop for Claim {
    /// Gives it up, unless files of a pod are still there: the next run collects them.
    fn drop(&mut self) {
        if self.pods.iter().any(|pod| pod.exists()) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "{} is left behind", self.path.display());
        }
    }
}

/// Makes a claim that nobody sees before it is locked and whole.
fn write_locked(path: &Path, text: &str) -> io::Result<File> {
    let staged = path.with_extension("tmp");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&staged)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(io::Error::from)
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&staged, path))
        .inspect_err(|_| {
            // Whoever took it for a dead one's may have deleted it already.
            let _ = fs::remove_file(&staged);
        })?;
    Ok(file)
}

/// Deletes what dead runs have left. What cannot be deleted is told, and tried again by the next.
pub(crate) fn collect(data: &DataDir) {
    let Ok(entries) = fs::read_dir(data.runs()) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if let Err(error) = collect_one(data, &path) {
            let path = path.display();
            tracing::warn!(%error, "what a killed run left stays for now: {path}");
        }
    }
}

fn collect_one(data: &DataDir, path: &Path) -> anyhow::Result<()> {
    let Some(id) = path.file_stem().and_then(|id| id.to_str()) else {
        return Ok(());
    };
    let file = match File::open(path) {
        Ok(file) => file,
        // Another collector was faster, or the run has ended.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text)?;
    for uid in text.lines().filter(|uid| is_plain(uid)) {
        remove_pod(&data.pods().join(uid))?;
    }
    if is_plain(id) {
        remove_memory(&memory_of(id))?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whether it can name a file in a directory and nothing else.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// Deletes a pod's directory, and the one that its volumes in memory had.
fn remove_pod(directory: &Path) -> anyhow::Result<()> {
    let in_memory = VolumeSpec {
        source: VolumeSource::Empty { memory: true },
        size_limit: None,
    };
    let volumes = BTreeMap::from([("any".to_owned(), in_memory)]);
    Ok(PodVolumes::new(directory.to_owned(), volumes).remove()?)
}

fn memory_of(id: &str) -> PathBuf {
    Path::new(MEMORY).join(format!("wasmpod-{id}"))
}

/// Deletes a run's directory there, if it is ours: everybody may make names in that place.
fn remove_memory(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() && about.uid() == rustix::process::geteuid().as_raw() => {
            fs::remove_dir_all(path)
        }
        _ => Ok(()),
    }
}
