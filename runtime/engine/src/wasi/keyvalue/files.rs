//! Buckets on a volume: a directory, an entry a file, all through the container's mount table.
//!
//! ```text
//! /data/sessions/lock            held by whoever writes, in whichever process
//!                new/5e1f2c9ab0… what is being written: it gets its name once it is on the disk
//!                3/3a7bd3e2360a… an entry (`format`), called by the sha256 of its key; 0/ to f/
//! ```
//!
//! A reader sees the old value or the new one: a name is given in one step. So it is after a crash
//! of the process; after one of the machine the last seconds' names may be the old ones. Writers come
//! one after the other, also those of other containers, pods and runs that mount the same volume:
//! what is compared is still so when it is swapped. Who finds the lock held for too long is told by
//! whom, and has written nothing. Who loses it meanwhile, to somebody who deletes the file (see
//! `volume`'s `exclusive`), loses that and no more: what is being written has a name by chance, so
//! that nobody else ever writes to it, and a value is the one or the other.
//!
//! Nothing is made before something is written, and no link below the directory is followed.
//!
//! Everything here blocks.

use std::sync::Arc;
use std::time::Duration;

use volume::{Exclusive, ExclusiveError, FsError, Holder, MountTable, Node, OpenOptions};

use super::counter::{self, Range};
use super::failure::{Failure, FileFailure};
use super::format::{self, Stored};
use super::key::{Digest, Key};
use super::limits;
use super::page::Page;
use crate::wasi::random;

/// What writers lock.
const LOCK: &str = "lock";

/// The folder of what is being written.
const NEW: &str = "new";

/// The folders that entries lie in, by the first digit of their names.
const SHARDS: [&str; 16] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f",
];

/// A bucket at an absolute path of a container.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) path: Arc<str>,
    table: MountTable,
    /// How long a writer waits for others.
    patience: Duration,
}

/// The right to write, until it is dropped.
struct Writing {
    directory: Node,
    _alone: Exclusive,
}

type Done<T> = Result<T, FileFailure>;

const READ: OpenOptions = OpenOptions {
    read: true,
    write: false,
    mutate_directory: false,
    create: false,
    exclusive: false,
    directory: false,
    truncate: false,
    file_integrity_sync: false,
    data_integrity_sync: false,
    requested_write_sync: false,
};

const FOLDER: OpenOptions = OpenOptions {
    directory: true,
    mutate_directory: true,
    ..READ
};

// === impl Place ===

impl Place {
    /// The place at a path, if a volume is mounted there. Touches no file.
    pub(super) fn new(table: &MountTable, path: &str) -> Option<Self> {
        table.is_mounted(path).then(|| Self {
            path: path.into(),
            table: table.clone(),
            patience: limits::PATIENCE,
        })
    }

    pub(super) fn get(&self, key: &Key) -> Done<Option<Stored>> {
        match self.directory()? {
            None => Ok(None),
            Some(directory) => entry(&directory, key),
        }
    }

    pub(super) fn exists(&self, key: &Key) -> Done<bool> {
        let Some(directory) = self.directory()? else {
            return Ok(false);
        };
        let Some(shard) = shard(&directory, key)? else {
            return Ok(false);
        };
        Ok(found(shard.stat_at(&key.digest.name(), false))?.is_some())
    }

    pub(super) fn set(&self, key: &Key, value: &[u8]) -> Done<()> {
        self.writing()?.write(key, value)
    }

    pub(super) fn delete(&self, key: &Key) -> Done<()> {
        let is_there = self.exists(key)?;
        if !is_there {
            return Ok(());
        }
        let writing = self.writing()?;
        if let Some(shard) = shard(&writing.directory, key)? {
            found(shard.unlink_file_at(&key.digest.name()))?;
        }
        Ok(())
    }

