//! Bringing a blob: one at a time per digest, resumed where another left off, verified at the end.
//!
//! ```text
//! claim ─> hold it on the lease ─> here? Present
//!                    │ no
//!                    └─> lock its ingest file ─> here by now? Present
//!                                   │ no
//!                                   └─> Ours: write from where it ends ─> finish: verify, rename
//!                                          └─> or replace: a file that came whole takes its place
//! ```

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{Lease, Stage, Store, StoreError, failed, is_still, open_lock};
use crate::digest::{Digest, Hasher};

/// Who brings a blob.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made"
)]
#[derive(Debug)]
pub enum Claim {
    /// Nobody: it is here.
    Present,
    /// We do; others wait until this is dropped or finished.
    Ours(Ingest),
}

/// A blob on its way. Dropped before its end it stays as far as it came, for whoever is next; where
/// nothing came, nothing stays.
pub struct Ingest {
    store: Store,
    file: File,
    path: PathBuf,
    digest: Digest,
    size: u64,
    written: u64,
    hasher: Hasher,
    /// Keeps the other tasks of this process waiting.
    _turn: Option<tokio::sync::OwnedMutexGuard<()>>,
}

/// The lock of a blob, which nobody brings meanwhile.
pub(super) struct Alone {
    file: File,
    path: PathBuf,
}

impl Store {
    /// Claims a blob; waits while another task or process brings it, which `waiting` is told.
    ///
    /// # Errors
    /// When it cannot be looked for or made.
    pub async fn claim(
        &self,
        lease: &Lease,
        digest: &Digest,
        size: u64,
        waiting: impl FnOnce(),
    ) -> Result<Claim, StoreError> {
        let (lease, wanted) = (lease.clone(), digest.clone());
        let is_here = self.aside(move |store| {
            lease.hold(&wanted)?;
            store.is_here(&wanted, size)
        });
        if is_here.await? {
            return Ok(Claim::Present);
        }
        let flight = self.flight(digest);
        let mut waiting = Some(waiting);
        let turn = match flight.clone().try_lock_owned() {
            Ok(turn) => turn,
            Err(_) => {
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
                flight.lock_owned().await
            }
        };
        let wanted = digest.clone();
        let attempt = self.aside(move |store| store.take(&wanted, size, false));
        let claim = match attempt.await? {
            Some(claim) => claim,
            None => {
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
                let wanted = digest.clone();
                let attempt = self.aside(move |store| store.take(&wanted, size, true));
                attempt.await?.unwrap_or(Claim::Present)
            }
        };
        Ok(match claim {
            Claim::Present => Claim::Present,
            Claim::Ours(mut ingest) => {
                ingest._turn = Some(turn);
                Claim::Ours(ingest)
            }
        })
    }

    /// The same where threads may wait.
    ///
    /// # Errors
    /// When it cannot be looked for or made.
    pub fn claim_blocking(
        &self,
        lease: &Lease,
        digest: &Digest,
        size: u64,
    ) -> Result<Claim, StoreError> {
        lease.hold(digest)?;
        Ok(self.take(digest, size, true)?.unwrap_or(Claim::Present))
    }

    /// Whether a blob is here. One of another size than a descriptor says is not what it names, or was
    /// changed on the disk, and goes.
    fn is_here(&self, digest: &Digest, size: u64) -> Result<bool, StoreError> {
        if self.size(digest).is_some_and(|found| found != size) {
            self.mend(digest)?;
        }
        match self.size(digest) {
            Some(found) if found != size => Err(StoreError::WrongSize {
                digest: digest.clone(),
                wanted: size,
                found,
            }),
            found => Ok(found.is_some()),
        }
    }

    /// Locks the ingest file; nothing where another process has it and we are not to wait.
    fn take(&self, digest: &Digest, size: u64, wait: bool) -> Result<Option<Claim>, StoreError> {
        let path = self.ingest_path(digest);
        loop {
            if self.is_here(digest, size)? {
                return Ok(Some(Claim::Present));
            }
            let file = open_lock(&path).map_err(failed("open", &path))?;
            let operation = match wait {
                true => FlockOperation::LockExclusive,
                false => FlockOperation::NonBlockingLockExclusive,
            };
            match flock(&file, operation) {
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                other => other.map_err(|errno| failed("lock", &path)(errno.into()))?,
            }
            if is_still(&path, &file) {
                let ingest = Ingest::resume(self.clone(), file, path, digest.clone(), size)?;
                return Ok(Some(Claim::Ours(ingest)));
            }
        }
    }

    /// Waits until nobody brings a blob; nobody does until the answer is dropped.
    pub(super) fn lock_ingest(&self, digest: &Digest) -> Result<Alone, StoreError> {
        let path = self.ingest_path(digest);
        loop {
            let file = open_lock(&path).map_err(failed("open", &path))?;
            flock(&file, FlockOperation::LockExclusive)
                .map_err(|errno| failed("lock", &path)(errno.into()))?;
            if is_still(&path, &file) {
                return Ok(Alone { file, path });
            }
        }
    }

