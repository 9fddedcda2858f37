//! What a container has used and may use: CPU time and memory.
//!
//! One account per container. Its exec instances and its blocking file calls are charged to the
//! same account, as processes of one cgroup are, and so is what it writes to volumes in memory.
//! There its instances are ended when the limit is reached, all of them, as kubelet asks the kernel
//! to do with a container's processes.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use model::runtime::{Limits, Stats};
use rustix::time::{ClockId, clock_gettime};
use volume::{OverLimit, Payer};

/// The period over which `limits.cpu` is a budget: the kernel's default for cgroups.
const PERIOD: Duration = Duration::from_millis(100);

/// The smallest weight, in thousandths of a core: the kernel's smallest number of cpu shares.
const LEAST_WEIGHT: u32 = 2;

/// Bytes that one table element costs the host.
pub const TABLE_ELEMENT: usize = size_of::<usize>();

/// Ends an instance whose account has no memory left.
pub(crate) trait Victim: Send + Sync {
    /// Ends it at the next chance, with this as the reason.
    fn end(&self, why: OutOfMemory);
}

/// Use and limits of one container.
pub struct Account {
    /// Thousandths of a core: the share against others.
    weight: AtomicU32,
    /// Thousandths of a core, 0 for no limit.
    cpu_limit: AtomicU32,
    /// Nanoseconds on a CPU.
    cpu: AtomicU64,
    /// Nanoseconds ready to run, but out of budget.
    throttled: AtomicU64,
    /// CPU time divided by weight: who has the least runs next.
    virtual_time: AtomicU64,
    /// Whether it has been in line before.
    has_entered: AtomicBool,
    /// What its next turn costs on top, in parts of 2^32 of its CPU time.
    surcharge: AtomicU32,
    /// When the budget was last topped up, in nanoseconds since `born`.
    topped_up: AtomicU64,
    /// Nanoseconds of budget left; below zero is debt.
    budget: AtomicI64,
    /// Not scheduled while set.
    paused: AtomicBool,
    /// Bytes, 0 for no limit.
    memory_limit: AtomicU64,
    memory: AtomicU64,
    memory_peak: AtomicU64,
    /// How much of it lies in files of volumes in memory.
    in_files: AtomicU64,
    /// Whether its instances were ended for want of it.
    is_over: AtomicBool,
    /// The instances that run on it; those that have ended are gone.
    victims: Mutex<Vec<Weak<dyn Victim>>>,
    born: Instant,
}

/// A request for memory that the container's limit forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the container asked for {} of memory in all{}, over its limit of {} (peak {}): raise resources.limits.memory or use less",
    mebibytes(.wanted), of_files(.in_files), mebibytes(.limit), mebibytes(.peak)
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
}

// === impl Account ===

impl Account {
    /// An account with nothing used yet.
    pub fn new(limits: Limits) -> Self {
        let account = Self {
            weight: AtomicU32::new(LEAST_WEIGHT),
            cpu_limit: AtomicU32::new(0),
            cpu: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            virtual_time: AtomicU64::new(0),
            has_entered: AtomicBool::new(false),
            surcharge: AtomicU32::new(0),
            topped_up: AtomicU64::new(0),
            budget: AtomicI64::new(0),
            paused: AtomicBool::new(false),
            memory_limit: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
            in_files: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            victims: Mutex::default(),
            born: Instant::now(),
        };
        account.set_limits(limits);
        account
            .budget
            .store(account.quota().unwrap_or(0).cast_signed(), Relaxed);
        account
    }

