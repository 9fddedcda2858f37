//! The content store: blobs by their digests, names of images, and what must not be collected.
//!
//! ```text
//! content/blobs/sha256/<hex>    whole and verified; never changed
//!         ingest/…              on their way: locked by whoever brings them, resumed by the next;
//!                               and stages, locked by whoever works on them
//!         references/…          names, each with the digest that it leads to
//!         leases/…              what a living process needs; its lock ends with the process
//!         roots/<key>/          unpacked layers, read-only by agreement
//! ```
//!
//! All processes of the owner share it. Locks are the kernel's on open files, so they end with
//! their process. One lock, `leases/lock`, is taken by everybody for the moment in which a lease is
//! written, and by the collector alone while it collects: what is on a lease before it is looked for
//! is there afterwards too.

mod collect;
mod error;
mod ingest;
mod lease;
mod names;
mod stage;

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::{FlockOperation, flock};
use rustix::rand::{GetRandomFlags, getrandom};

pub use collect::Collected;
pub use error::StoreError;
pub(crate) use error::{failed, is_full};
pub use ingest::{Claim, Ingest};
pub use lease::Lease;
pub use names::Record;
pub(crate) use names::check_name;
pub(crate) use stage::Stage;

use crate::aside::aside;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::limits;
use crate::manifest::{Descriptor, Document};

/// Tells apart what several tasks of this process write at once.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// The store. Clones are the same one.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    directory: PathBuf,
    /// Who in this process brings a blob, so that the others wait without a thread each.
    flights: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

// === impl Store ===

