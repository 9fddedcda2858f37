//! What a volume may hold: a ledger of bytes and entries, and who is told when it is full.
//!
//! The rule of counting: the sum of the sizes of all regular files, each object once however many
//! names it has, a removed file as long as it is open. Holes count as if they were filled, so that
//! one `set_size` cannot promise what the disk does not have; directories and links count no
//! bytes. Besides bytes the number of entries is limited, because empty files cost the node too.
//!
//! The ledger follows every change that guests make through this crate. What others change (a
//! native container in the same pod) it learns by counting anew: at first use, when it would
//! refuse, and when asked.
//!
//! Nothing here makes a system call; `counted` does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use crate::charges::{Charges, Payer};

/// A volume has refused to grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitExceeded {
    /// Which one.
    pub place: LimitedPlace,
    /// What it would have had too much of.
    pub resource: LimitedResource,
    /// Its limit in bytes.
    pub limit: u64,
    /// What it held when it refused, in bytes.
    pub used: u64,
}

/// What has a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitedPlace {
    /// A volume of the pod, by name (`emptyDir.sizeLimit`).
    Volume(String),
    /// What a container writes outside volumes, by the key of its [`crate::RootSpec`]
    /// (`limits.ephemeral-storage`).
    Container(String),
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedResource {
    /// Bytes: the limit that the pod's author gave. Kubelet evicts the pod for them.
    Bytes,
    /// Files, directories and links: a bound of ours.
    Entries,
}

/// Whoever wants to know; shared by all volumes of a pod.
#[derive(Default)]
pub(crate) struct Observer {
    tell: OnceLock<Box<dyn Fn(LimitExceeded) + Send + Sync>>,
}

/// What one limited volume holds.
pub(crate) struct Ledger {
    limit: u64,
    entry_limit: u64,
    books: RwLock<Books>,
    told_bytes: AtomicBool,
    told_entries: AtomicBool,
}

/// The figures, and the files that are open.
#[derive(Debug, Default)]
pub(crate) struct Books {
    bytes: u64,
    entries: u64,
    counted: Option<Count>,
    open: HashMap<Inode, OpenCount>,
    /// Who has paid, where the volume is in memory.
    charges: Charges,
}

/// When the files were last counted, and how long that took.
#[derive(Debug, Clone, Copy)]
struct Count {
    ended: Instant,
    took: Duration,
}

/// Device and inode number: one object.
pub(crate) type Inode = (u64, u64);

/// What a count of the files found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Measure {
    /// Sum of sizes.
    pub(crate) bytes: u64,
    /// Files, directories and links.
    pub(crate) entries: u64,
}

/// How often a file is open, and whether its last name is gone.
#[derive(Debug, Default)]
struct OpenCount {
    handles: usize,
    /// What it held when its last name went; it is brought up to date while it grows or shrinks.
    nameless: Option<u64>,
}

/// One entry for every this many bytes of the limit, as a tmpfs has one inode per page.
pub const BYTES_PER_ENTRY: u64 = 4096;
/// But never fewer than this, so that a small volume can hold small files.
const FEWEST_ENTRIES: u64 = 1024;
/// A full volume is counted anew at most this often: the guest asks, the node pays.
const RECOUNT_PAUSE: Duration = Duration::from_secs(1);
/// And after so many times what the last count took, so that counting is a small part of the work.
const RECOUNT_SHARE: u32 = 20;

// === impl Observer ===

impl Observer {
    /// Sets who is told; the first one stays.
    pub(crate) fn set(&self, tell: Box<dyn Fn(LimitExceeded) + Send + Sync>) {
        if self.tell.set(tell).is_err() {
            tracing::warn!("a pod's volumes were given a second observer; the first one stays");
        }
    }

    /// Tells it.
    pub(crate) fn tell(&self, exceeded: LimitExceeded) {
        if let Some(tell) = self.tell.get() {
            tell(exceeded);
        }
    }
}

// === impl Ledger ===

