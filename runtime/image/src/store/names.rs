//! Names of images: a record each, which says what the name leads to here.
//!
//! Not here: what of all that may be collected (`collect`).

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, failed};
use crate::digest::Digest;
use crate::manifest::Descriptor;
use crate::reference::{DOCKER, Reference};

/// The largest record of a name: a reference and a descriptor.
const RECORD: u64 = 64 << 10;

/// Repositories whose tags, as people write them, would be taken for digests, or digests for them.
const DIGESTS: [&str; 2] = ["library/sha256", "library/sha512"];

/// A name, and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Record {
    /// The reference in full.
    pub reference: String,
    /// A manifest or an index.
    pub target: Descriptor,
    /// When it was last set, in seconds since 1970.
    pub updated: u64,
}

impl Store {
    /// Lets a name lead to a manifest or index that is here.
    ///
    /// # Errors
    /// When it names another digest, reads like one itself, or cannot be written.
    pub fn name(&self, reference: &Reference, target: &Descriptor) -> Result<(), StoreError> {
        check_name(reference, target)?;
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

    pub(super) fn forget_name(&self, name: &str) -> Result<bool, StoreError> {
        let path = self.record_path(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("delete", &path)(error)),
        }
    }

    /// Names are hashed: they may be longer than file names, and have slashes.
    pub(super) fn record_path(&self, name: &str) -> PathBuf {
        let digest = Digest::of(name.as_bytes());
        self.room("references").join(digest.hex())
    }

    /// Gives a file new content, all of it or none.
    fn replace(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        let mut stage = self.stage_file("record")?;
        let file = stage.file();
        let write = file.write_all(content).and_then(|()| file.sync_all());
        write.map_err(failed("write", path))?;
        stage.keep(path)
    }
}

/// Whether a name may lead to a manifest or index at all.
///
/// # Errors
/// When it names another digest, or reads like one itself.
pub(crate) fn check_name(reference: &Reference, target: &Descriptor) -> Result<(), StoreError> {
    if !may_lead_to(reference, target) {
        return Err(StoreError::Pinned {
            reference: reference.familiar(),
            found: target.digest.clone(),
        });
    }
    match DIGESTS.contains(&reference.repository()) && reference.registry() == DOCKER {
        true => Err(StoreError::LikeADigest(reference.familiar())),
        false => Ok(()),
    }
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
