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
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use model::runtime::{VolumeSource, VolumeSpec};
use rustix::fs::{FlockOperation, flock};
use volume::{PodVolumes, VolumeError};

use crate::data_dir::DataDir;

/// How often a claim is tried: each time a collector may take it for a dead one's, between its
/// making and its lock.
const TRIES: usize = 16;

/// The largest claim in bytes: a hundred thousand pods' of 37 bytes each.
const LARGEST: usize = 4 << 20;

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
    /// When the claim cannot be written or locked, or is of more pods than a run may have.
    pub(crate) fn take<'a>(
        data: &DataDir,
        uids: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<Self> {
        let uids: Vec<&str> = uids.collect();
        let text = text_of(&uids)?;
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
        let remedy = remedy(last.kind());
        Err(last).with_context(|| {
            format!(
                "cannot claim the files of this run in {}: {remedy}",
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
    /// Gives it up, unless files of a pod or volumes in memory are still there: the next run
    /// collects them. (A pod's own directory goes after its memory.)
    fn drop(&mut self) {
        let is_left = volume::is_ours(&self.memory()).unwrap_or(true);
        if is_left || self.pods.iter().any(|pod| pod.exists()) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "{} is left behind", self.path.display());
        }
    }
}

/// The lines of a claim.
fn text_of(uids: &[&str]) -> anyhow::Result<String> {
    let text: String = uids.iter().map(|uid| format!("{uid}\n")).collect();
    anyhow::ensure!(
        text.len() <= LARGEST,
        "a run of {} pods is too large, for their uids take {} bytes of at most {LARGEST}: split its manifests among several runs",
        uids.len(),
        text.len()
    );
    Ok(text)
}

/// What helps where a claim cannot be made.
fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there, or name another --data-dir"
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::NotFound => {
            "other runs that began at the same time took it away; try again"
        }
        _ => "see that you may write there, or name another --data-dir",
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
    let text = read(&file)?;
    let mut is_left = false;
    let pods = text.lines().filter(|uid| is_plain(uid));
    let removed = pods.map(|uid| remove_pod(&data.pods().join(uid)));
    let memory = is_plain(id).then(|| volume::remove_ours(&memory_of(id)));
    // What cannot be deleted keeps nothing else.
    for error in removed.chain(memory).filter_map(Result::err) {
        tracing::warn!("what a killed run left stays for now: {error}");
        is_left = true;
    }
    if is_left {
        return Ok(());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Reads a claim; one that is larger than any was not written here.
fn read(file: &File) -> anyhow::Result<String> {
    let size = file.metadata()?.len();
    anyhow::ensure!(
        usize::try_from(size).is_ok_and(|size| size <= LARGEST),
        "it has {size} bytes, and no claim more than {LARGEST}"
    );
    let mut text = String::new();
    let mut file = file;
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Whether it can name a file in a directory and nothing else.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// Deletes a pod's directory, and the one that its volumes in memory had. What somebody else has
/// made of that name stays.
fn remove_pod(directory: &Path) -> Result<(), VolumeError> {
    let in_memory = VolumeSpec {
        source: VolumeSource::Empty { memory: true },
        size_limit: None,
    };
    let volumes = BTreeMap::from([("any".to_owned(), in_memory)]);
    PodVolumes::new(directory.to_owned(), volumes).remove()
}

fn memory_of(id: &str) -> PathBuf {
    Path::new(MEMORY).join(format!("wasmpod-{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> (tempfile::TempDir, DataDir) {
        let scratch = tempfile::tempdir().unwrap();
        let data = DataDir::find(Some(scratch.path())).unwrap();
        data.prepare().unwrap();
        (scratch, data)
    }

    #[test]
    fn a_claim_stays_as_long_as_anything_that_it_names() {
        let (_scratch, data) = data();
        let claim = Claim::take(&data, ["0a"].into_iter()).unwrap();
        let (path, memory) = (claim.path.clone(), claim.memory());
        let has_memory = fs::create_dir(&memory).is_ok();
        assert_eq!(has_memory, Path::new(MEMORY).is_dir());
        drop(claim);
        assert_eq!(path.exists(), has_memory, "its memory is there");
        collect(&data);
        assert!(!path.exists() && !memory.exists());

        let claim = Claim::take(&data, ["0a"].into_iter()).unwrap();
        let path = claim.path.clone();
        drop(claim);
        assert!(!path.exists(), "nothing is left");
    }

    #[test]
    fn what_cannot_be_deleted_keeps_nothing_else() {
        let (_scratch, data) = data();
        // No file system of ours has a name so long, so looking for it fails, and as root too.
        let too_long = "a".repeat(256);
        let pod = data.pods().join("0b");
        fs::create_dir(&pod).unwrap();
        let claim = data.runs().join("0c");
        fs::write(&claim, format!("{too_long}\n0b\n")).unwrap();
        collect(&data);
        assert!(!pod.exists());
        assert!(claim.exists(), "it is tried again");
    }

    #[test]
    fn a_claim_is_never_cut() {
        let uid = "0".repeat(36);
        let most = LARGEST / 37;
        assert_eq!(text_of(&vec![&*uid; most]).unwrap().len(), most * 37);
        let told = text_of(&vec![&*uid; most + 1]).unwrap_err().to_string();
        assert!(told.contains("split its manifests"), "{told}");

        let (_scratch, data) = data();
        let claim = data.runs().join("0c");
        let pod = data.pods().join("0b");
        fs::create_dir(&pod).unwrap();
        fs::write(&claim, "0b\n".repeat(LARGEST / 3 + 1)).unwrap();
        collect(&data);
        assert!(claim.exists() && pod.exists());
    }

    #[test]
    fn the_remedy_is_for_what_is_wrong() {
        for (kind, part) in [
            (io::ErrorKind::StorageFull, "make room"),
            (io::ErrorKind::QuotaExceeded, "make room"),
            (io::ErrorKind::PermissionDenied, "you may write"),
            (io::ErrorKind::WouldBlock, "try again"),
        ] {
            let told = remedy(kind);
            assert!(told.contains(part), "{kind}: {told}");
        }
    }
}
