//! The members of an archive: large ones go to the store, small ones are kept until all is read.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::{ArchiveError, failed};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::limits;
use crate::store::{Claim, Lease, Store};

/// What an archive holds.
pub(super) struct Members<'a> {
    store: &'a Store,
    lease: &'a Lease,
    /// JSON files.
    small: HashMap<String, Vec<u8>>,
    /// Everything else that was put into the store.
    blobs: HashMap<String, (Digest, u64)>,
    /// Links of old archives, from layers that several images share.
    links: HashMap<String, String>,
    /// Digests of blobs, by their names.
    held: HashSet<Digest>,
}

// === impl Members ===

impl<'a> Members<'a> {
    pub(super) fn new(store: &'a Store, lease: &'a Lease) -> Self {
        Self {
            store,
            lease,
            small: HashMap::new(),
            blobs: HashMap::new(),
            links: HashMap::new(),
            held: HashSet::new(),
        }
    }

    /// Reads a tar to its end.
    pub(super) fn read_tar(&mut self, reader: impl Read) -> Result<(), ArchiveError> {
        let mut archive = tar::Archive::new(reader);
        let entries = archive.entries().map_err(failed("read the archive"))?;
        let mut pending_name: Option<String> = None;
        // Raw: the library would read long names into memory however long they are.
        for (number, entry) in entries.raw(true).enumerate() {
            if number >= limits::ARCHIVE_ENTRIES {
                return Err(ArchiveError::TooMany {
                    what: "entries",
                    limit: limits::ARCHIVE_ENTRIES,
                });
            }
            let mut entry = entry.map_err(failed("read the archive"))?;
            let kind = entry.header().entry_type();
            if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
                let bytes = short(&mut entry)?;
                let long = if kind.is_gnu_longname() {
                    let text = String::from_utf8_lossy(&bytes);
                    Some(text.trim_end_matches('\0').to_owned())
                } else {
                    pax_path(&bytes)
                };
                pending_name = long.or(pending_name);
                continue;
            }
            let bytes = entry.header().path_bytes().into_owned();
            let name = pending_name
                .take()
                .unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
            let name = clean(&name);
            if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.header().link_name_bytes().unwrap_or_default();
                let target = String::from_utf8_lossy(&target).into_owned();
                let target = match kind.is_symlink() {
                    true => relative_to(&name, &target),
                    false => clean(&target),
                };
                self.links.insert(name, target);
            } else if kind.is_file() {
                let size = entry
                    .header()
                    .entry_size()
                    .map_err(failed("read the archive"))?;
                self.add(&name, size, &mut entry)?;
            }
        }
        Ok(())
    }

    /// Reads a directory that holds an OCI layout.
    pub(super) fn read_directory(&mut self, directory: &Path) -> Result<(), ArchiveError> {
        let mut ahead = vec![(directory.to_owned(), String::new())];
        let mut count = 0;
        while let Some((path, name)) = ahead.pop() {
            let listing =
                std::fs::read_dir(&path).map_err(failed(format!("list {}", path.display())))?;
            for entry in listing {
                let entry = entry.map_err(failed(format!("list {}", path.display())))?;
                count += 1;
                if count > limits::ARCHIVE_ENTRIES {
                    return Err(ArchiveError::TooMany {
                        what: "files",
                        limit: limits::ARCHIVE_ENTRIES,
                    });
                }
                let about = entry
                    .metadata()
                    .map_err(failed(format!("look at {:?}", entry.path())))?;
                let inside = clean(&format!("{name}/{}", entry.file_name().to_string_lossy()));
                if about.is_dir() {
                    ahead.push((entry.path(), inside));
                } else if about.is_file() {
                    let read = failed(format!("open {}", entry.path().display()));
                    let mut file = File::open(entry.path()).map_err(read)?;
                    self.add(&inside, about.len(), &mut file)?;
                }
            }
        }
        Ok(())
    }

    /// A JSON file.
    pub(super) fn json(&self, name: &str) -> Option<&[u8]> {
        self.small.get(self.resolved(name)).map(Vec::as_slice)
    }

    /// A member that is in the store, and its size.
    pub(super) fn blob(&self, name: &str) -> Option<(Digest, u64)> {
        self.blobs.get(self.resolved(name)).cloned()
    }

    /// Whether it held a blob by that digest.
    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.held.contains(digest)
    }

    fn resolved<'b>(&'b self, name: &'b str) -> &'b str {
        self.links.get(name).map_or(name, String::as_str)
    }

    fn add(&mut self, name: &str, size: u64, content: &mut impl Read) -> Result<(), ArchiveError> {
        let member = |why: &dyn std::fmt::Display| ArchiveError::Member {
            member: name.to_owned(),
            why: why.to_string(),
        };
        if size > limits::BLOB {
            return Err(member(&format!("it is larger than {} bytes", limits::BLOB)));
        }
        if let Some(digest) = digest_of(name) {
            let stored = self.store_as(&digest, size, content);
            stored.map_err(|error| member(&error))?;
            self.held.insert(digest.clone());
            self.blobs.insert(name.to_owned(), (digest, size));
            return Ok(());
        }
        if name.ends_with(".json") && size <= limits::MANIFEST {
            if self.small.len() >= limits::ARCHIVE_SMALL {
                return Err(ArchiveError::TooMany {
                    what: "JSON files",
                    limit: limits::ARCHIVE_SMALL,
                });
            }
            let mut bytes = Vec::new();
            content
                .take(size)
                .read_to_end(&mut bytes)
                .map_err(failed(format!("read {name}")))?;
            self.small.insert(name.to_owned(), bytes);
            return Ok(());
        }
        if name.ends_with("/layer.tar") || name.ends_with(".tar") {
            let digest = self
                .store_unnamed(size, content)
                .map_err(|error| member(&error))?;
            self.blobs.insert(name.to_owned(), (digest, size));
        }
        Ok(())
    }

    /// A blob whose name says its digest.
    fn store_as(
        &self,
        digest: &Digest,
        size: u64,
        content: &mut impl Read,
    ) -> Result<(), ArchiveError> {
        let Claim::Ours(mut ingest) = self.store.claim_blocking(self.lease, digest, size)? else {
            return Ok(());
        };
        ingest.restart()?;
        each_chunk(content, size, |chunk| Ok(ingest.write(chunk)?))?;
        Ok(ingest.finish()?)
    }

    /// One whose digest is known only when it was read: through a file of ours.
    fn store_unnamed(&self, size: u64, content: &mut impl Read) -> Result<Digest, ArchiveError> {
        let path = self.store.staged("member");
        let write = || failed(format!("write {}", path.display()));
        let options = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path);
        let mut file = options.map_err(write())?;
        // It has no name from now on, and goes with us.
        std::fs::remove_file(&path).map_err(write())?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        each_chunk(content, size, |chunk| {
            hasher.update(chunk);
            file.write_all(chunk).map_err(write())
        })?;
        file.seek(SeekFrom::Start(0)).map_err(write())?;
        let digest = hasher.finish();
        self.store_as(&digest, size, &mut file)?;
        Ok(digest)
    }
}

fn each_chunk(
    content: &mut impl Read,
    size: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut content = content.take(size);
    let mut buffer = vec![0; 128 << 10];
    loop {
        let read = content
            .read(&mut buffer)
            .map_err(failed("read the archive"))?;
        match buffer.get(..read).filter(|chunk| !chunk.is_empty()) {
            Some(chunk) => take(chunk)?,
            None => return Ok(()),
        }
    }
}

/// The content of an extension, bounded.
fn short(entry: &mut impl Read) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    let read = entry.take(limits::TAR_EXTENSION).read_to_end(&mut bytes);
    read.map_err(|e: io::Error| failed("read the archive")(e))?;
    Ok(bytes)
}

fn pax_path(bytes: &[u8]) -> Option<String> {
    let mut records = tar::PaxExtensions::new(bytes).flatten();
    let path = records.find(|record| record.key_bytes() == b"path")?;
    path.value().ok().map(str::to_owned)
}

/// `blobs/sha256/HEX` as a digest.
fn digest_of(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// A name in an archive, without what says nothing.
fn clean(name: &str) -> String {
    let parts: Vec<&str> = name
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    parts.join("/")
}

/// Where a link at a name leads; `..` is followed by its text, there is nothing behind it.
fn relative_to(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
