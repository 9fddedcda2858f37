//! The entries of a directory, read some at a time: one switch of thread for so many.

use std::collections::VecDeque;

use volume::{DirEntry, FsError, Listing, Node};

use super::{FileCall, Files};
use crate::account::Held;

/// Entries that are read at once.
const ENTRIES_AHEAD: usize = 64;

/// What an open listing costs the host: the entries that it keeps to go back to, with names of
/// usual length.
const LISTING: usize = 64 << 10;

/// An open listing with what was read ahead. It counts as the guest's memory.
pub(crate) struct Entries {
    listing: Listing,
    ahead: VecDeque<Result<DirEntry, FsError>>,
    _held: Held,
}

// === impl Files ===

impl Files {
    /// Begins to list a directory, its first entries read.
    pub(crate) fn list(&self, directory: &Node) -> FileCall<Entries> {
        let (directory, held) = (directory.clone(), self.hold(LISTING));
        self.spawn(move || {
            let entries = Entries {
                _held: held?,
                listing: directory.read_dir()?,
                ahead: VecDeque::new(),
            };
            Ok(entries.filled())
        })
    }

    /// Begins to read on.
    pub(crate) fn list_on(&self, entries: Entries) -> FileCall<Entries> {
        self.spawn(move || Ok(entries.filled()))
    }
}

// === impl Entries ===

impl Entries {
    /// The next entry that was read ahead; none where the next ones have to be read.
    pub(crate) fn next_read(&mut self) -> Option<Result<DirEntry, FsError>> {
        self.ahead.pop_front()
    }

    /// With more read ahead, if there is more.
    fn filled(mut self) -> Self {
        let listing = &mut self.listing;
        let entries = std::iter::from_fn(|| listing.next().transpose());
        self.ahead.extend(entries.take(ENTRIES_AHEAD));
        self
    }
}
