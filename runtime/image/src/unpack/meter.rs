//! How much came out of a layer, and what it hashes to.

use std::io::{self, Read};

use crate::decompress::OverLimit;
use crate::digest::{Algorithm, Digest, Hasher};

/// A reader that counts and hashes what it gives, and ends with an error where it is too much.
pub(super) struct Meter<R> {
    inner: R,
    given: u64,
    limit: u64,
    hasher: Option<Hasher>,
}

// === impl Meter ===

impl<R: Read> Meter<R> {
    /// Lets this many bytes through.
    pub(super) fn new(inner: R, limit: u64, algorithm: Option<Algorithm>) -> Self {
        Self {
            inner,
            given: 0,
            limit,
            hasher: algorithm.map(Hasher::new),
        }
    }

    /// The digest of all that came.
    pub(super) fn digest(self) -> Option<Digest> {
        self.hasher.map(Hasher::finish)
    }
}

impl<R: Read> Read for Meter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.given = self.given.saturating_add(read as u64);
        if self.given > self.limit {
            return Err(io::Error::other(OverLimit {
                what: "bytes once decompressed, for their size",
                limit: self.limit,
            }));
        }
        if let (Some(hasher), Some(bytes)) = (&mut self.hasher, buffer.get(..read)) {
            hasher.update(bytes);
        }
        Ok(read)
    }
}
