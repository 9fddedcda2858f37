//! Leases: what a living process needs of the store.
//!
//! A lease is a file with a line for each blob and root that it holds, locked for as long as it
//! lives. One whose lock can be had belongs to nobody, and goes.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};

use super::{Store, StoreError, failed, open_lock};
use crate::digest::Digest;

/// The largest lease that is read: some ten thousand lines.
const LEASE: u64 = 16 << 20;

/// Leave to use blobs and roots, until the last clone is dropped.
#[derive(Clone)]
pub struct Lease(Arc<Shared>);

struct Shared {
    store: Store,
    path: PathBuf,
    /// The file, and the lines in it: a container that restarts holds the same again.
    file: Mutex<(File, HashSet<String>)>,
}

/// What leases hold, all together.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) digests: Vec<Digest>,
    pub(super) roots: Vec<String>,
}

impl Store {
    /// A lease that holds nothing yet.
    ///
    /// # Errors
    /// When its file cannot be made.
    pub fn lease(&self) -> Result<Lease, StoreError> {
        let name = self.staged("lease");
        let path = self
            .room("leases")
            .join(name.file_name().unwrap_or_default());
        let _lock = self.lock(FlockOperation::LockShared)?;
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path);
        let file = file.map_err(failed("make", &path))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| failed("lock", &path)(errno.into()))?;
        Ok(Lease(Arc::new(Shared {
            store: self.clone(),
            path,
            file: Mutex::new((file, HashSet::new())),
        })))
    }

    /// What living processes hold; takes away the leases of dead ones. Under the store's lock.
    pub(super) fn held(&self) -> Result<Held, StoreError> {
        let folder = self.room("leases");
        let mut held = Held::default();
        for entry in fs::read_dir(&folder).map_err(failed("list", &folder))? {
            let entry = entry.map_err(failed("list", &folder))?;
            let path = entry.path();
            if entry.file_name() == "lock" {
                continue;
            }
            let file = open_lock(&path).map_err(failed("open", &path))?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // It stays if it cannot be deleted, and holds nothing.
                let _ = fs::remove_file(&path);
                continue;
            }
            let mut text = String::new();
            let read = file.take(LEASE + 1).read_to_string(&mut text);
            let read = read.and_then(|_| held.take(&text));
            read.map_err(failed("read", &path))?;
        }
        Ok(held)
    }
}

// === impl Held ===

impl Held {
    /// Takes the lines of a lease, all of them or none: what a lease holds beyond those that can
    /// be read nobody knows.
    fn take(&mut self, text: &str) -> io::Result<()> {
        if text.len() as u64 > LEASE {
            return Err(io::Error::other(format!("it is longer than {LEASE} bytes")));
        }
        for line in text.lines() {
            match line.strip_prefix("root ") {
                Some(key) => self.roots.push(key.to_owned()),
                None => {
                    let digest = line.parse::<Digest>().map_err(io::Error::other)?;
                    self.digests.push(digest);
                }
            }
        }
        Ok(())
    }
}

// === impl Lease ===

impl Lease {
    /// Holds a blob, and all that it leads to if it is a manifest, whether or not it is here yet.
    /// May wait for whoever collects, as everything here: not to be called where tasks run.
    ///
    /// # Errors
    /// When the lease cannot be written.
    pub fn hold(&self, digest: &Digest) -> Result<(), StoreError> {
        self.line(&digest.to_string())
    }

    /// Holds an unpacked root.
    ///
    /// # Errors
    /// When the lease cannot be written.
    pub fn hold_root(&self, key: &str) -> Result<(), StoreError> {
        self.line(&format!("root {key}"))
    }

    pub(super) fn line(&self, line: &str) -> Result<(), StoreError> {
        let Shared { store, path, file } = &*self.0;
        let mut held = file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, lines) = &mut *held;
        if lines.contains(line) {
            return Ok(());
        }
        let _lock = store.lock(FlockOperation::LockShared)?;
        append(file, line).map_err(failed("write", path))?;
        lines.insert(line.to_owned());
        Ok(())
    }
}

/// Writes a line, all of it or none: the rest of one would be taken for the beginning of the next.
fn append(file: &File, line: &str) -> io::Result<()> {
    let end = file.metadata()?.len();
    file.write_all_at(format!("{line}\n").as_bytes(), end)
        .inspect_err(|_| {
            // Where that fails too, whoever collects finds the half line, and deletes nothing.
            let _ = file.set_len(end);
        })
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The lock goes with the file; one that stays behind is nobody's.
        let _ = fs::remove_file(&self.path);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("path", &self.0.path).finish()
    }
}