    /// Applies new limits from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.weight
            .store(limits.cpu_weight.max(LEAST_WEIGHT), Relaxed);
        self.cpu_limit.store(limits.cpu_limit.unwrap_or(0), Relaxed);
        self.memory_limit.store(limits.memory.unwrap_or(0), Relaxed);
    }

    /// Charges time on a CPU.
    pub fn charge(&self, on_cpu: Duration) {
        let nanos = nanos(on_cpu);
        self.cpu.fetch_add(nanos, Relaxed);
        let time = self.over_weight(on_cpu);
        let surcharge = self.take_surcharge(time);
        self.virtual_time
            .fetch_add(time.saturating_add(surcharge), Relaxed);
        if self.cpu_limit.load(Relaxed) != 0 {
            self.budget.fetch_sub(nanos.cast_signed(), Relaxed);
        }
    }

    /// CPU time over weight: the executor runs the account that has the least.
    #[cfg(test)]
    pub(crate) fn virtual_time(&self) -> u64 {
        self.virtual_time.load(Relaxed)
    }

    /// Brings an account that slept up to the others, less a credit of CPU time, and tells where
    /// it stands. It gains no share by sleeping, for its time is never put back.
    pub(crate) fn catch_up(&self, least: u64, credit: Duration) -> u64 {
        let least = least.saturating_sub(self.over_weight(credit));
        self.virtual_time.fetch_max(least, Relaxed).max(least)
    }

    /// Whether it is in line for the first time.
    pub(crate) fn enters(&self) -> bool {
        !self.has_entered.swap(true, Relaxed)
    }

    /// Has its next turn cost so many parts of 2^32 more, which counts against others only.
    pub(crate) fn surcharge(&self, parts: u32) {
        self.surcharge.store(parts, Relaxed);
    }

    /// What a turn of so much virtual time costs on top.
    fn take_surcharge(&self, time: u64) -> u64 {
        if self.surcharge.load(Relaxed) == 0 {
            return 0;
        }
        let parts = u128::from(self.surcharge.swap(0, Relaxed));
        u64::try_from((u128::from(time) * parts) >> 32).unwrap_or(u64::MAX)
    }

    /// CPU time as virtual time: the heavier the account, the slower it runs.
    fn over_weight(&self, time: Duration) -> u64 {
        let weight = u64::from(self.weight.load(Relaxed));
        nanos(time).saturating_mul(1000) / weight
    }

    /// Whether it has a cpu limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.cpu_limit.load(Relaxed) != 0
    }

    /// Tops the budget up for the time that has passed; `Some` is how long until it may run.
    ///
    /// Called under the queue's lock, so never twice at once for one account.
    pub(crate) fn wait_for_budget(&self, now: Instant) -> Option<Duration> {
        let quota = self.quota()?;
        let since_birth = nanos(now.saturating_duration_since(self.born));
        let before = self.topped_up.swap(since_birth, Relaxed);
        let rate = u64::from(self.cpu_limit.load(Relaxed));
        let earned = since_birth.saturating_sub(before).saturating_mul(rate) / 1000;
        let earned = earned.cast_signed();
        let left = self
            .budget
            .fetch_add(earned, Relaxed)
            .saturating_add(earned);
        let over = left.saturating_sub(quota.cast_signed()).max(0);
        self.budget.fetch_sub(over, Relaxed);
        if left > 0 {
            return None;
        }
        // Wait for a quarter of a period's quota, so that a throttled guest runs in few long
        // stretches rather than in many that each cost a switch.
        let missing = (quota / 4).saturating_add(left.unsigned_abs());
        Some(Duration::from_nanos(
            missing.saturating_mul(1000) / rate.max(1),
        ))
    }

    /// Notes time spent waiting for budget.
    pub(crate) fn throttled(&self, waited: Duration) {
        self.throttled.fetch_add(nanos(waited), Relaxed);
    }

    /// Stops or resumes scheduling.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Relaxed);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Relaxed)
    }

    /// Takes memory, or says why not.
    pub(crate) fn grow(&self, more: u64) -> Result<(), OutOfMemory> {
        let limit = self.memory_limit.load(Relaxed);
        let before = self.memory.fetch_add(more, Relaxed);
        let wanted = before.saturating_add(more);
        if limit != 0 && wanted > limit {
            self.memory.fetch_sub(more, Relaxed);
            return Err(OutOfMemory {
                wanted,
                limit,
                peak: self.memory_peak.load(Relaxed),
                in_files: self.in_files.load(Relaxed),
            });
        }
        self.memory_peak.fetch_max(wanted, Relaxed);
        Ok(())
    }

    /// Gives memory back.
    pub(crate) fn shrink(&self, less: u64) {
        self.memory.fetch_sub(less, Relaxed);
    }

    /// Ends this one too when the account has no memory left for what is written to files.
    pub(crate) fn add_victim(&self, victim: Weak<dyn Victim>) {
        let mut victims = self.victims();
        victims.retain(|victim| victim.strong_count() > 0);
        victims.push(victim);
    }

    /// Whether its instances were ended because there was no memory left for a file.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    fn victims(&self) -> MutexGuard<'_, Vec<Weak<dyn Victim>>> {
        self.victims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Use so far; network counters are the caller's.
    pub fn stats(&self) -> Stats {
        Stats {
            cpu: Duration::from_nanos(self.cpu.load(Relaxed)),
            throttled: Duration::from_nanos(self.throttled.load(Relaxed)),
            memory: self.memory.load(Relaxed),
            memory_peak: self.memory_peak.load(Relaxed),
            received: 0,
            sent: 0,
        }
    }

    /// Nanoseconds of CPU per period, where limited.
    fn quota(&self) -> Option<u64> {
        match self.cpu_limit.load(Relaxed) {
            0 => None,
            milli => Some(nanos(PERIOD).saturating_mul(u64::from(milli)) / 1000),
        }
    }
}

