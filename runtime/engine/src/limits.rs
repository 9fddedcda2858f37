//! Memory of one instance, charged to its container's account; and of all of a server together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wasmtime::ResourceLimiter;

use crate::account::{Account, TABLE_ELEMENT};

/// Memories and tables of one instance: composed components have a few, an attack has thousands.
const MEMORIES: usize = 100;
/// Core instances of one instance, as in wasmtime's own defaults.
const INSTANCES: usize = 10_000;

/// Counts growth and refuses it over the limit. What was taken is given back when it is dropped
/// with its store.
#[derive(Debug)]
pub(crate) struct Limiter {
    account: Arc<Account>,
    taken: u64,
    /// Where it counts too.
    tally: Option<Arc<Tally>>,
}

/// What the instances of a server take, kept as they grow and go: for whoever decides whether there
/// is room for another.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    instances: AtomicU64,
    /// What all of them hold together.
    bytes: AtomicU64,
    /// What one may take, by those of late.
    size: AtomicU64,
}

/// The part of the difference, one in so many, by which an instance that ends smaller than others
/// did lowers what one may take: the largest counts for some fifty further ones, and not for ever.
const FORGETTING: u64 = 16;

// === impl Limiter ===

impl Limiter {
    pub(crate) fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            taken: 0,
            tally: None,
        }
    }

    /// Has it count in a tally too. It has taken nothing yet.
    pub(crate) fn count_in(&mut self, tally: &Arc<Tally>) {
        tally.begins();
        self.tally = Some(Arc::clone(tally));
    }

    /// Bytes of its memories and tables.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whose memory it is.
    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// An error here traps the guest: over its limit a container is killed, as by the kernel,
    /// rather than told that memory is short.
    fn grow(&mut self, more: usize) -> wasmtime::Result<bool> {
        let more = u64::try_from(more)?;
        self.account.grow(more)?;
        self.taken += more;
        if let Some(tally) = &self.tally {
            tally.grows(more, self.taken);
        }
        Ok(true)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(desired.saturating_sub(current))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(
            desired
                .saturating_sub(current)
                .saturating_mul(TABLE_ELEMENT),
        )
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        MEMORIES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        // First, so that whoever hears of the memory does not find the instance any more.
        if let Some(tally) = &self.tally {
            tally.goes(self.taken);
        }
        self.account.shrink(self.taken);
    }
}

// === impl Tally ===

impl Tally {
    /// How many there are.
    pub(crate) fn instances(&self) -> u64 {
        self.instances.load(Relaxed)
    }

    /// Bytes that they hold together.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Bytes that one may come to hold: what the largest did, unless that is long ago.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Relaxed)
    }

    /// One has done what it was made for, and held so much.
    pub(crate) fn done(&self, bytes: u64) {
        let size = self.size();
        if bytes < size {
            let lower = size - (size - bytes) / FORGETTING;
            // Whoever was quicker has learned as much.
            let _ = self.size.compare_exchange(size, lower, Relaxed, Relaxed);
        }
    }

    /// It is doubted that one may come to hold so much: it may be nearer to what those hold that
    /// are there.
    pub(crate) fn doubt(&self) {
        let size = self.size();
        if let Some(mean) = self.bytes().checked_div(self.instances())
            && mean < size
        {
            let lower = size - (size - mean) / 2;
            let _ = self.size.compare_exchange(size, lower, Relaxed, Relaxed);
        }
    }

    fn begins(&self) {
        self.instances.fetch_add(1, Relaxed);
    }

    /// One has grown, to so much.
    fn grows(&self, more: u64, bytes: u64) {
        self.bytes.fetch_add(more, Relaxed);
        if self.size() < bytes {
            self.size.fetch_max(bytes, Relaxed);
        }
    }

    fn goes(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Relaxed);
        self.instances.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use model::runtime::Limits;

    use super::*;

    fn limiter(tally: &Arc<Tally>) -> Limiter {
        let mut limiter = Limiter::new(Arc::new(Account::new(Limits {
            cpu_weight: 500,
            cpu_limit: None,
            memory: Some(1000),
            storage: None,
        })));
        limiter.count_in(tally);
        limiter
    }

    #[test]
    fn what_instances_hold_is_known_while_they_grow_and_until_they_go() {
        let tally = Arc::<Tally>::default();
        let (mut one, mut two) = (limiter(&tally), limiter(&tally));
        let known = || (tally.instances(), tally.bytes(), tally.size());
        assert_eq!(known(), (2, 0, 0));
        assert!(one.memory_growing(0, 100, None).unwrap());
        assert!(two.memory_growing(0, 300, None).unwrap());
        assert!(one.memory_growing(100, 150, None).unwrap());
        assert_eq!(known(), (2, 450, 300));
        assert!(one.memory_growing(150, 2000, None).is_err());
        assert_eq!(known(), (2, 450, 300), "what it is refused it has not");
        drop(two);
        assert_eq!(known(), (1, 150, 300));
        drop(one);
        assert_eq!(known(), (0, 0, 300), "the next one may be as large");
    }

    #[test]
    fn one_that_was_large_is_not_remembered_for_ever() {
        let tally = Tally::default();
        tally.grows(1600, 1600);
        tally.done(1600);
        assert_eq!(tally.size(), 1600);
        tally.done(0);
        assert_eq!(tally.size(), 1500);
        for _ in 0..100 {
            tally.done(200);
        }
        assert!((200..220).contains(&tally.size()), "{}", tally.size());
        tally.grows(900, 900);
        assert_eq!(tally.size(), 900, "at once");
    }

    #[test]
    fn what_is_doubted_comes_nearer_to_what_there_is() {
        let tally = Tally::default();
        tally.grows(900, 900);
        tally.doubt();
        assert_eq!(tally.size(), 900, "there is none to compare with");
        tally.begins();
        tally.begins();
        tally.goes(700);
        tally.begins();
        tally.doubt();
        assert_eq!((tally.bytes(), tally.size()), (200, 500));
        tally.grows(1800, 900);
        tally.doubt();
        assert_eq!(tally.size(), 900, "they are as large");
    }
}
