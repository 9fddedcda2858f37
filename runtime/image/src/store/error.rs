//! What the store cannot do, for people: with which file or blob, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::manifest::ManifestError;

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
    /// A blob that is not what it was.
    #[error(
        "the blob {0} was changed on the disk: `wasmpod image pull` fetches it again; where its image is of no registry, import or pack it again"
    )]
    Changed(Digest),
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
    /// A name that would be taken for the beginning of a digest.
    #[error("{0} reads like a digest: choose a name other than sha256 and sha512")]
    LikeADigest(String),
    /// A document in it that is none.
    #[error("{digest}: {source}")]
    Document {
        /// Which blob.
        digest: Digest,
        /// What is wrong with it.
        source: ManifestError,
    },
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
