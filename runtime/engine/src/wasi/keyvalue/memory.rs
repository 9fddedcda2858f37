//! Buckets in memory: a pod's own, shared by its containers, gone with it.
//!
//! What an entry takes is charged to the container that wrote it last, and given back when it is
//! deleted or another one writes it. Beyond the container's limit the write is an error and nothing
//! is written: unlike a process that touches a page, a guest can be told, and can delete something.
//! What a container leaves when it ends is charged to nobody; all buckets of a pod together have a
//! limit too, which bounds that.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

use super::counter::{self, Range};
use super::failure::Failure;
use super::key::{Digest, Key};
use super::limits;
use super::page::Page;
use crate::account::Account;

/// All buckets in memory of one pod. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Pod>);

#[derive(Debug, Default)]
struct Pod {
    buckets: Mutex<BTreeMap<String, Arc<Mutex<Entries>>>>,
    /// Bytes that all of them hold.
    used: AtomicU64,
}

/// One of them, as a container has it open.
#[derive(Debug, Clone)]
pub(super) struct MemoryBucket {
    pod: Memory,
    entries: Arc<Mutex<Entries>>,
    account: Arc<Account>,
}

#[derive(Debug, Default)]
struct Entries {
    by_digest: BTreeMap<Digest, Entry>,
    /// Of the write before.
    version: u64,
}

#[derive(Debug)]
struct Entry {
    key: String,
    value: Bytes,
    version: u64,
    payer: Weak<Account>,
}

// === impl Memory ===

impl Memory {
    /// The bucket of this name, made now if there is none.
    ///
    /// Errors: other, for a name that is too long or one bucket too many.
    pub(super) fn open(&self, name: &str, account: &Arc<Account>) -> Result<MemoryBucket, Failure> {
        if name.len() > limits::NAME {
            return Err(Failure::Other(format!(
                "the bucket's name has {} bytes, and {} is the most",
                name.len(),
                limits::NAME
            )));
        }
        let mut buckets = locked(&self.0.buckets);
        if !buckets.contains_key(name) && buckets.len() >= limits::BUCKETS {
            return Err(Failure::Other(format!(
                "the pod has {} buckets in memory, and no more can be made: open one of those, or one on a volume by its path",
                limits::BUCKETS
            )));
        }
        let entries = buckets.entry(name.to_owned()).or_default();
        Ok(MemoryBucket {
            pod: self.clone(),
            entries: Arc::clone(entries),
            account: Arc::clone(account),
        })
    }

    fn take(&self, bytes: u64) -> Result<(), Failure> {
        let before = self.0.used.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) <= limits::POD {
            return Ok(());
        }
        self.give(bytes);
        Err(Failure::Other(format!(
            "the pod's buckets in memory hold {} MiB, and that is the most: delete keys, or open a bucket on a volume by its path",
            limits::POD >> 20
        )))
    }

    fn give(&self, bytes: u64) {
        self.0.used.fetch_sub(bytes, Relaxed);
    }
}

// === impl MemoryBucket ===

impl MemoryBucket {
    /// The value and its version.
    pub(super) fn get(&self, key: &Key) -> Option<(Bytes, u64)> {
        let entries = locked(&self.entries);
        let entry = entries.by_digest.get(&key.digest)?;
        Some((entry.value.clone(), entry.version))
    }

    pub(super) fn set(&self, key: Key, value: Vec<u8>) -> Result<(), Failure> {
        self.put(&mut locked(&self.entries), key, value)
    }

    pub(super) fn delete(&self, key: &Key) {
        let removed = locked(&self.entries).by_digest.remove(&key.digest);
        if let Some(entry) = removed {
            self.pod.give(entry.cost());
            entry.give_back();
        }
    }

    /// The keys of the next page, and the cursor after it if there are more.
    pub(super) fn list(&self, cursor: Option<u64>) -> (Vec<String>, Option<u64>) {
        let mut page = Page::new(cursor);
        let Some(first) = page.first() else {
            return (Vec::new(), None);
        };
        let entries = locked(&self.entries);
        let from = Bound::Included(Digest::least(first));
        for (digest, _) in entries.by_digest.range((from, Bound::Unbounded)) {
            page.offer(*digest);
            if page.is_full() {
                break;
            }
        }
        let (digests, cursor) = page.finish();
        let found = digests
            .iter()
            .filter_map(|digest| entries.by_digest.get(digest));
        (found.map(|entry| entry.key.clone()).collect(), cursor)
    }

