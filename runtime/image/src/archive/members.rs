//! The members of an archive: large ones go to the store, small ones are kept until all is read.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::Path;

use super::{ArchiveError, failed};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::limits;
use crate::manifest::Descriptor;
use crate::pax;
use crate::store::{self, Claim, Ingest, Lease, Stage, Store, StoreError};

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
    /// What was not in the store before.
    brought: Vec<Digest>,
    /// How many bytes of names and small files may still be kept.
    left: u64,
}

/// The long names that stand before an entry.
#[derive(Default)]
struct Pending {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
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
            brought: Vec::new(),
            left: limits::ARCHIVE_MEMORY,
        }
    }

    /// Reads a tar to its end.
    pub(super) fn read_tar(&mut self, reader: impl Read) -> Result<(), ArchiveError> {
        let mut archive = tar::Archive::new(reader);
        let entries = archive.entries().map_err(failed("read the archive"))?;
        let mut pending = Pending::default();
        // Raw: the library would read long names into memory however long they are.
        for (number, entry) in entries.raw(true).enumerate() {
            if number >= limits::ARCHIVE_ENTRIES {
                return Err(ArchiveError::TooMany {
                    what: "entries",
                    limit: limits::ARCHIVE_ENTRIES,
                });
            }
            let mut entry = entry.map_err(|error| match number == 0 && is_no_header(&error) {
                // Its words have the file's own in them.
                true => ArchiveError::NoTar,
                false => failed("read the archive")(error),
            })?;
            if !pending.take(&mut entry)? {
                self.entry(std::mem::take(&mut pending), &mut entry)?;
            }
        }
        Ok(())
    }

    fn entry<R: Read>(
        &mut self,
        long: Pending,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<(), ArchiveError> {
        let header = entry.header();
        let kind = header.entry_type();
        let name = long
            .name
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let name = clean(&text(&name)?);
        if kind.is_symlink() || kind.is_hard_link() {
            let target = long
                .link
                .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
            let target = text(&target)?;
            let target = match kind.is_symlink() {
                true => relative_to(&name, &target),
                false => clean(&target),
            };
            self.keep((name.len() + target.len()) as u64)?;
            self.links.insert(name, target);
        } else if kind.is_file() {
            let size = header.entry_size().map_err(failed("read the archive"))?;
            self.add(&name, size, entry)?;
        }
        Ok(())
    }

    /// Accounts for what is kept in memory.
    fn keep(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or(ArchiveError::TooMany {
            what: "bytes of names and small files",
            limit: usize::try_from(limits::ARCHIVE_MEMORY).unwrap_or(usize::MAX),
        })?;
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

    /// Puts something beside the members that says what they are.
    pub(super) fn put(&mut self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, StoreError> {
        let descriptor = Descriptor::of(media_type, bytes);
        let was_here = self.store.size(&descriptor.digest).is_some();
        self.store.put_as(self.lease, &descriptor.digest, bytes)?;
        if !was_here {
            self.brought.push(descriptor.digest.clone());
        }
        Ok(descriptor)
    }

    /// What was not in the store before.
    pub(super) fn into_brought(self) -> Vec<Digest> {
        self.brought
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
        self.keep(name.len() as u64)?;
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
            self.keep(size)?;
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
        &mut self,
        digest: &Digest,
        size: u64,
        content: &mut impl Read,
    ) -> Result<(), ArchiveError> {
        let Some(ingest) = self.claim(digest, size)? else {
            return Ok(());
        };
        let (stage, found, read) = self.staged(digest.algorithm(), size, content)?;
        ingest.replace(stage, found, read)?;
        self.brought.push(digest.clone());
        Ok(())
    }

    /// One whose digest is known only when it was read.
    fn store_unnamed(
        &mut self,
        size: u64,
        content: &mut impl Read,
    ) -> Result<Digest, ArchiveError> {
        let (stage, digest, read) = self.staged(Algorithm::Sha256, size, content)?;
        if let Some(ingest) = self.claim(&digest, size)? {
            ingest.replace(stage, digest.clone(), read)?;
            self.brought.push(digest.clone());
        }
        Ok(digest)
    }

    /// Claims a blob that is not here, or was changed on the disk: importing again is what helps then.
    fn claim(&self, digest: &Digest, size: u64) -> Result<Option<Ingest>, ArchiveError> {
        self.store.mend(digest)?;
        let claim = self.store.claim_blocking(self.lease, digest, size)?;
        Ok(match claim {
            Claim::Present => None,
            Claim::Ours(ingest) => Some(ingest),
        })
    }

    /// Content in a file of ours, with its digest and size. Nobody takes it up where it was left, as
    /// half a blob of a pull: whoever imports again begins anew, and what was left is collected.
    fn staged(
        &self,
        algorithm: Algorithm,
        size: u64,
        content: &mut impl Read,
    ) -> Result<(Stage, Digest, u64), ArchiveError> {
        let mut stage = self.store.stage_file("member")?;
        let path = stage.path().to_owned();
        let write = |error| ArchiveError::from(store::failed("write", &path)(error));
        let (mut hasher, mut read) = (Hasher::new(algorithm), 0);
        each_chunk(content, size, |chunk| {
            hasher.update(chunk);
            read += chunk.len() as u64;
            stage.file().write_all(chunk).map_err(write)
        })?;
        Ok((stage, hasher.finish(), read))
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

// === impl Pending ===

impl Pending {
    /// Takes an entry that says something of the next; answers whether it was one.
    fn take<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<bool, ArchiveError> {
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            self.name = Some(short(entry)?);
        } else if kind.is_gnu_longlink() {
            self.link = Some(short(entry)?);
        } else if kind.is_pax_local_extensions() {
            let bytes = short(entry)?;
            for record in pax::records(&bytes) {
                let pax::Record { key, value } = record.ok_or_else(|| ArchiveError::Member {
                    member: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
                    why: "a PAX header with a record that cannot be read".to_owned(),
                })?;
                match key {
                    b"path" => self.name = Some(value.to_vec()),
                    b"linkpath" => self.link = Some(value.to_vec()),
                    _ => {}
                }
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

/// The content of an extension; one that is too long is refused, not cut.
fn short(entry: &mut impl Read) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    let mut bounded = entry.take(limits::TAR_EXTENSION + 1);
    let read = bounded.read_to_end(&mut bytes);
    read.map_err(|e: io::Error| failed("read the archive")(e))?;
    match bytes.len() as u64 > limits::TAR_EXTENSION {
        true => Err(ArchiveError::TooMany {
            what: "bytes in an extension of an entry",
            limit: usize::try_from(limits::TAR_EXTENSION).unwrap_or(usize::MAX),
        }),
        false => Ok(bytes),
    }
}

/// A name as text, without the zero at its end.
fn text(bytes: &[u8]) -> Result<String, ArchiveError> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\0');
    match text.len() > limits::PATH {
        true => Err(ArchiveError::Member {
            member: text.chars().take(200).collect(),
            why: format!("its name is longer than {} bytes", limits::PATH),
        }),
        false => Ok(text.to_owned()),
    }
}

/// `blobs/sha256/HEX` as a digest.
fn digest_of(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// Whether it is a block that is no header, and nothing that reading went wrong with.
fn is_no_header(error: &io::Error) -> bool {
    let text = error.to_string();
    text.contains("when getting cksum") || text.contains("header checksum mismatch")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Entry, store, tar};

    fn read(archive: &[u8], left: u64) -> Result<(), String> {
        let (_folder, store) = store();
        let lease = store.lease().expect("a lease");
        let mut members = Members::new(&store, &lease);
        members.left = left;
        let read = members.read_tar(archive);
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn no_more_is_kept_in_memory_than_there_may_be() {
        let small = vec![b' '; 60];
        let cases = [
            (
                "files",
                vec![Entry::File("a.json", &small), Entry::File("b.json", &small)],
            ),
            (
                "links",
                vec![
                    Entry::Link("one-long-name", "another-one"),
                    Entry::Link("b", "c"),
                ],
            ),
            (
                "names",
                vec![
                    Entry::File("one-long-name", b""),
                    Entry::File("another-one", b""),
                ],
            ),
        ];
        for (what, entries) in cases {
            let archive = tar(&entries);
            assert_eq!(read(&archive, 200), Ok(()), "{what}");
            let error = read(&archive, 20).expect_err(what);
            assert!(error.contains("bytes of names and small files"), "{error}");
        }
    }

    #[test]
    fn long_names_are_refused_and_not_cut() {
        let cases = [
            (limits::PATH, None),
            (5000, Some("name is longer")),
            (3 << 20, Some("in an extension")),
        ];
        for (length, wanted) in cases {
            for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink] {
                let mut builder = tar::Builder::new(Vec::new());
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(kind);
                header.set_size(length as u64);
                header.set_cksum();
                let name = vec![b'a'; length];
                builder.append(&header, name.as_slice()).expect("in memory");
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                builder
                    .append_link(&mut header, "a", "b")
                    .expect("in memory");
                let archive = builder.into_inner().expect("in memory");
                let result = read(&archive, limits::ARCHIVE_MEMORY);
                let error = result.err().unwrap_or_default();
                assert_eq!(!error.is_empty(), wanted.is_some(), "{error}");
                assert!(error.contains(wanted.unwrap_or_default()), "{error}");
            }
        }
    }
}
