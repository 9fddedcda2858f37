//! Layers to files: tars from outside, unpacked into one directory that nothing leads out of.
//!
//! ```text
//! layer ─> gzip, zstd ─> meter: bytes, ratio, digest ─> tar ─> entry ─> place: a name in a directory
//! ```
//!
//! Every path is resolved by the kernel as if the directory were `/` (`openat2`, RESOLVE_IN_ROOT),
//! so no link and no `..` leaves it; a path with `..` is refused before. Whiteouts take away what
//! lower layers brought. What runs here is wasm: owners and extended attributes are not kept, and
//! device nodes, FIFOs and sockets are skipped and named.

mod added;
mod layer;
mod meter;
mod path;
mod place;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::decompress::{self, OverLimit};
use crate::digest::Digest;
use crate::limits;
use crate::manifest::media::Compression;
use added::Added;
use meter::Meter;
use place::Place;
pub(crate) use place::open_inside;

/// What there is too much of where files are larger than they may be.
pub(crate) const FILES: &str = "bytes of files";

/// The most names of skipped entries that are told.
const TOLD: usize = 8;

/// Unpacks layers into a directory.
pub struct Unpacker {
    place: Place,
    bounds: Bounds,
    files: u64,
    skipped: Skipped,
}

/// How much may be unpacked.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of files.
    pub files: u64,
    /// Entries of all layers, and directories that none of them names but all lie in.
    pub entries: u64,
    /// How many times larger than a layer its tar may be.
    pub ratio: u64,
    /// What any tar may have, whatever its ratio.
    pub ratio_free: u64,
}

/// Entries that are no files for a wasm program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub names: Vec<String>,
}

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The system refused something.
    #[error("cannot unpack {path:?}: {source}")]
    Io {
        /// The path in the layer, from its root; `.` for the layer itself.
        path: String,
        /// What the system, or the decompressor, said.
        source: io::Error,
    },
    /// A path that could lead elsewhere, or no file system takes.
    #[error("the layer's path {path:?} {why}")]
    Path {
        /// It.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A layer that is no tar, or only its beginning.
    #[error(
        "it is not what its media type says, or was cut: build the image anew, or push it again from where it is whole"
    )]
    Broken,
    /// A file, or a link to one, where an entry needs a directory.
    #[error(
        "{file:?} is a file, or a link to one, in a lower layer or before it in this one, so that {path:?} has no place: build the image anew, with an entry for the directory before what is in it"
    )]
    InTheWay {
        /// The path of the entry.
        path: String,
        /// That of the file, or of the link.
        file: String,
    },
    /// An entry of a sort that we do not read.
    #[error("the layer's entry {path:?} is {what}: rebuild the image with another tool")]
    Entry {
        /// Its path.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// More than is allowed.
    #[error("the layers have more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
    /// Decompressed it is something else than the configuration says.
    #[error("the layer's tar has the digest {found}, and the configuration says {wanted}")]
    WrongDigest {
        /// What it should be.
        wanted: Digest,
        /// What it is.
        found: Digest,
    },
}

// === impl UnpackError ===

impl UnpackError {
    /// Whether what is in a layer led to it: not the system, and not a limit, which says nothing of
    /// whether the layer is whole.
    pub(crate) fn is_of_content(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_of_content(source),
            Self::TooMuch { .. } => false,
            Self::Path { .. }
            | Self::Broken
            | Self::InTheWay { .. }
            | Self::Entry { .. }
            | Self::WrongDigest { .. } => true,
        }
    }
}

// === impl Bounds ===

impl Default for Bounds {
    fn default() -> Self {
        Self {
            files: limits::ROOT,
            entries: limits::ENTRIES,
            ratio: limits::RATIO,
            ratio_free: limits::RATIO_FREE,
        }
    }
}

// === impl Unpacker ===

