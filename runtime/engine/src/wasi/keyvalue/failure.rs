//! Why a call failed, before it is one of the versions' errors.

use volume::FsError;
use wasmtime::component::ResourceTableError;

/// Why a guest's call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no such bucket and there can be none.
    NoSuchStore,
    /// The bucket is read-only.
    AccessDenied,
    /// Anything else, told with the remedy.
    Other(String),
    /// The guest used a handle that it does not have: its end.
    Trap(wasmtime::Error),
}

/// Why work on files failed: the guest's mistake, or what the file system said.
#[derive(Debug)]
pub(super) enum FileFailure {
    /// The file system's.
    Files(FsError),
    /// The guest's.
    Guest(Failure),
}

// === impl Failure ===

impl Failure {
    /// What the file system said of the bucket at a path.
    pub(super) fn of_files(path: &str, error: FsError) -> Self {
        let remedy = match error {
            FsError::ReadOnly | FsError::Access | FsError::NotPermitted => {
                return Self::AccessDenied;
            }
            FsError::InsufficientSpace | FsError::Quota => {
                ": delete keys, or raise the volume's sizeLimit; overwriting needs room for the old \
                 value and the new one at once, and a pod that comes over the limit is evicted \
                 unless the volume's medium is Memory"
            }
            FsError::NotDirectory | FsError::Loop => {
                ": something else lies where the bucket keeps its files"
            }
            FsError::NoLock | FsError::Unsupported => {
                ": the bucket needs a file system that has locks"
            }
            _ => "",
        };
        Self::Other(format!("bucket {path}: {error}{remedy}"))
    }
}

impl From<ResourceTableError> for Failure {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

// === impl FileFailure ===

impl From<FsError> for FileFailure {
    fn from(error: FsError) -> Self {
        Self::Files(error)
    }
}

impl From<Failure> for FileFailure {
    fn from(failure: Failure) -> Self {
        Self::Guest(failure)
    }
}
