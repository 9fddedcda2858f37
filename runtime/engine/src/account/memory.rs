//! What a container has used of memory: its instances' own, files that it wrote to volumes in memory,
//! and entries that it wrote to key-value buckets in memory.
//!
//! At the limit all instances of the container are ended, those of exec too, whichever of them
//! asked for more and for whatever: so kubelet has the kernel do it with a container's processes
//! (`memory.oom.group`). Where a file was to grow that is done here, before the write answers.
//! Where a guest's own memory was, it is done once that guest has ended of it: a refusal alone does
//! not say so, because a guest with garbage collects and tries again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use model::quantity::memory_text;
use model::runtime::Exit;
use tokio::sync::Notify;
use volume::{OverLimit, Payer};

use super::Account;

/// Bytes that one table element costs the host.
pub const TABLE_ELEMENT: usize = size_of::<usize>();

/// The reason of every end for want of memory, and of no other.
pub(crate) const OOM_KILLED: &str = "OOMKilled";

/// Ends an instance whose account has no memory left.
pub(crate) trait Victim: Send + Sync {
    /// Ends it at the next chance, as this tells.
    fn end(&self, exit: Exit);
}

/// Use and limit of one container.
#[derive(Default)]
pub(super) struct Memory {
    /// Bytes, 0 for no limit.
    limit: AtomicU64,
    used: AtomicU64,
    peak: AtomicU64,
    /// How much of it lies in files of volumes in memory.
    in_files: AtomicU64,
    /// How much of it lies in key-value buckets in memory.
    in_buckets: AtomicU64,
    /// Whether its instances were ended for want of it.
    is_over: AtomicBool,
    /// What somebody waits for it to fall to; 0 while nobody does.
    awaited: AtomicU64,
    /// It has fallen to that, or the limit is another.
    fallen: Notify,
    /// The instances that run on it; those that have ended are gone.
    victims: Mutex<Vec<Weak<dyn Victim>>>,
}

/// Somebody who waits for it to fall, until this is dropped.
struct Awaited<'a>(&'a AtomicU64);

/// A request for memory that the container's limit forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the container asked for {} of memory in all{}{}, over its limit of {} (peak {}): raise resources.limits.memory or use less",
    memory_text(*.wanted), of_files(*.in_files), of_buckets(*.in_buckets), memory_text(*.limit), memory_text(*.peak)
)]
pub struct OutOfMemory {
    /// What it would have used.
    pub wanted: u64,
    /// What it may use.
    pub limit: u64,
    /// The most it had used.
    pub peak: u64,
    /// How much of that is files that it wrote to volumes in memory.
    pub in_files: u64,
    /// How much of it is keys and values that it wrote to buckets in memory.
    pub in_buckets: u64,
}

/// The part of its limit that a container keeps for its program when buckets fill the rest: else
/// the next page that the program takes would be its end.
const RESERVE: u64 = 16;

/// An entry of a bucket that the container's limit forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the container uses {} of its limit of {}, {} of it in key-value buckets, which leave a sixteenth to the program: delete keys, or raise resources.limits.memory",
    memory_text(*.used), memory_text(*.limit), memory_text(*.in_buckets)
)]
pub(crate) struct NoRoom {
    used: u64,
    limit: u64,
    in_buckets: u64,
}

/// Memory that the host keeps for a container, which counts as the container's until this is
/// dropped: a guest with many calls under way could else have it keep any amount.
#[derive(Debug)]
pub(crate) struct Held {
    account: Arc<Account>,
    bytes: u64,
}

// === impl Memory ===