impl Unpacker {
    /// Unpacks into an empty directory that nobody else writes to.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn new(directory: &Path, bounds: Bounds) -> Result<Self, UnpackError> {
        let place = Place::open(directory, bounds.entries).map_err(|source| failed(&[], source))?;
        Ok(Self {
            place,
            bounds,
            files: 0,
            skipped: Skipped::default(),
        })
    }

    /// Unpacks a layer over those before it; `size` is what it has compressed. If its type says that
    /// it is compressed, its first bytes decide how, as in containerd, because some types are wrong.
    /// Its tar is held against `diff_id`, where the configuration tells one.
    ///
    /// # Errors
    /// [`UnpackError`]; the directory is of no use then.
    pub fn layer(
        &mut self,
        content: impl Read,
        size: u64,
        compression: Compression,
        diff_id: Option<&Digest>,
    ) -> Result<(), UnpackError> {
        let limit = size
            .saturating_mul(self.bounds.ratio)
            .max(self.bounds.ratio_free);
        let algorithm = diff_id.map(Digest::algorithm);
        let reader = match compression {
            Compression::None => decompress::reader(content, compression),
            _ => {
                let (told, content) = decompress::told(content).map_err(|e| failed(&[], e))?;
                decompress::reader(content, told)
            }
        };
        let mut archive = tar::Archive::new(Meter::new(reader, limit, algorithm));
        self.entries(&mut archive)?;
        let mut meter = archive.into_inner();
        // What follows the archive's end counts for its digest.
        io::copy(&mut meter, &mut io::sink()).map_err(|e| failed(&[], e))?;
        match (diff_id, meter.digest()) {
            (Some(wanted), Some(found)) if *wanted != found => Err(UnpackError::WrongDigest {
                wanted: wanted.clone(),
                found,
            }),
            _ => Ok(()),
        }
    }

    /// What was left out.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    fn entries<R: Read>(&mut self, archive: &mut tar::Archive<R>) -> Result<(), UnpackError> {
        let entries = archive.entries().map_err(|e| failed(&[], e))?;
        let mut pending = layer::Pending::default();
        let mut added = Added::new(self.bounds.entries);
        // Raw, because the library reads long names into memory however long they are.
        for entry in entries.raw(true) {
            let mut entry = entry.map_err(|e| failed(&[], e))?;
            self.place.count().map_err(|e| failed(&[], e))?;
            if let Some(entry) = pending.take(&mut entry)? {
                self.put(entry, &mut added)?;
            }
        }
        Ok(())
    }

    fn put<R: Read>(
        &mut self,
        entry: layer::Entry<'_, '_, R>,
        added: &mut Added,
    ) -> Result<(), UnpackError> {
        let path = entry.path;
        let Some((name, parents)) = path.split_last() else {
            // The root itself.
            return Ok(());
        };
        let told = |source| failed(&path, source);
        if let Some(whiteout) = layer::whiteout(name) {
            return match whiteout {
                layer::Whiteout::Name(name) => self.place.remove(parents, &name).map_err(told),
                layer::Whiteout::Opaque => self.place.clear(parents, added).map_err(told),
                layer::Whiteout::Other => Ok(()),
            };
        }
        match entry.what {
            layer::What::Directory { mode } => self.place.directory(parents, name, mode),
            layer::What::File {
                mode,
                modified,
                content,
            } => {
                let left = self.bounds.files.saturating_sub(self.files);
                let file = self.place.file(parents, name, mode).map_err(told)?;
                self.files += copy(content, &file, left).map_err(|error| {
                    // It is all of the layer that is broken, wherever that shows.
                    match is_of_content(&error) {
                        true => failed(&[], error),
                        false => told(error),
                    }
                })?;
                place::set_modified(&file, modified);
                Ok(())
            }
            layer::What::Link { target } => self.place.link(parents, name, &target),
            layer::What::HardLink { target } => self.place.hard_link(parents, name, &target),
            layer::What::Skipped => {
                self.skipped.count += 1;
                if self.skipped.names.len() < TOLD {
                    self.skipped.names.push(path::shown(&path));
                }
                return Ok(());
            }
        }
        .map_err(told)?;
        added.insert(&path).map_err(told)
    }
}

/// Copies a file's content, if it is no more than this.
fn copy(content: &mut impl Read, mut file: &File, left: u64) -> io::Result<u64> {
    let copied = io::copy(&mut content.take(left.saturating_add(1)), &mut file)?;
    if copied > left {
        return Err(io::Error::other(OverLimit {
            what: FILES,
            limit: left,
        }));
    }
    Ok(copied)
}

/// An error of a path; what was wrapped in it on the way comes out again.
fn failed(path: &[OsString], source: io::Error) -> UnpackError {
    if let Some(over) = source
        .get_ref()
        .and_then(|it| it.downcast_ref::<OverLimit>())
    {
        return UnpackError::TooMuch {
            what: over.what,
            limit: over.limit,
        };
    }
    if let Some(place::InTheWay(file)) = source.get_ref().and_then(|it| it.downcast_ref()) {
        return UnpackError::InTheWay {
            path: path::shown(path),
            file: file.clone(),
        };
    }
    let path = match path.is_empty() {
        true if is_of_content(&source) => return UnpackError::Broken,
        true => ".".to_owned(),
        false => path::shown(path),
    };
    UnpackError::Io { path, source }
}

/// Whether a decompressor or the reader of tars said it, and not the system: in their words is what they
/// read, whatever it is.
fn is_of_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    let is_of_content = matches!(
        error.kind(),
        InvalidData | InvalidInput | Other | UnexpectedEof
    );
    is_of_content && error.raw_os_error().is_none()
}

#[cfg(test)]
mod tests;