    /// The keys of the next page, and the cursor after it if there are more.
    pub(super) fn list(&self, cursor: Option<u64>) -> Done<(Vec<String>, Option<u64>)> {
        let mut page = Page::new(cursor);
        let (Some(directory), Some(first)) = (self.directory()?, page.first()) else {
            return Ok((Vec::new(), None));
        };
        let from = Digest::least(first).shard();
        let mut shards: [Option<Node>; SHARDS.len()] = Default::default();
        for (name, shard) in SHARDS.iter().zip(&mut shards).skip(from) {
            if page.is_full() {
                break;
            }
            *shard = folder(&directory, name)?;
            if let Some(shard) = shard {
                offer_all(shard, &mut page)?;
            }
        }
        let (digests, cursor) = page.finish();
        let mut keys = Vec::with_capacity(digests.len());
        for digest in digests {
            if let Some(Some(shard)) = shards.get(digest.shard()) {
                keys.extend(key_of(shard, digest)?);
            }
        }
        Ok((keys, cursor))
    }

    pub(super) fn increment(&self, key: &Key, delta: i128, range: &Range) -> Done<i128> {
        let writing = self.writing()?;
        let stored = entry(&writing.directory, key)?;
        let value = stored.as_ref().map(|stored| &*stored.value);
        let next = counter::next(value, delta, range)?;
        writing.write(key, next.to_string().as_bytes())?;
        Ok(next)
    }

    /// Writes if the version is this one; else answers false.
    pub(super) fn swap(&self, key: &Key, version: Option<u64>, value: &[u8]) -> Done<bool> {
        let writing = self.writing()?;
        let now = entry(&writing.directory, key)?;
        if now.map(|now| now.version) != version {
            return Ok(false);
        }
        writing.write(key, value)?;
        Ok(true)
    }

    /// Its directory, if anything was ever written.
    fn directory(&self) -> Done<Option<Node>> {
        Ok(found(self.table.directory(&self.path))?)
    }

    /// The right to write, after those who have it now.
    fn writing(&self) -> Done<Writing> {
        let directory = match self.directory()? {
            Some(directory) => directory,
            None => {
                self.make()?;
                self.table.directory(&self.path)?
            }
        };
        let alone = directory.exclusive(LOCK, self.patience);
        let alone = alone.map_err(|error| match error {
            ExclusiveError::Files(error) => FileFailure::Files(error),
            ExclusiveError::Held { by } => FileFailure::Guest(self.held(by)),
            ExclusiveError::NoThread { by } => FileFailure::Guest(self.no_thread(by)),
        })?;
        Ok(Writing {
            directory,
            _alone: alone,
        })
    }

    fn held(&self, by: Holder) -> Failure {
        let remedy = match by {
            Holder::Here => "try again later, or write less often to this bucket",
            Holder::Process(_) | Holder::Nameless => "end it, or try again when it has let go",
        };
        let seconds = self.patience.as_secs();
        self.not_written(
            by,
            &format!("a write waits {seconds} s at the most: {remedy}"),
        )
    }

    fn no_thread(&self, by: Holder) -> Failure {
        self.not_written(
            by,
            "the pod host may have no further thread, with which it would wait: try again later, \
             or raise its limit of threads (`ulimit -u`, or its cgroup's pids.max)",
        )
    }

    fn not_written(&self, by: Holder, why: &str) -> Failure {
        Failure::Other(format!(
            "bucket {path}: not written, for the file {path}/{LOCK} is locked by {by}, and {why}",
            path = self.path.trim_end_matches('/'),
        ))
    }

