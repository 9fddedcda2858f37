//! What a layer has added, so that its own whiteouts leave it.
//!
//! A path is kept as a part of its hash, and counted: a tar of a few MiB can name more text than
//! there is memory.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use sha2::{Digest as _, Sha256};

use crate::decompress::OverLimit;

/// Enough of a hash that nobody finds two paths with the same.
type Key = [u8; 16];

/// The paths of a layer, and all directories on them.
pub(super) struct Added {
    keys: HashSet<Key>,
    /// Directories that an opaque whiteout was met in: nothing of lower layers is in them any more.
    cleared: HashSet<u64>,
    /// How many may be kept: links can give one directory any number of paths.
    limit: u64,
}

// === impl Added ===

impl Added {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            keys: HashSet::new(),
            cleared: HashSet::new(),
            limit,
        }
    }

    /// Whether a directory, told by its inode, is to be cleared: once in a layer, or a small layer
    /// could have a large directory listed for ever.
    pub(super) fn begins_to_clear(&mut self, inode: u64) -> bool {
        self.cleared.insert(inode)
    }

    pub(super) fn insert(&mut self, path: &[OsString]) -> io::Result<()> {
        // Where a path is kept, those above it are too.
        for length in (1..=path.len()).rev() {
            if !self
                .keys
                .insert(key(path.get(..length).unwrap_or_default()))
            {
                break;
            }
        }
        match self.keys.len() as u64 > self.limit {
            true => Err(too_many(self.limit)),
            false => Ok(()),
        }
    }

    pub(super) fn contains(&self, path: &[OsString]) -> bool {
        self.keys.contains(&key(path))
    }
}

/// That there are more entries than this.
pub(super) fn too_many(limit: u64) -> io::Error {
    let what = "entries";
    io::Error::other(OverLimit { what, limit })
}

fn key(path: &[OsString]) -> Key {
    let mut hasher = Sha256::new();
    for name in path {
        hasher.update(name.as_bytes());
        hasher.update(b"/");
    }
    let mut key = Key::default();
    let hash = hasher.finalize();
    key.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<OsString> {
        text.split('/').map(OsString::from).collect()
    }

    #[test]
    fn a_path_and_those_above_it_are_kept_and_counted() {
        let mut added = Added::new(4);
        added.insert(&path("a/b/c")).expect("few");
        added.insert(&path("a/b/d")).expect("few");
        for (text, wanted) in [("a", true), ("a/b", true), ("a/b/d", true), ("b", false)] {
            assert_eq!(added.contains(&path(text)), wanted, "{text}");
        }
        assert!(!added.contains(&path("ab")) && !added.contains(&path("a/bc")));
        assert!(added.insert(&path("a/b/e")).is_err());
    }
}
