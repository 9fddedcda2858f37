//! Collecting: what no name leads to and no living process holds goes.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use super::{Store, StoreError, failed, is_still, open_lock};
use crate::digest::Digest;
use crate::manifest::Document;
use crate::{limits, root};

/// How long half a blob waits to be resumed.
const HALF: Duration = Duration::from_secs(24 * 60 * 60);

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs.
    pub blobs: u64,
    /// Unpacked roots.
    pub roots: u64,
    /// The bytes of the blobs.
    pub bytes: u64,
}

/// What stays.
#[derive(Default)]
struct Marked {
    digests: HashSet<Digest>,
    roots: HashSet<String>,
}

impl Store {
    /// Deletes what no name leads to and no lease holds. Waits for the moments in which others
    /// write their leases: not to be called where tasks run.
    ///
    /// # Errors
    /// When the store cannot be locked, listed, or read as far as it has to be to know what stays:
    /// then nothing is deleted. What cannot be deleted stays.
    pub fn collect(&self) -> Result<Collected, StoreError> {
        let _alone = self.lock(FlockOperation::LockExclusive)?;
        let held = self.held()?;
        let mut marked = Marked::default();
        marked.roots.extend(held.roots);
        for digest in held.digests {
            self.mark(&mut marked, digest)?;
        }
        for record in self.records()? {
            self.mark(&mut marked, record.target.digest)?;
        }
        let mut gone = Collected::default();
        for digest in self.blobs()? {
            if marked.digests.contains(&digest) {
                continue;
            }
            let size = self.size(&digest).unwrap_or_default();
            if fs::remove_file(self.blob_path(&digest)).is_ok() {
                gone.blobs += 1;
                gone.bytes += size;
            }
        }
        gone.roots = self.collect_roots(&marked.roots)?;
        self.collect_halves()?;
        Ok(gone)
    }

    /// Marks a blob and all that it leads to.
    fn mark(&self, marked: &mut Marked, digest: Digest) -> Result<(), StoreError> {
        let mut ahead = vec![digest];
        while let Some(digest) = ahead.pop() {
            if !marked.digests.insert(digest.clone()) {
                continue;
            }
            let Some(document) = self.leads(&digest)? else {
                continue;
            };
            if let Document::Manifest(manifest) = &document {
                marked.roots.insert(root::key(&manifest.layers));
            }
            ahead.extend(document.children().map(|child| child.digest.clone()));
        }
        Ok(())
    }

    /// The document that a blob is; nothing where it is not here, or none. An error is neither:
    /// what such a blob leads to is not known.
    fn leads(&self, digest: &Digest) -> Result<Option<Document>, StoreError> {
        let path = self.blob_path(digest);
        let about = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed("look at", &path))?,
        };
        // Most blobs are no documents, and told by their size or first byte.
        if about.len() > limits::MANIFEST {
            return Ok(None);
        }
        match self.document(digest) {
            Ok(document) => Ok(Some(document)),
            Err(StoreError::Absent(_) | StoreError::Document { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn collect_roots(&self, marked: &HashSet<String>) -> Result<u64, StoreError> {
        let folder = self.room("roots");
        let mut gone = 0;
        for entry in fs::read_dir(&folder)
            .map_err(failed("list", &folder))?
            .flatten()
        {
            let name = entry.file_name();
            if marked.contains(&*name.to_string_lossy()) {
                continue;
            }
            // Out of the way first: half a root must not be taken for a whole one.
            let doomed = self.staged("root");
            if fs::rename(entry.path(), &doomed).is_ok() {
                let _ = fs::remove_dir_all(&doomed);
                gone += 1;
            }
        }
        Ok(gone)
    }

    /// Deletes what was left in `ingest/`: stages at once, halves of blobs after a day.
    fn collect_halves(&self) -> Result<(), StoreError> {
        let folder = self.room("ingest");
        for entry in fs::read_dir(&folder)
            .map_err(failed("list", &folder))?
            .flatten()
        {
            let path = entry.path();
            let name = entry.file_name();
            let is_half = name.to_string_lossy().starts_with("sha");
            if is_half && !is_old(&path) || is_of_a_living_process(&name.to_string_lossy()) {
                continue;
            }
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory {
                let _ = fs::remove_dir_all(&path);
                continue;
            }
            let Ok(file) = open_lock(&path) else { continue };
            let alone = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            // Still locked while it goes: whoever opened it meanwhile sees that it is gone.
            if alone && is_still(&path, &file) {
                let _ = fs::remove_file(&path);
            }
            drop(file);
        }
        Ok(())
    }
}

fn is_old(path: &Path) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|about| about.modified());
    let age = modified.map(|time| SystemTime::now().duration_since(time));
    matches!(age, Ok(Ok(age)) if age > HALF)
}

/// Whether a stage, `<what>-<chance>-<process>-<number>.tmp`, may still be worked on.
fn is_of_a_living_process(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".tmp") else {
        return false;
    };
    let mut parts = stem.rsplit('-');
    let process = parts.nth(1).and_then(|text| text.parse::<i32>().ok());
    let process = process.and_then(rustix::process::Pid::from_raw);
    process.is_some_and(|process| {
        !matches!(
            rustix::process::test_kill_process(process),
            Err(rustix::io::Errno::SRCH)
        )
    })
}