    fn make(&self) -> Done<()> {
        let root = self.table.root();
        let names = self.path.trim_matches('/');
        let ends = names.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([names.len()]) {
            match root.create_directory_at(names.get(..end).unwrap_or_default()) {
                Ok(()) | Err(FsError::Exist) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

// === impl Writing ===

impl Writing {
    fn write(&self, key: &Key, value: &[u8]) -> Done<()> {
        let shard = made(&self.directory, shard_name(key))?;
        let unnamed = made(&self.directory, NEW)?;
        sweep(&unnamed)?;
        let bytes = format::encode(key, chance()?, value);
        let name = format!("{:016x}", chance()?);
        let written = put(&unnamed, &name, &bytes)
            .and_then(|()| unnamed.rename_at(&name, &shard, &key.digest.name()));
        if let Err(error) = written {
            // What it holds of the volume's limit would be missing to others.
            let _ = unnamed.unlink_file_at(&name);
            return Err(error.into());
        }
        Ok(())
    }
}

/// The folder of this name, made where there is none.
fn made(directory: &Node, name: &str) -> Done<Node> {
    if let Some(folder) = folder(directory, name)? {
        return Ok(folder);
    }
    match directory.create_directory_at(name) {
        Ok(()) | Err(FsError::Exist) => Ok(directory.open_at(name, false, &FOLDER)?),
        Err(error) => Err(error.into()),
    }
}

/// Deletes what others have begun and left: whoever has the right to write is the only one who does.
/// What cannot be deleted stays, folders too.
fn sweep(unnamed: &Node) -> Done<()> {
    let mut listing = unnamed.read_dir()?;
    while let Some(entry) = listing.next()? {
        let _ = unnamed.unlink_file_at(&entry.name);
    }
    Ok(())
}

/// The bytes as a new file, on the disk.
fn put(unnamed: &Node, name: &str, bytes: &[u8]) -> Result<(), FsError> {
    let options = OpenOptions {
        read: false,
        write: true,
        create: true,
        exclusive: true,
        ..READ
    };
    let file = unnamed.open_at(name, false, &options)?;
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        let more = file.write_at(rest, written as u64)?;
        if more == 0 {
            return Err(FsError::Io);
        }
        written += more;
    }
    file.sync_data()
}

/// The entry of a key.
fn entry(directory: &Node, key: &Key) -> Done<Option<Stored>> {
    let Some(shard) = shard(directory, key)? else {
        return Ok(None);
    };
    let name = key.digest.name();
    let Some(file) = found(shard.open_at(&name, false, &READ))? else {
        return Ok(None);
    };
    let stored = match file.read_whole(format::LARGEST) {
        Ok(bytes) => format::decode(key, bytes),
        Err(FsError::Overflow) => None,
        Err(error) => return Err(error.into()),
    };
    match stored {
        Some(stored) => Ok(Some(stored)),
        None => Err(FileFailure::Guest(Failure::Other(format!(
            "the file {}/{name} is no entry of a bucket, or damaged: delete the key or the file",
            shard_name(key)
        )))),
    }
}

/// Shows a page all entries of a folder.
fn offer_all(shard: &Node, page: &mut Page) -> Done<()> {
    let mut listing = shard.read_dir()?;
    while let Some(entry) = listing.next()? {
        if let Some(digest) = Digest::from_name(&entry.name) {
            page.offer(digest);
        }
    }
    Ok(())
}

/// The key of an entry; nothing if it is gone or none.
fn key_of(shard: &Node, digest: Digest) -> Done<Option<String>> {
    let Some(file) = found(shard.open_at(&digest.name(), false, &READ))? else {
        return Ok(None);
    };
    let mut head = vec![0; format::LARGEST_HEAD];
    let read = file.read_at(&mut head, 0)?;
    head.truncate(read);
    Ok(format::key_of(&head))
}

fn shard(directory: &Node, key: &Key) -> Done<Option<Node>> {
    folder(directory, shard_name(key))
}

fn shard_name(key: &Key) -> &'static str {
    SHARDS.get(key.digest.shard()).copied().unwrap_or_default()
}

fn folder(directory: &Node, name: &str) -> Done<Option<Node>> {
    Ok(found(directory.open_at(name, false, &FOLDER))?)
}

/// Nothing where there is no such file.
fn found<T>(outcome: Result<T, FsError>) -> Result<Option<T>, FsError> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(FsError::NoEntry) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A version that no write had before, or a name.
fn chance() -> Result<u64, FsError> {
    let mut bytes = [0; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = bytes.get_mut(filled..).unwrap_or_default();
        filled += random::fill_part(rest)?;
    }
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests;