impl Ledger {
    /// A ledger for a volume that may hold `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            entry_limit: (limit / BYTES_PER_ENTRY).max(FEWEST_ENTRIES),
            books: RwLock::default(),
            told_bytes: AtomicBool::new(false),
            told_entries: AtomicBool::new(false),
        }
    }

    /// The limit in bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Holds the figures still while a call does not change sizes.
    pub(crate) fn shared(&self) -> RwLockReadGuard<'_, Books> {
        self.books.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the figures while a call changes sizes.
    pub(crate) fn exclusive(&self) -> RwLockWriteGuard<'_, Books> {
        self.books.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is the first refusal for want of it.
    pub(crate) fn first_refusal(&self, resource: LimitedResource) -> bool {
        let told = match resource {
            LimitedResource::Bytes => &self.told_bytes,
            LimitedResource::Entries => &self.told_entries,
        };
        !told.swap(true, Ordering::Relaxed)
    }

    /// Whether `bytes` and `entries` more fit; counts anew with `measure` where that may help.
    pub(crate) fn admits(
        &self,
        books: &mut Books,
        bytes: u64,
        entries: u64,
        now: Instant,
        measure: impl Fn() -> Option<Measure>,
    ) -> bool {
        if books.counted.is_none() {
            books.recount(now, &measure);
        }
        if !self.fits(books, bytes, entries) && books.is_stale(now) {
            books.recount(now, &measure);
        }
        self.fits(books, bytes, entries)
    }

    fn fits(&self, books: &Books, bytes: u64, entries: u64) -> bool {
        let bytes_fit = bytes == 0 || books.bytes.saturating_add(bytes) <= self.limit;
        let entries_fit = entries == 0 || books.entries.saturating_add(entries) <= self.entry_limit;
        bytes_fit && entries_fit
    }
}

// === impl Books ===

impl Books {
    /// Bytes held now.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A file went from one size to another; `payer` has taken what it grew by.
    pub(crate) fn resized(
        &mut self,
        inode: Inode,
        (from, to): (u64, u64),
        payer: Option<&Arc<dyn Payer>>,
    ) {
        match payer {
            Some(payer) if to > from => self.charges.grew(inode, payer, to - from),
            _ => self.charges.shrank(inode, from.saturating_sub(to)),
        }
        self.bytes = self.bytes.saturating_add(to).saturating_sub(from);
        if let Some(size) = self
            .open
            .get_mut(&inode)
            .and_then(|open| open.nameless.as_mut())
        {
            *size = to;
        }
    }

    /// An entry was made.
    pub(crate) fn entered(&mut self) {
        self.entries = self.entries.saturating_add(1);
    }

    /// An entry went that leaves its object behind, or that had no bytes.
    pub(crate) fn left(&mut self) {
        self.entries = self.entries.saturating_sub(1);
    }

    /// The last name of a file went; its bytes are free once nobody has it open.
    pub(crate) fn unnamed(&mut self, inode: Inode, size: u64) {
        match self.open.get_mut(&inode) {
            Some(open) => open.nameless = Some(size),
            None => {
                self.bytes = self.bytes.saturating_sub(size);
                self.charges.gone(inode);
            }
        }
    }

    /// A file was opened. `nameless`: its last name went before this was called, so its bytes
    /// were given back too early.
    pub(crate) fn opened(&mut self, inode: Inode, size: u64, nameless: bool) {
        let open = self.open.entry(inode).or_default();
        open.handles += 1;
        if nameless && open.nameless.is_none() {
            open.nameless = Some(size);
            if open.handles == 1 {
                self.bytes = self.bytes.saturating_add(size);
            }
        }
    }

    /// A file was closed.
    pub(crate) fn closed(&mut self, inode: Inode) {
        let Some(open) = self.open.get_mut(&inode) else {
            return;
        };
        open.handles = open.handles.saturating_sub(1);
        if open.handles > 0 {
            return;
        }
        let nameless = open.nameless;
        self.open.remove(&inode);
        if let Some(size) = nameless {
            self.bytes = self.bytes.saturating_sub(size);
            self.charges.gone(inode);
        }
    }

    /// Takes over what a count finds; what has no name any more is not in it. Without a figure the
    /// old ones stay.
    pub(crate) fn recount(&mut self, now: Instant, measure: impl Fn() -> Option<Measure>) {
        let begun = Instant::now();
        let measured = measure();
        let took = begun.elapsed();
        let ended = now + took;
        self.counted = Some(Count { ended, took });
        if let Some(measure) = measured {
            let nameless: u64 = self.open.values().filter_map(|open| open.nameless).sum();
            self.bytes = measure.bytes.saturating_add(nameless);
            self.entries = measure.entries;
        }
    }

    fn is_stale(&self, now: Instant) -> bool {
        self.counted.is_none_or(|count| {
            let pause = RECOUNT_PAUSE.max(count.took.saturating_mul(RECOUNT_SHARE));
            now.saturating_duration_since(count.ended) >= pause
        })
    }
}

#[cfg(test)]
mod tests;
