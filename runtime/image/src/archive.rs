//! Archives: images as files, from `docker save` and other tools, and for them.
//!
//! ```text
//! tar or directory ─> members, one after the other ─> blobs to the store, small files to memory
//!                                                        └─ index.json: an OCI layout
//!                                                        └─ manifest.json: docker save, old form
//! ```
//!
//! An archive is read once, from its beginning; nothing is unpacked beside the store.

mod bounded;
mod export;
mod import;
mod members;

pub use export::export;
pub use import::import;

use std::io;

use crate::manifest::ManifestError;
use crate::pull::PullError;
use crate::reference::ReferenceError;
use crate::store::StoreError;

/// Why an archive is none, or cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read or written.
    #[error("cannot {what}: {source}")]
    Io {
        /// Read or write what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// It is not even an archive.
    #[error("it is no archive of images: neither a tar, nor one packed with gzip or zstd")]
    NoTar,
    /// It is something else.
    #[error(
        "it is no archive of images: it holds neither index.json (an OCI layout) nor manifest.json (docker save)"
    )]
    NoImages,
    /// It names a file that it does not hold.
    #[error("it names {0:?} and does not hold it: it was cut, or packed by hand")]
    Missing(String),
    /// Something in it is not what it should be.
    #[error("{member}: {why}")]
    Member {
        /// The file in it.
        member: String,
        /// What is wrong.
        why: String,
    },
    /// It has more of something than we take.
    #[error("it has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// It has several images, and a name was given that is not for one of them.
    #[error(
        "it holds {0} images, and --tag names one, the only one or the only one without a name: leave it out, and give names with `wasmpod image tag`, by digest where there is none"
    )]
    OneName(usize),
    /// A name in it is none.
    #[error("its name {name:?}: {source}")]
    Name {
        /// It.
        name: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// A document in it is none.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An image in it is of no use.
    #[error(transparent)]
    Image(#[from] PullError),
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> ArchiveError {
    let what = what.into();
    move |source| ArchiveError::Io { what, source }
}

#[cfg(test)]
mod tests;