    pub(super) fn increment(&self, key: Key, delta: i128, range: &Range) -> Result<i128, Failure> {
        let mut entries = locked(&self.entries);
        let value = entries
            .by_digest
            .get(&key.digest)
            .map(|entry| &*entry.value);
        let next = counter::next(value, delta, range)?;
        self.put(&mut entries, key, next.to_string().into_bytes())?;
        Ok(next)
    }

    /// Writes if the version is this one; else answers false.
    pub(super) fn swap(
        &self,
        key: Key,
        version: Option<u64>,
        value: Vec<u8>,
    ) -> Result<bool, Failure> {
        let mut entries = locked(&self.entries);
        let now = entries
            .by_digest
            .get(&key.digest)
            .map(|entry| entry.version);
        if now != version {
            return Ok(false);
        }
        self.put(&mut entries, key, value)?;
        Ok(true)
    }

    fn put(&self, entries: &mut Entries, key: Key, value: Vec<u8>) -> Result<(), Failure> {
        let digest = key.digest;
        let entry = Entry {
            key: key.text,
            value: value.into(),
            version: entries.version.wrapping_add(1),
            payer: Arc::downgrade(&self.account),
        };
        let old = entries.by_digest.get(&digest);
        let old_cost = old.map_or(0, Entry::cost);
        let is_ours = old.is_some_and(|old| old.payer.ptr_eq(&entry.payer));
        let ours = if is_ours { old_cost } else { 0 };
        self.pod.take(entry.cost().saturating_sub(old_cost))?;
        if let Err(why) = self.account.take_entry(entry.cost().saturating_sub(ours)) {
            self.pod.give(entry.cost().saturating_sub(old_cost));
            return Err(Failure::Other(why.to_string()));
        }
        self.pod.give(old_cost.saturating_sub(entry.cost()));
        self.account.give_entry(ours.saturating_sub(entry.cost()));
        entries.version = entry.version;
        let old = entries.by_digest.insert(digest, entry);
        if let Some(old) = old.filter(|_| !is_ours) {
            old.give_back();
        }
        Ok(())
    }
}

// === impl Entry ===

