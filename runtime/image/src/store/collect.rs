//! Collecting: what no name leads to and no living process holds goes.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use super::stage::opened;
use super::{Record, Store, StoreError, failed, is_still};
use crate::digest::Digest;
use crate::manifest::{Config, Document, Manifest, media};
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
        let mut gone = Collected::default();
        let doomed = {
            let _alone = self.lock(FlockOperation::LockExclusive)?;
            let marked = self.marked()?;
            let mut doomed = self.doom_blobs(self.blobs()?, &marked.digests, &mut gone);
            doomed.extend(self.doom_roots(&marked.roots, &mut gone)?);
            doomed
        };
        // Out of everybody's way, and nobody waits for what takes long. Where this ends halfway,
        // the rest is what nobody works on.
        for path in doomed {
            delete(&path);
        }
        self.collect_stages()?;
        Ok(gone)
    }

    /// Deletes those of some blobs that no name leads to and no lease holds; all others stay, also
    /// what nobody holds: half an image is there to be taken up. As [`Self::collect`].
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub(crate) fn collect_of(&self, digests: Vec<Digest>) -> Result<(), StoreError> {
        if digests.is_empty() {
            return Ok(());
        }
        let doomed = {
            let _alone = self.lock(FlockOperation::LockExclusive)?;
            let marked = self.marked()?;
            self.doom_blobs(digests, &marked.digests, &mut Collected::default())
        };
        for path in doomed {
            delete(&path);
        }
        Ok(())
    }

    /// Forgets the names that lead to nothing which a living process holds; answers them.
    ///
    /// # Errors
    /// When the store cannot be locked or read, or a name cannot be deleted.
    pub fn forget_unused(&self) -> Result<Vec<Record>, StoreError> {
        let _alone = self.lock(FlockOperation::LockExclusive)?;
        let mut used = Marked::default();
        for digest in self.held()?.digests {
            self.mark(&mut used, digest)?;
        }
        let mut forgotten = self.records()?;
        forgotten.retain(|record| !used.digests.contains(&record.target.digest));
        for record in &forgotten {
            self.forget_name(&record.reference)?;
        }
        Ok(forgotten)
    }

    /// What names lead to, and living processes hold.
    fn marked(&self) -> Result<Marked, StoreError> {
        let held = self.held()?;
        let mut marked = Marked::default();
        marked.roots.extend(held.roots);
        for digest in held.digests {
            self.mark(&mut marked, digest)?;
        }
        for record in self.records()? {
            self.mark(&mut marked, record.target.digest)?;
        }
        Ok(marked)
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
                // Those of an artifact are unpacked without a configuration's word.
                marked.roots.insert(root::key(&manifest.layers, &[]));
                let diff_ids = self.diff_ids(manifest);
                marked.roots.insert(root::key(&manifest.layers, &diff_ids));
            }
            ahead.extend(document.children().map(|child| child.digest.clone()));
        }
        Ok(())
    }

    /// What the configuration of a manifest says of its layers; nothing where it cannot be read: its
    /// root is then unpacked again, when it can.
    fn diff_ids(&self, manifest: &Manifest) -> Vec<Digest> {
        if !media::is_image_config(&manifest.config.media_type) {
            return Vec::new();
        }
        let config = self.read(&manifest.config.digest, limits::CONFIG).ok();
        let config = config.and_then(|bytes| Config::parse(&bytes).ok());
        config.map_or_else(Vec::new, |config| config.rootfs.diff_ids)
    }

    /// The document that a blob is; nothing where it is not here, or none. One that was changed on
    /// the disk is none: nobody can use what it led to, but those whose leases name it. An error is
    /// neither: what such a blob leads to is not known.
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
            Err(error @ StoreError::Changed(_)) => {
                tracing::warn!("{error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn doom_blobs(
        &self,
        blobs: Vec<Digest>,
        marked: &HashSet<Digest>,
        gone: &mut Collected,
    ) -> Vec<PathBuf> {
        let mut doomed = Vec::new();
        for digest in blobs.into_iter().filter(|it| !marked.contains(it)) {
            let size = self.size(&digest).unwrap_or_default();
            if let Some(path) = self.doom(&self.blob_path(&digest)) {
                gone.blobs += 1;
                gone.bytes += size;
                doomed.push(path);
            }
        }
        doomed
    }

    fn doom_roots(
        &self,
        marked: &HashSet<String>,
        gone: &mut Collected,
    ) -> Result<Vec<PathBuf>, StoreError> {
        let folder = self.room("roots");
        let entries = fs::read_dir(&folder).map_err(failed("list", &folder))?;
        let mut doomed = Vec::new();
        for entry in entries.flatten() {
            if marked.contains(&*entry.file_name().to_string_lossy()) {
                continue;
            }
            if let Some(path) = self.doom(&entry.path()) {
                gone.roots += 1;
                doomed.push(path);
            }
        }
        Ok(doomed)
    }

    /// Takes something out of everybody's way: half a root must not be taken for a whole one.
    fn doom(&self, path: &Path) -> Option<PathBuf> {
        let doomed = self.staged("doomed");
        fs::rename(path, &doomed).is_ok().then_some(doomed)
    }

    /// Deletes what was left in `ingest/` and nobody works on: halves of blobs after a day, all else at
    /// once.
    fn collect_stages(&self) -> Result<(), StoreError> {
        let folder = self.room("ingest");
        let entries = fs::read_dir(&folder).map_err(failed("list", &folder))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let is_half = entry.file_name().to_string_lossy().starts_with("sha");
            if is_half && !is_empty(&path) && !is_old(&path) {
                continue;
            }
            let Ok(file) = opened(&path) else { continue };
            let is_free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            // Still locked while it goes: whoever opened it meanwhile sees that it is gone.
            if is_free && is_still(&path, &file) {
                delete(&path);
            }
        }
        Ok(())
    }
}

/// Deletes a file, or a directory with all in it; what cannot be deleted stays.
fn delete(path: &Path) {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|about| about.is_dir());
    let _ = match is_directory {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
}

/// Whether nothing came of a blob.
fn is_empty(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|about| about.len() == 0)
}

fn is_old(path: &Path) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|about| about.modified());
    let age = modified.map(|time| SystemTime::now().duration_since(time));
    matches!(age, Ok(Ok(age)) if age > HALF)
}