impl Memory {
    pub(super) fn set_limit(&self, limit: Option<u64>) {
        self.limit.store(limit.unwrap_or(0), Relaxed);
        if self.awaited.load(SeqCst) > 0 {
            self.fallen.notify_one();
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }

    fn grow(&self, more: u64) -> Result<(), OutOfMemory> {
        let limit = self.limit.load(Relaxed);
        let before = self.used.fetch_add(more, Relaxed);
        let wanted = before.saturating_add(more);
        if limit != 0 && wanted > limit {
            self.used.fetch_sub(more, Relaxed);
            return Err(OutOfMemory {
                wanted,
                limit,
                peak: self.peak(),
                in_files: self.in_files.load(Relaxed),
                in_buckets: self.in_buckets.load(Relaxed),
            });
        }
        self.peak.fetch_max(wanted, Relaxed);
        Ok(())
    }

    fn victims(&self) -> MutexGuard<'_, Vec<Weak<dyn Victim>>> {
        self.victims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Account ===

impl Account {
    /// Takes memory, or says why not.
    pub(crate) fn grow(&self, more: u64) -> Result<(), OutOfMemory> {
        self.memory.grow(more)
    }

    /// Gives memory back.
    pub(crate) fn shrink(&self, less: u64) {
        let memory = &self.memory;
        // In one order with what `falls_to` does, so that one of the two sees the other.
        let left = memory.used.fetch_sub(less, SeqCst).saturating_sub(less);
        let awaited = memory.awaited.load(SeqCst);
        if awaited > 0 && left <= awaited {
            memory.fallen.notify_one();
        }
    }

    /// Waits until no more than so many bytes are used, or the limit is another. May end before:
    /// whoever needs it asks again. One at a time may wait.
    pub(crate) async fn falls_to(&self, bytes: u64) {
        let memory = &self.memory;
        memory.awaited.store(bytes, SeqCst);
        let _awaited = Awaited(&memory.awaited);
        if memory.used.load(SeqCst) > bytes {
            memory.fallen.notified().await;
        }
    }

    /// Takes memory for what the host keeps for an instance. Where there is none left, all
    /// instances are ended.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Result<Held, OverLimit> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Held::of(self, bytes).map_err(|why| {
            self.end_all(&why.exit());
            OverLimit
        })
    }

    /// Takes memory for an entry of a bucket, or says why not. Unlike for a file nobody is ended: the
    /// guest is told, and something is left of its limit, so that it can go on.
    pub(crate) fn take_entry(&self, bytes: u64) -> Result<(), NoRoom> {
        let memory = &self.memory;
        let limit = memory.limit.load(Relaxed);
        let used = memory.used.load(Relaxed);
        let is_left = limit == 0 || used.saturating_add(bytes) <= limit - limit / RESERVE;
        if !is_left || self.grow(bytes).is_err() {
            return Err(NoRoom {
                used,
                limit,
                in_buckets: memory.in_buckets.load(Relaxed),
            });
        }
        memory.in_buckets.fetch_add(bytes, Relaxed);
        Ok(())
    }

    /// Gives back what an entry of a bucket took.
    pub(crate) fn give_entry(&self, bytes: u64) {
        self.memory.in_buckets.fetch_sub(bytes, Relaxed);
        self.shrink(bytes);
    }

    /// Ends this one too when the account has no memory left.
    pub(crate) fn add_victim(&self, victim: Weak<dyn Victim>) {
        let mut victims = self.memory.victims();
        victims.retain(|victim| victim.strong_count() > 0);
        victims.push(victim);
    }

    /// Ends all instances that run on it, as one that has no memory left has ended.
    pub(crate) fn end_all(&self, exit: &Exit) {
        self.memory.is_over.store(true, Relaxed);
        // Taken out, so that nothing is called under the lock.
        let victims = std::mem::take(&mut *self.memory.victims());
        for victim in victims.iter().filter_map(Weak::upgrade) {
            victim.end(exit.clone());
        }
    }

    /// The container's limit in bytes, if it has one.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        let limit = self.memory.limit.load(Relaxed);
        (limit > 0).then_some(limit)
    }

    /// Whether its instances were ended because there was no memory left.
    pub(crate) fn is_over(&self) -> bool {
        self.memory.is_over.load(Relaxed)
    }
}

impl Payer for Account {
    fn take(&self, bytes: u64) -> Result<(), OverLimit> {
        self.memory.in_files.fetch_add(bytes, Relaxed);
        let Err(why) = self.grow(bytes) else {
            return Ok(());
        };
        self.memory.in_files.fetch_sub(bytes, Relaxed);
        self.end_all(&why.exit());
        Err(OverLimit)
    }

    fn give(&self, bytes: u64) {
        self.memory.in_files.fetch_sub(bytes, Relaxed);
        self.shrink(bytes);
    }
}

// === impl Awaited ===

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.store(0, SeqCst);
    }
}

// === impl Held ===

impl Held {
    /// Of nothing yet.
    pub(crate) fn new(account: Arc<Account>) -> Self {
        Self { account, bytes: 0 }
    }

    /// Takes so many bytes at once.
    pub(crate) fn of(account: &Arc<Account>, bytes: u64) -> Result<Self, OutOfMemory> {
        let mut held = Self::new(Arc::clone(account));
        held.set(bytes)?;
        Ok(held)
    }

    /// Takes more, or gives back, until it is so many bytes. Over the limit it stays as it was.
    pub(crate) fn set(&mut self, bytes: u64) -> Result<(), OutOfMemory> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.account.grow(more)?,
            None => self.account.shrink(self.bytes.saturating_sub(bytes)),
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.shrink(self.bytes);
    }
}

