//! Entries of a layer's tar: headers, the extensions before them, whiteouts.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use tar::EntryType;

use super::{UnpackError, failed, path};
use crate::{limits, pax};

/// What begins the name of a whiteout.
const WHITEOUT: &[u8] = b".wh.";

/// An entry, its extensions read.
pub(super) struct Entry<'e, 'a, R: Read> {
    pub(super) path: Vec<OsString>,
    pub(super) what: What<'e, 'a, R>,
}

/// What an entry brings.
pub(super) enum What<'e, 'a, R: Read> {
    Directory {
        mode: u32,
    },
    File {
        mode: u32,
        modified: u64,
        content: &'e mut tar::Entry<'a, R>,
    },
    Link {
        target: OsString,
    },
    HardLink {
        target: Vec<OsString>,
    },
    /// A device, FIFO or socket.
    Skipped,
}

/// What a name of a whiteout means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whiteout {
    /// This name of lower layers is gone.
    Name(OsString),
    /// All that lower layers have in the directory is gone.
    Opaque,
    /// A note of the file system that the image was made on.
    Other,
}

/// Extensions that belong to the entry after them.
#[derive(Default)]
pub(super) struct Pending {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

// === impl Pending ===

impl Pending {
    /// Takes a raw entry: an extension is kept for the next, and answers nothing.
    ///
    /// # Errors
    /// A path that is refused, or an entry that is not read.
    pub(super) fn take<'e, 'a, R: Read>(
        &mut self,
        entry: &'e mut tar::Entry<'a, R>,
    ) -> Result<Option<Entry<'e, 'a, R>>, UnpackError> {
        match entry.header().entry_type() {
            EntryType::GNULongName => self.path = Some(name(extension(entry)?)),
            EntryType::GNULongLink => self.link = Some(name(extension(entry)?)),
            EntryType::XHeader => self.pax(entry)?,
            EntryType::XGlobalHeader => {}
            _ => return std::mem::take(self).entry(entry).map(Some),
        }
        Ok(None)
    }

    fn pax<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), UnpackError> {
        let bytes = extension(entry)?;
        for record in pax::records(&bytes) {
            let pax::Record { key, value } = record.ok_or_else(|| UnpackError::Entry {
                path: path::raw(&entry.header().path_bytes()),
                what: "a PAX header with a record that cannot be read",
            })?;
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok();
                    let size = size.and_then(|text| text.parse().ok());
                    self.size = Some(size.unwrap_or(u64::MAX));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn entry<'e, 'a, R: Read>(
        self,
        entry: &'e mut tar::Entry<'a, R>,
    ) -> Result<Entry<'e, 'a, R>, UnpackError> {
        let header = entry.header();
        let bytes = self
            .path
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let path = path::names(&bytes)?;
        let refused = |what| UnpackError::Entry {
            path: path::shown(&path),
            what,
        };
        // What the library says of it has bytes of the layer in it.
        let mode = header
            .mode()
            .map_err(|_| refused("of a mode that is no number"))?;
        let modified = header.mtime().unwrap_or_default();
        let link = self
            .link
            .or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
        let what = match header.entry_type() {
            // A size that others read otherwise would let them see other files than we do.
            _ if self.size.is_some_and(|told| told != entry.size()) => {
                return Err(refused("of two sizes at once"));
            }
            EntryType::GNUSparse => return Err(refused("a sparse file")),
            EntryType::Directory => What::Directory { mode },
            EntryType::Symlink | EntryType::Link if link.as_ref().is_none_or(Vec::is_empty) => {
                return Err(refused("a link to nothing"));
            }
            EntryType::Symlink => What::Link {
                target: target(link.unwrap_or_default()).map_err(refused)?,
            },
            EntryType::Link => What::HardLink {
                target: path::names(&link.unwrap_or_default())?,
            },
            EntryType::Char | EntryType::Block | EntryType::Fifo => What::Skipped,
            // An old tar's directory.
            EntryType::Regular if bytes.ends_with(b"/") => What::Directory { mode },
            EntryType::Regular | EntryType::Continuous => What::File {
                mode,
                modified,
                content: entry,
            },
            _ => return Err(refused("of a sort that is not known")),
        };
        Ok(Entry { path, what })
    }
}

/// The content of an extension, bounded.
fn extension<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = Vec::new();
    let read = entry
        .take(limits::TAR_EXTENSION + 1)
        .read_to_end(&mut bytes);
    read.map_err(|e: io::Error| failed(&[], e))?;
    if bytes.len() as u64 > limits::TAR_EXTENSION {
        return Err(UnpackError::TooMuch {
            what: "bytes in an extension of an entry",
            limit: limits::TAR_EXTENSION,
        });
    }
    Ok(bytes)
}

/// A GNU name without the zero at its end.
fn name(mut bytes: Vec<u8>) -> Vec<u8> {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

fn target(bytes: Vec<u8>) -> Result<OsString, &'static str> {
    match bytes {
        long if long.len() >= limits::PATH => Err("a link longer than a path may be"),
        zero if zero.contains(&0) => Err("a link with a byte 0 in it"),
        bytes => Ok(OsString::from_vec(bytes)),
    }
}

/// What a name means as a whiteout; nothing for others.
pub(super) fn whiteout(name: &OsStr) -> Option<Whiteout> {
    let rest = name.as_bytes().strip_prefix(WHITEOUT)?;
    Some(match rest {
        b".wh..opq" => Whiteout::Opaque,
        b"" | b"." | b".." => Whiteout::Other,
        rest if rest.starts_with(WHITEOUT) => Whiteout::Other,
        rest => Whiteout::Name(OsStr::from_bytes(rest).to_owned()),
    })
}