impl Store {
    /// The store in a directory, which is made where there is none, for its owner alone.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        for room in [
            "blobs/sha256",
            "blobs/sha512",
            "ingest",
            "references",
            "leases",
            "roots",
        ] {
            let path = directory.join(room);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(failed("make", &path))?;
        }
        Ok(Self(Arc::new(Shared {
            directory: directory.to_owned(),
            flights: Mutex::default(),
        })))
    }

    /// Where a blob lies, if it does.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let folder = self.room("blobs").join(digest.algorithm().as_str());
        folder.join(digest.hex())
    }

    /// The size of a blob; nothing where it is not here.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        let about = fs::symlink_metadata(self.blob_path(digest)).ok()?;
        about.is_file().then_some(about.len())
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// When it is not here, or cannot be opened.
    pub fn blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Absent(digest.clone()))
            }
            other => other.map_err(failed("open", &path)),
        }
    }

    /// A small blob as a whole, held against its digest once more.
    ///
    /// # Errors
    /// When it is not here, larger than `limit`, or not what it was.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let file = self.blob(digest)?;
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(failed("read", &self.blob_path(digest)))?;
        let (wanted, found) = (limit, bytes.len() as u64);
        if found > wanted {
            let digest = digest.clone();
            return Err(StoreError::WrongSize {
                digest,
                wanted,
                found,
            });
        }
        if !digest.matches(&bytes) {
            return Err(StoreError::Changed(digest.clone()));
        }
        Ok(bytes)
    }

    /// Deletes a blob whose content was changed on the disk, so that it can be had again. Content that
    /// is right stays, whatever whoever names it says of it. May wait for another process that brings
    /// the same: not to be called where tasks run. Answers whether it deleted anything.
    ///
    /// # Errors
    /// When it cannot be read, locked, or deleted.
    pub(crate) fn mend(&self, digest: &Digest) -> Result<bool, StoreError> {
        if !self.is_changed(digest)? {
            return Ok(false);
        }
        let _alone = self.lock_ingest(digest)?;
        // Whoever had the lock may have put the right content there.
        if !self.is_changed(digest)? {
            return Ok(false);
        }
        let path = self.blob_path(digest);
        tracing::warn!("{digest} was changed on the disk: it is brought again");
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            other => other.map(|()| true).map_err(failed("delete", &path)),
        }
    }

    /// Whether a blob is here that is not what its digest says. All of it is hashed: a manifest from
    /// elsewhere may name any blob, and call it a small one. Not to be called where tasks run.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_changed(&self, digest: &Digest) -> Result<bool, StoreError> {
        let file = match self.blob(digest) {
            Err(StoreError::Absent(_)) => return Ok(false),
            other => other?,
        };
        let path = self.blob_path(digest);
        let mut content = BufReader::with_capacity(64 << 10, file);
        let mut hasher = Hasher::new(digest.algorithm());
        loop {
            let chunk = content.fill_buf().map_err(failed("read", &path))?;
            if chunk.is_empty() {
                return Ok(hasher.finish() != *digest);
            }
            hasher.update(chunk);
            let length = chunk.len();
            content.consume(length);
        }
    }

    /// A manifest or index that is here.
    ///
    /// # Errors
    /// When it is not here, or none.
    pub fn document(&self, digest: &Digest) -> Result<Document, StoreError> {
        let bytes = self.read(digest, limits::MANIFEST)?;
        Document::parse(&bytes).map_err(|source| StoreError::Document {
            digest: digest.clone(),
            source,
        })
    }

    /// Puts bytes into the store, for as long as the lease lives or a name leads to them. May wait
    /// for another process that brings the same: not to be called where tasks run.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(
        &self,
        lease: &Lease,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Descriptor, StoreError> {
        let descriptor = Descriptor::of(media_type, bytes);
        self.put_as(lease, &descriptor.digest, bytes)?;
        Ok(descriptor)
    }

    /// Puts bytes of a known digest into the store, in the place of what was changed on the disk as
    /// well; as [`Self::put`].
    ///
    /// # Errors
    /// When they have another digest, or cannot be written.
    pub fn put_as(&self, lease: &Lease, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        self.mend(digest)?;
        match self.claim_blocking(lease, digest, bytes.len() as u64)? {
            Claim::Present => Ok(()),
            Claim::Ours(mut ingest) => {
                ingest.restart()?;
                ingest.write(bytes)?;
                ingest.finish()
            }
        }
    }

    /// Does something with the store on a thread that may wait.
    ///
    /// # Errors
    /// What it answers.
    pub async fn aside<T, E>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let store = self.clone();
        aside(move || work(&store)).await
    }

    pub(crate) fn room(&self, name: &str) -> PathBuf {
        self.0.directory.join(name)
    }

    /// A path in `ingest/` that nobody else uses. Processes of other namespaces may have our
    /// number, so chance is in it too.
    fn staged(&self, what: &str) -> PathBuf {
        let number = STAGED.fetch_add(1, Relaxed);
        let mut chance = [0; 8];
        // Without it the path is as good as its numbers, and whoever makes it makes it new.
        let _ = getrandom(&mut chance, GetRandomFlags::empty());
        let (chance, process) = (u64::from_ne_bytes(chance), std::process::id());
        let name = format!("{what}-{chance:016x}-{process}-{number}.tmp");
        self.room("ingest").join(name)
    }

    /// The one lock of the store. Held for moments only; see the module.
    fn lock(&self, operation: FlockOperation) -> Result<File, StoreError> {
        let path = self.room("leases").join("lock");
        let file = open_lock(&path).map_err(failed("open", &path))?;
        flock(&file, operation).map_err(|errno| failed("lock", &path)(errno.into()))?;
        Ok(file)
    }

    /// What tasks of this process that want the same blob queue at.
    fn flight(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self
            .0
            .flights
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(digest).and_then(Weak::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::new(tokio::sync::Mutex::new(()));
        flights.insert(digest.clone(), Arc::downgrade(&flight));
        flight
    }

    /// All blobs that are here.
    fn blobs(&self) -> Result<Vec<Digest>, StoreError> {
        let mut digests = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let folder = self.room("blobs").join(algorithm.as_str());
            for entry in fs::read_dir(&folder)
                .map_err(failed("list", &folder))?
                .flatten()
            {
                let name = entry.file_name();
                let text = format!("{}:{}", algorithm.as_str(), name.to_string_lossy());
                digests.extend(text.parse::<Digest>());
            }
        }
        Ok(digests)
    }
}

/// A file that is there to be locked.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(path)
}

/// Whether a file that was opened by a path is still what has it. Between the opening and the
/// lock it may have been renamed or collected.
pub(crate) fn is_still(path: &Path, file: &File) -> bool {
    let named = fs::symlink_metadata(path);
    named
        .and_then(|named| Ok(named.ino() == file.metadata()?.ino()))
        .unwrap_or(false)
}

#[cfg(test)]
mod tests;
