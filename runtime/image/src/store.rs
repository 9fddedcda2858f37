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
mod ingest;
mod lease;
mod stage;

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

pub use collect::Collected;
pub use ingest::{Claim, Ingest};
pub use lease::Lease;

use crate::digest::{Algorithm, Digest, Hasher};
use crate::limits;
use crate::manifest::{Descriptor, Document, ManifestError};
use crate::reference::Reference;

/// The largest record of a name: a reference and a descriptor.
const RECORD: u64 = 64 << 10;

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

/// A name, and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The reference in full.
    pub reference: String,
    /// A manifest or an index.
    pub target: Descriptor,
    /// When it was last set, in seconds since 1970.
    pub updated: u64,
}

/// Why the store cannot do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused something.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room.
    #[error(
        "no room for {path}: {source}; nothing of it was kept. Free some, for example with `wasmpod image rm --unused`"
    )]
    Full {
        /// What was written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A blob is not here.
    #[error("the blob {0} is not here: pull or import its image again")]
    Absent(Digest),
    /// Content that is something else than it should be.
    #[error(
        "the content of {wanted} has the digest {found}: it was changed on its way or at its source"
    )]
    WrongDigest {
        /// What it should be.
        wanted: Digest,
        /// What it is.
        found: Digest,
    },
    /// Content of another size than its descriptor says.
    #[error("the content of {digest} has {found} bytes or more, and should have {wanted}")]
    WrongSize {
        /// Which blob.
        digest: Digest,
        /// What it should have.
        wanted: u64,
        /// What it has.
        found: u64,
    },
    /// A name with a digest, for other content than that.
    #[error(
        "{reference} says by its digest what it leads to, which is not {found}: leave the digest out of the name, or name what it says"
    )]
    Pinned {
        /// The name.
        reference: String,
        /// What it was to lead to.
        found: Digest,
    },
    /// A document in it that is none.
    #[error("{digest}: {source}")]
    Document {
        /// Which blob.
        digest: Digest,
        /// What is wrong with it.
        source: ManifestError,
    },
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
            return Err(StoreError::WrongDigest {
                wanted: digest.clone(),
                found: Digest::of(&bytes),
            });
        }
        Ok(bytes)
    }

    /// Deletes a blob whose content was changed on the disk, so that it can be had again. Content that
    /// is right stays, whatever whoever names it says of it. May wait for another process that brings
    /// the same: not to be called where tasks run.
    ///
    /// # Errors
    /// When it cannot be read, locked, or deleted.
    pub(crate) fn mend(&self, digest: &Digest) -> Result<(), StoreError> {
        if !self.is_changed(digest)? {
            return Ok(());
        }
        let _alone = self.lock_ingest(digest)?;
        // Whoever had the lock may have put the right content there.
        if !self.is_changed(digest)? {
            return Ok(());
        }
        let path = self.blob_path(digest);
        tracing::warn!("{digest} was changed on the disk: it is fetched again");
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(failed("delete", &path)),
        }
    }

    /// Whether a blob is here that is not what its digest says. All of it is hashed: a manifest from
    /// elsewhere may name any blob, and call it a small one.
    fn is_changed(&self, digest: &Digest) -> Result<bool, StoreError> {
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

    /// Puts bytes of a known digest into the store; as [`Self::put`].
    ///
    /// # Errors
    /// When they have another digest, or cannot be written.
    pub fn put_as(&self, lease: &Lease, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        match self.claim_blocking(lease, digest, bytes.len() as u64)? {
            Claim::Present => Ok(()),
            Claim::Ours(mut ingest) => {
                ingest.restart()?;
                ingest.write(bytes)?;
                ingest.finish()
            }
        }
    }

    /// Lets a name lead to a manifest or index that is here.
    ///
    /// # Errors
    /// When it names another digest, or cannot be written.
    pub fn name(&self, reference: &Reference, target: &Descriptor) -> Result<(), StoreError> {
        if !may_lead_to(reference, target) {
            return Err(StoreError::Pinned {
                reference: reference.familiar(),
                found: target.digest.clone(),
            });
        }
        let updated = SystemTime::now().duration_since(UNIX_EPOCH);
        let record = Record {
            reference: reference.to_string(),
            target: target.clone(),
            updated: updated.unwrap_or_default().as_secs(),
        };
        let text = serde_json::to_vec(&record).unwrap_or_default();
        let path = self.record_path(&record.reference);
        let _lock = self.lock(FlockOperation::LockShared)?;
        self.replace(&path, &text)
    }

    /// What a name leads to, if it does here. A record of another digest than the name says, from
    /// whomever, is none.
    pub fn find(&self, reference: &Reference) -> Option<Record> {
        let name = reference.to_string();
        let record = read_record(&self.record_path(&name)).ok().flatten()?;
        let is_it = record.reference == name;
        (is_it && may_lead_to(reference, &record.target)).then_some(record)
    }

    /// All names, in their order.
    ///
    /// # Errors
    /// When they cannot be listed, or one of them cannot be read.
    pub fn records(&self) -> Result<Vec<Record>, StoreError> {
        let folder = self.room("references");
        let entries = fs::read_dir(&folder).map_err(failed("list", &folder))?;
        let mut records = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("list", &folder))?;
            records.extend(read_record(&entry.path())?);
        }
        records.sort_by(|one, other| one.reference.cmp(&other.reference));
        Ok(records)
    }

    /// Forgets a name; answers whether there was one. What it led to goes when it is collected.
    ///
    /// # Errors
    /// When it is there and cannot be deleted.
    pub fn forget(&self, reference: &Reference) -> Result<bool, StoreError> {
        self.forget_name(&reference.to_string())
    }

    fn forget_name(&self, name: &str) -> Result<bool, StoreError> {
        let path = self.record_path(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("delete", &path)(error)),
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
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(answer) => answer,
            // A panic is a bug of ours, and takes the task with it.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is being shut down, and this task with it.
            Err(_) => std::future::pending().await,
        }
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

    /// Gives a file new content, all of it or none.
    fn replace(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        let mut stage = self.stage_file("record")?;
        let file = stage.file();
        let write = file.write_all(content).and_then(|()| file.sync_all());
        write.map_err(failed("write", path))?;
        stage.keep(path)
    }

    /// Names are hashed: they may be longer than file names, and have slashes.
    fn record_path(&self, name: &str) -> PathBuf {
        let digest = Digest::of(name.as_bytes());
        self.room("references").join(digest.hex())
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

/// What turns an error of the system into ours.
pub(crate) fn failed<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> StoreError + 'a {
    move |source| {
        let path = path.to_owned();
        match is_full(&source) {
            true => StoreError::Full { path, source },
            false => StoreError::Io { what, path, source },
        }
    }
}

/// Whether something could not be written for want of room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
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

/// Whether a name does not say by its digest that it leads elsewhere.
fn may_lead_to(reference: &Reference, target: &Descriptor) -> bool {
    let pinned = reference.digest();
    pinned.is_none_or(|digest| *digest == target.digest)
}

/// A record; nothing where there is none. One that cannot be read is an error: whoever took it for
/// none would delete what it leads to.
fn read_record(path: &Path) -> Result<Option<Record>, StoreError> {
    let mut text = Vec::new();
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed("open", path))?,
    };
    file.take(RECORD)
        .read_to_end(&mut text)
        .map_err(failed("read", path))?;
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        let why = format!("it is no record of a name ({error}): delete it, and pull its image");
        failed("read", path)(io::Error::new(io::ErrorKind::InvalidData, why))
    })
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