    /// Where a blob lies while it is brought.
    fn ingest_path(&self, digest: &Digest) -> PathBuf {
        let name = format!("{}-{}", digest.algorithm().as_str(), digest.hex());
        self.room("ingest").join(name)
    }
}

// === impl Ingest ===

impl Ingest {
    /// Goes on where the file ends; its content counts again from the start where it is too long.
    fn resume(
        store: Store,
        mut file: File,
        path: PathBuf,
        digest: Digest,
        size: u64,
    ) -> Result<Self, StoreError> {
        let mut hasher = Hasher::new(digest.algorithm());
        let mut written = 0;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = file.read(&mut buffer).map_err(failed("read", &path))?;
            let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
                break;
            };
            hasher.update(chunk);
            written += chunk.len() as u64;
        }
        let mut ingest = Self {
            store,
            file,
            path,
            digest,
            size,
            written,
            hasher,
            _turn: None,
        };
        if ingest.written > size {
            ingest.restart()?;
        }
        Ok(ingest)
    }

    /// How many bytes are here.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many there will be.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Drops what is here: the rest is not to be had from there.
    ///
    /// # Errors
    /// When the file cannot be cut.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)).map(drop))
            .map_err(failed("cut", &self.path))?;
        self.written = 0;
        self.hasher = Hasher::new(self.digest.algorithm());
        Ok(())
    }

    /// Takes more.
    ///
    /// # Errors
    /// When it is more than the size says, or cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let found = self.written.saturating_add(bytes.len() as u64);
        if found > self.size {
            self.restart()?;
            return Err(self.wrong_size(found));
        }
        let written = self.file.write_all(bytes);
        written.map_err(|error| self.gave_up(failed("write", &self.path)(error)))?;
        self.hasher.update(bytes);
        self.written = found;
        Ok(())
    }

    /// What is wrong with it, where all of it is here.
    pub(crate) fn fault(&self) -> Option<StoreError> {
        if self.written != self.size {
            return Some(self.wrong_size(self.written));
        }
        let found = self.hasher.clone().finish();
        (found != self.digest).then(|| StoreError::WrongDigest {
            wanted: self.digest.clone(),
            found,
        })
    }

    /// Makes it a blob, if it is what it should be. Wrong content is dropped.
    ///
    /// # Errors
    /// When its size or digest is wrong, or it cannot be renamed.
    pub fn finish(mut self) -> Result<(), StoreError> {
        if let Some(fault) = self.fault() {
            if matches!(fault, StoreError::WrongDigest { .. }) {
                self.restart()?;
            }
            return Err(fault);
        }
        let target = self.store.blob_path(&self.digest);
        let kept = self.file.sync_data();
        let kept = kept.and_then(|()| fs::rename(&self.path, &target));
        kept.map_err(|error| self.gave_up(failed("keep", &target)(error)))
    }

    /// Makes a file that somebody worked on the blob, if its content, of this digest and size, is what
    /// it should be. What came of the blob before is of no use any more then, and goes.
    ///
    /// # Errors
    /// When its size or digest is wrong, or it cannot be renamed; the file is gone then.
    pub(crate) fn replace(
        self,
        mut stage: Stage,
        digest: Digest,
        size: u64,
    ) -> Result<(), StoreError> {
        if size != self.size {
            return Err(self.wrong_size(size));
        }
        if digest != self.digest {
            return Err(StoreError::WrongDigest {
                wanted: self.digest.clone(),
                found: digest,
            });
        }
        let target = self.store.blob_path(&self.digest);
        let synced = stage.file().sync_data();
        synced.map_err(failed("keep", &target))?;
        stage.keep(&target)?;
        // What stays is collected.
        let _ = fs::remove_file(&self.path);
        Ok(())
    }

    /// Half a blob is there to be resumed, but not where there is no room: it would keep the disk
    /// full, and be no use to the next, who has no room either.
    pub(super) fn gave_up(&self, error: StoreError) -> StoreError {
        if matches!(error, StoreError::Full { .. }) {
            // Cut as well, for we hold it open. What stays is collected.
            let _ = self.file.set_len(0);
            let _ = fs::remove_file(&self.path);
        }
        error
    }

    fn wrong_size(&self, found: u64) -> StoreError {
        StoreError::WrongSize {
            digest: self.digest.clone(),
            wanted: self.size,
            found,
        }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        leave(&self.file, &self.path);
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        leave(&self.file, &self.path);
    }
}

/// Takes away a locked file of which nothing came. Still locked while it goes: whoever opened it
/// meanwhile sees that it is gone.
fn leave(file: &File, path: &Path) {
    let is_empty = file.metadata().is_ok_and(|about| about.len() == 0);
    if is_empty && is_still(path, file) {
        // What stays is collected.
        let _ = fs::remove_file(path);
    }
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest")
            .field("digest", &self.digest)
            .field("written", &self.written)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