impl Entry {
    fn cost(&self) -> u64 {
        let bytes = self.key.len().saturating_add(self.value.len());
        limits::ENTRY.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    fn give_back(&self) {
        if let Some(payer) = self.payer.upgrade() {
            payer.give_entry(self.cost());
        }
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use model::runtime::Limits;

    use super::*;

    fn account(memory: Option<u64>) -> Arc<Account> {
        Arc::new(Account::new(Limits {
            cpu_weight: 100,
            cpu_limit: None,
            memory,
            storage: None,
        }))
    }

    fn key(text: &str) -> Key {
        Key::new(text.to_owned()).expect("a key")
    }

    fn used(account: &Account) -> u64 {
        account.stats().memory
    }

    #[test]
    fn an_entry_is_charged_to_whoever_wrote_it_last() {
        let (memory, one, other) = (Memory::default(), account(None), account(None));
        let bucket = memory.open("b", &one).expect("a bucket");
        let same = memory.open("b", &other).expect("a bucket");
        let entry = |length: u64| limits::ENTRY + 1 + length;
        for (writer, length, charged) in [
            (&bucket, 10, [entry(10), 0]),
            (&bucket, 30, [entry(30), 0]),
            (&bucket, 5, [entry(5), 0]),
            (&same, 7, [0, entry(7)]),
            (&bucket, 7, [entry(7), 0]),
        ] {
            writer.set(key("k"), vec![0; length]).expect("written");
            assert_eq!([used(&one), used(&other)], charged);
            assert_eq!(memory.0.used.load(Relaxed), charged.iter().sum());
        }
        same.delete(&key("k"));
        same.delete(&key("k"));
        assert_eq!((used(&one), memory.0.used.load(Relaxed)), (0, 0));
    }

    #[test]
    fn beyond_the_limit_of_the_container_nothing_is_written() {
        let (memory, small) = (Memory::default(), account(Some(4096)));
        let bucket = memory.open("", &small).expect("a bucket");
        bucket.set(key("k"), vec![1; 1000]).expect("written");
        let Err(Failure::Other(why)) = bucket.set(key("k"), vec![2; 8000]) else {
            panic!("written");
        };
        assert!(why.contains("resources.limits.memory"), "{why}");
        let (value, _) = bucket.get(&key("k")).expect("the old one");
        assert_eq!(*value, [1; 1000]);
        assert!(!small.is_over(), "it goes on");
        let count = (0..1_000_000)
            .take_while(|n| bucket.set(key(&n.to_string()), Vec::new()).is_ok())
            .count();
        assert!(count > 5 && used(&small) <= 4096, "{count}");
    }

    #[test]
    fn what_a_container_leaves_is_the_pods_and_has_a_limit() {
        let memory = Memory::default();
        for round in 0..2 {
            let writer = account(None);
            let bucket = memory.open("b", &writer).expect("a bucket");
            let full = (0..)
                .map(|n| bucket.set(key(&format!("{round} {n}")), vec![0; limits::VALUE]))
                .find_map(Result::err);
            let Some(Failure::Other(why)) = full else {
                panic!("no text");
            };
            assert!(why.contains("on a volume"), "{why}");
            assert!(memory.0.used.load(Relaxed) <= limits::POD);
        }
        let later = account(None);
        let bucket = memory.open("b", &later).expect("a bucket");
        bucket.delete(&key("0 1"));
        bucket.set(key("k"), vec![0; 1000]).expect("there is room");
        assert_eq!(used(&later), limits::ENTRY + 1001);
    }

    #[test]
    fn names_and_numbers_of_buckets_are_limited() {
        let (memory, writer) = (Memory::default(), account(None));
        assert!(memory.open(&"n".repeat(limits::NAME + 1), &writer).is_err());
        for n in 0..limits::BUCKETS {
            assert!(memory.open(&n.to_string(), &writer).is_ok());
        }
        assert!(memory.open("one more", &writer).is_err());
        assert!(memory.open("0", &writer).is_ok(), "it is there");
    }

    #[test]
    fn two_writers_lose_no_step() {
        let (memory, writer) = (Memory::default(), account(None));
        let range = 0..=i128::from(u64::MAX);
        let steps = 2000;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let bucket = memory.open("b", &writer).expect("a bucket");
                    for _ in 0..steps {
                        bucket.increment(key("n"), 1, &range).expect("counted");
                        swap_until_done(&bucket);
                    }
                });
            }
        });
        let bucket = memory.open("b", &writer).expect("a bucket");
        for name in ["n", "cas"] {
            let (value, _) = bucket.get(&key(name)).expect("a number");
            assert_eq!(*value, *(2 * steps).to_string().as_bytes(), "{name}");
        }
    }

    fn swap_until_done(bucket: &MemoryBucket) {
        loop {
            let now = bucket.get(&key("cas"));
            let text = now.as_ref().map(|(value, _)| &value[..]);
            let next = counter::next(text, 1, &(0..=i128::MAX)).expect("a number");
            let version = now.as_ref().map(|(_, version)| *version);
            let next = next.to_string().into_bytes();
            if bucket.swap(key("cas"), version, next).expect("room") {
                return;
            }
        }
    }

    #[test]
    fn pages_show_every_key_once() {
        let (memory, writer) = (Memory::default(), account(None));
        let bucket = memory.open("b", &writer).expect("a bucket");
        for n in 0..2500 {
            bucket.set(key(&n.to_string()), Vec::new()).expect("room");
        }
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let (keys, next) = bucket.list(cursor);
            all.extend(keys);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        let mut all: Vec<u32> = all.iter().map(|key| key.parse().expect("ours")).collect();
        all.sort_unstable();
        assert_eq!(all, (0..2500).collect::<Vec<_>>());
        assert_eq!(bucket.list(Some(u64::MAX)), (Vec::new(), None));
    }
}
