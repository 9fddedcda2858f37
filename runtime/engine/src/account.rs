//! What a container has used and may use: CPU time here, memory in `memory`.
//!
//! One account per container. Its exec instances and its blocking file calls are charged to the
//! same account, as processes of one cgroup are, and so is what it writes to volumes in memory.

mod memory;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use model::runtime::{Limits, Stats};
use rustix::time::{ClockId, clock_gettime};

use self::memory::Memory;
pub(crate) use self::memory::{Held, OOM_KILLED, Victim, killed};
pub use self::memory::{OutOfMemory, TABLE_ELEMENT};

/// The period over which `limits.cpu` is a budget: the kernel's default for cgroups.
const PERIOD: Duration = Duration::from_millis(100);

/// The smallest weight, in thousandths of a core: the kernel's smallest number of cpu shares.
const LEAST_WEIGHT: u32 = 2;

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
    memory: Memory,
    born: Instant,
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
            memory: Memory::default(),
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
        self.memory.set_limit(limits.memory);
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
        part(time, self.surcharge.swap(0, Relaxed))
    }

    /// CPU time as virtual time: the heavier the account, the slower it runs.
    fn over_weight(&self, time: Duration) -> u64 {
        over(time, self.weight().into()).unwrap_or(u64::MAX)
    }

    /// How much it gets beside others.
    pub(crate) fn weight(&self) -> u32 {
        self.weight.load(Relaxed)
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

    /// Use so far; network counters are the caller's.
    pub fn stats(&self) -> Stats {
        Stats {
            cpu: Duration::from_nanos(self.cpu.load(Relaxed)),
            throttled: Duration::from_nanos(self.throttled.load(Relaxed)),
            memory: self.memory.used(),
            memory_peak: self.memory.peak(),
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

/// CPU time as the virtual time of an account of this weight; none for no weight.
pub(crate) fn over(time: Duration, weight: u64) -> Option<u64> {
    nanos(time).saturating_mul(1000).checked_div(weight)
}

/// So many parts of 2^32 of a virtual time.
pub(crate) fn part(of: u64, parts: u32) -> u64 {
    u64::try_from((u128::from(of) * u128::from(parts)) >> 32).unwrap_or(u64::MAX)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(cpu_limit: Option<u32>) -> Limits {
        Limits {
            cpu_weight: 500,
            cpu_limit,
            memory: None,
            storage: None,
        }
    }

    #[test]
    fn debt_is_carried_over() {
        let account = Account::new(limits(Some(200)));
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
    fn virtual_time_runs_slower_for_the_heavier() {
        let light = Account::new(Limits {
            cpu_weight: 100,
            ..limits(None)
        });
        let heavy = Account::new(Limits {
            cpu_weight: 300,
            ..limits(None)
        });
        light.charge(Duration::from_millis(10));
        heavy.charge(Duration::from_millis(30));
        assert_eq!(light.virtual_time(), heavy.virtual_time());
    }
}
