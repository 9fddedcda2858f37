//! What goes on while an image is fetched, pushed or unpacked, for whoever wants to show it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::digest::Digest;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The reference leads to this manifest; these bytes are to be had in all.
    Resolved {
        /// Of the manifest that was chosen.
        digest: Digest,
        /// All blobs of the image, in bytes.
        size: u64,
    },
    /// A blob is here already.
    Present(Digest, u64),
    /// A blob that is here is held against its digest.
    Hashing(Digest),
    /// Another task or process fetches this blob: we wait for it.
    Waiting(Digest),
    /// A blob's transfer begins, at this byte.
    Begun {
        /// Which one.
        digest: Digest,
        /// Its size.
        size: u64,
        /// How much of it was there.
        from: u64,
    },
    /// So many bytes more of a blob.
    Advanced(Digest, u64),
    /// A blob is whole.
    Done(Digest),
    /// A request failed and is tried again after this time.
    Retrying {
        /// How long we wait.
        after: Duration,
        /// What went wrong.
        why: String,
    },
    /// Layers are being unpacked: this one of so many.
    Unpacking(usize, usize),
}

/// Somebody who is told. Clones tell the same.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Step) + Send + Sync>>);

// === impl Progress ===

impl Progress {
    /// Tells nobody.
    pub fn none() -> Self {
        Self(None)
    }

    /// Calls this for every step. It must not block.
    pub fn to(tell: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    pub(crate) fn tell(&self, step: Step) {
        if let Some(tell) = &self.0 {
            tell(step);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.0.is_some()).finish()
    }
}