impl Payer for Account {
    fn take(&self, bytes: u64) -> Result<(), OverLimit> {
        self.in_files.fetch_add(bytes, Relaxed);
        let Err(why) = self.grow(bytes) else {
            return Ok(());
        };
        self.in_files.fetch_sub(bytes, Relaxed);
        self.is_over.store(true, Relaxed);
        // Taken out, so that nothing is called under the lock.
        let victims = std::mem::take(&mut *self.victims());
        for victim in victims.iter().filter_map(Weak::upgrade) {
            victim.end(why);
        }
        Err(OverLimit)
    }

    fn give(&self, bytes: u64) {
        self.in_files.fetch_sub(bytes, Relaxed);
        self.shrink(bytes);
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// CPU time of this thread so far: an account is charged what lies between two of these.
pub(crate) fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// A size as people read it, to a tenth of a MiB.
fn mebibytes(bytes: &u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// What files take, if they take anything.
fn of_files(bytes: &u64) -> String {
    match bytes {
        0 => String::new(),
        bytes => format!(
            ", {} of it files in volumes of medium Memory",
            mebibytes(bytes)
        ),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(cpu_limit: Option<u32>, memory: Option<u64>) -> Limits {
        Limits {
            cpu_weight: 500,
            cpu_limit,
            memory,
            storage: None,
        }
    }

    #[test]
    fn debt_is_carried_over() {
        let account = Account::new(limits(Some(200), None));
        let start = account.born;
        assert_eq!(account.wait_for_budget(start), None);
        account.charge(Duration::from_millis(50));
        // 20 ms of budget, 50 ms used: 30 ms of debt and 5 ms of head start at 0.2 cores.
        assert_eq!(
            account.wait_for_budget(start),
            Some(Duration::from_millis(175))
        );
        assert_eq!(
            account.wait_for_budget(start + Duration::from_millis(175)),
            None
        );
    }

    #[test]
    fn memory_over_the_limit_is_refused_and_told() {
        let account = Account::new(limits(None, Some(100)));
        assert_eq!(account.grow(60), Ok(()));
        assert_eq!(
            account.grow(60),
            Err(OutOfMemory {
                wanted: 120,
                limit: 100,
                peak: 60,
                in_files: 0,
            })
        );
        account.shrink(60);
        assert_eq!(account.grow(100), Ok(()));
        assert_eq!(account.stats().memory_peak, 100);
    }

    #[derive(Default)]
    struct Ended(Mutex<Option<OutOfMemory>>);

    impl Victim for Ended {
        fn end(&self, why: OutOfMemory) {
            *self.0.lock().unwrap() = Some(why);
        }
    }

    #[test]
    fn files_in_memory_count_with_the_rest_and_end_all_instances() {
        let account = Account::new(limits(None, Some(10 << 20)));
        let instances = [(); 2].map(|()| std::sync::Arc::new(Ended::default()));
        for instance in &instances {
            let weak = std::sync::Arc::downgrade(instance);
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
            let why = instance.0.lock().unwrap().take().expect("an end");
            assert_eq!(
                why.to_string(),
                "the container asked for 11.0 MiB of memory in all, 7.0 MiB of it files in volumes \
                 of medium Memory, over its limit of 10.0 MiB (peak 9.0 MiB): raise \
                 resources.limits.memory or use less"
            );
        }
        assert_eq!(account.stats().memory, 8 << 20, "nothing was taken");
        assert!(account.grow(3 << 20).is_err(), "a guest's own memory too");
    }

    #[test]
    fn virtual_time_runs_slower_for_the_heavier() {
        let light = Account::new(Limits {
            cpu_weight: 100,
            ..limits(None, None)
        });
        let heavy = Account::new(Limits {
            cpu_weight: 300,
            ..limits(None, None)
        });
        light.charge(Duration::from_millis(10));
        heavy.charge(Duration::from_millis(30));
        assert_eq!(light.virtual_time(), heavy.virtual_time());
    }
}