// === impl OutOfMemory ===

impl OutOfMemory {
    /// How a container ends of it.
    pub(crate) fn exit(&self) -> Exit {
        killed(self.to_string())
    }
}

/// An end for want of memory: 128 + SIGKILL.
pub(crate) fn killed(message: String) -> Exit {
    Exit {
        code: 137,
        reason: OOM_KILLED.to_owned(),
        message,
    }
}

/// What files take, if they take anything.
fn of_files(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        bytes => format!(
            ", {} of it files in volumes of medium Memory",
            memory_text(bytes)
        ),
    }
}

/// What entries of buckets take, if they take anything.
fn of_buckets(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        bytes => format!(", {} of it in key-value buckets", memory_text(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use model::runtime::Limits;

    use super::*;

    fn account(memory: u64) -> Account {
        Account::new(Limits {
            cpu_weight: 500,
            cpu_limit: None,
            memory: Some(memory),
            storage: None,
        })
    }

    #[test]
    fn memory_over_the_limit_is_refused_and_told() {
        let account = account(100);
        assert_eq!(account.grow(60), Ok(()));
        assert_eq!(
            account.grow(60),
            Err(OutOfMemory {
                wanted: 120,
                limit: 100,
                peak: 60,
                in_files: 0,
                in_buckets: 0,
            })
        );
        assert!(!account.is_over(), "it may collect garbage and try again");
        account.shrink(60);
        assert_eq!(account.grow(100), Ok(()));
        assert_eq!(account.stats().memory_peak, 100);
    }

    #[derive(Default)]
    struct Ended(Mutex<Option<Exit>>);

    impl Victim for Ended {
        fn end(&self, exit: Exit) {
            *self.0.lock().unwrap() = Some(exit);
        }
    }

    #[test]
    fn files_in_memory_count_with_the_rest_and_end_all_instances() {
        let account = account(10 << 20);
        let instances = [(); 2].map(|()| Arc::new(Ended::default()));
        for instance in &instances {
            let weak = Arc::downgrade(instance);
            account.add_victim(weak);
        }
        assert_eq!(account.grow(4 << 20), Ok(()));
        assert_eq!(account.take(5 << 20), Ok(()));
        assert_eq!(account.stats().memory, 9 << 20);
        account.give(1 << 20);
        assert!(instances.iter().all(|it| it.0.lock().unwrap().is_none()));
        assert!(!account.is_over());
        assert_eq!(account.take(3 << 20), Err(OverLimit));
        assert!(account.is_over());
        for instance in instances {
            let exit = instance.0.lock().unwrap().take().expect("an end");
            assert_eq!((exit.code, &*exit.reason), (137, OOM_KILLED));
            assert_eq!(
                exit.message,
                "the container asked for 11.0 MiB of memory in all, 7.0 MiB of it files in volumes \
                 of medium Memory, over its limit of 10.0 MiB (peak 9.0 MiB): raise \
                 resources.limits.memory or use less"
            );
        }
        assert_eq!(account.stats().memory, 8 << 20, "nothing was taken");
        assert!(account.grow(3 << 20).is_err(), "a guest's own memory too");
    }

    #[test]
    fn what_the_host_holds_counts_until_it_is_let_go() {
        let account = Arc::new(account(100));
        let first = account.hold(60).expect("there is room");
        assert_eq!(account.stats().memory, 60);
        drop(first);
        let _second = account.hold(100).expect("all of it");
        let instance = Arc::new(Ended::default());
        let weak = Arc::downgrade(&instance);
        account.add_victim(weak);
        assert!(account.hold(1).is_err());
        assert_eq!(account.stats().memory, 100, "nothing was taken");
        let exit = instance.0.lock().unwrap().take().expect("an end");
        assert_eq!((exit.code, &*exit.reason), (137, OOM_KILLED));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_memory_hears_of_it() {
        let account = account(100);
        account.grow(90).unwrap();
        let waits = async |level| {
            let falls = account.falls_to(level);
            let fallen = tokio::time::timeout(std::time::Duration::from_secs(1), falls);
            fallen.await.is_ok()
        };
        assert!(waits(90).await && !waits(50).await);
        let (fallen, ()) = tokio::join!(waits(50), async {
            account.shrink(30);
            assert_eq!(account.memory.awaited.load(SeqCst), 50);
            account.shrink(10);
        });
        assert!(fallen);
        assert_eq!(account.memory.awaited.load(SeqCst), 0, "nobody waits");
        account.shrink(50);
        assert!(waits(1).await);
    }
}
