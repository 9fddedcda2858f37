//! Who runs next: a pure data structure under the executor's lock.
//!
//! The account with the least virtual time (CPU time over weight) runs next. Fair is not yet
//! prompt: guests that compute begin together and would stay side by side, each run a turn once
//! everybody has had one, and a guest that needs little, once it has had that little, would wait
//! for the whole round. So a newcomer begins up to a turn behind, each by another part of one:
//! turns are spread then, and whoever needs little waits for few. It is a turn of whoever is in line
//! on an average, lest a light newcomer wait for many rounds; so its first turn costs it up to twice
//! as well, by its own weight. And who slept comes back with a little credit, so that its next steps
//! are not behind those who merely computed meanwhile.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::account::{Account, over, part};

use super::task::Task;
use super::tick;

/// CPU time for which a guest that slept comes before the others: some hundred wakes.
const CREDIT: Duration = Duration::from_millis(1);

/// The golden ratio's part of 2^32: multiples of it are spread evenly, however many there are.
const GOLDEN: u32 = 0x9E37_79B9;

/// Tasks that are ready, throttled or paused, and how many workers do what.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: BinaryHeap<Reverse<Ready>>,
    throttled: BinaryHeap<Reverse<Throttled>>,
    paused: Vec<Arc<Task>>,
    /// Makes the order total: first come, first served among equals.
    sequence: u64,
    /// The virtual time of the latest task taken: where newcomers and sleepers start.
    least: u64,
    /// How far the latest newcomer begins behind, and what its first turn costs on top: in parts
    /// of 2^32 of a turn.
    spread: u32,
    /// The weights of the accounts in line, together.
    weights: u64,
    idle_workers: usize,
    /// Whether a worker looks for work instead of sleeping.
    looking: bool,
    /// Whether the next worker to wake shall look, because a task is announced.
    expected: bool,
    running: usize,
    /// Polls begun so far; the tick rests when none began since it last looked.
    polls: u64,
    polls_at_tick: u64,
    tick_rests: bool,
    stopped: bool,
}

/// What a worker does next.
pub(super) enum Next {
    /// Poll this task.
    Run(Arc<Task>),
    /// Wait for work, at most so long.
    Wait(Option<Duration>),
    /// End.
    Stop,
}

#[derive(Debug)]
struct Ready {
    virtual_time: u64,
    weight: u32,
    sequence: u64,
    task: Arc<Task>,
}

#[derive(Debug)]
struct Throttled {
    until: Instant,
    since: Instant,
    sequence: u64,
    task: Arc<Task>,
}

// === impl Queue ===

impl Queue {
    /// Puts a task in line by its account's virtual time.
    pub(super) fn push(&mut self, task: Arc<Task>) {
        if self.stopped {
            return;
        }
        let virtual_time = self.place(task.account());
        let weight = task.account().weight();
        self.weights += u64::from(weight);
        self.sequence += 1;
        self.ready.push(Reverse(Ready {
            virtual_time,
            weight,
            sequence: self.sequence,
            task,
        }));
    }

    /// Where an account stands in line.
    fn place(&mut self, account: &Account) -> u64 {
        if !account.enters() {
            return account.catch_up(self.least, CREDIT);
        }
        self.spread = self.spread.wrapping_add(GOLDEN);
        account.surcharge(self.spread);
        let behind = part(self.turn(), self.spread);
        account.catch_up(self.least.saturating_add(behind), Duration::ZERO)
    }

    /// The virtual time of a turn at the mean weight of the accounts in line: in as much of it
    /// each of them has a turn if they are alike. None where nobody is in line.
    fn turn(&self) -> u64 {
        let waiting = u64::try_from(self.ready.len()).unwrap_or(u64::MAX);
        let mean = self.weights.checked_div(waiting).unwrap_or(0);
        over(tick::PERIOD, mean).unwrap_or(0)
    }

    /// The task that is furthest behind, or how long to wait for one.
    pub(super) fn next(&mut self) -> Next {
        if self.stopped {
            return Next::Stop;
        }
        let now = self.limited_now();
        if let Some(now) = now {
            self.release_throttled(Some(now));
        }
        while let Some(Reverse(Ready {
            virtual_time,
            weight,
            task,
            ..
        })) = self.ready.pop()
        {
            self.weights -= u64::from(weight);
            self.least = self.least.max(virtual_time);
            if task.is_killed() {
                return Next::Run(task);
            }
            if task.account().is_paused() {
                self.paused.push(task);
                continue;
            }
            if task.account().is_limited() {
                let now = now.unwrap_or_else(Instant::now);
                if let Some(wait) = task.account().wait_for_budget(now) {
                    self.throttle(task, now, wait);
                    continue;
                }
            }
            return Next::Run(task);
        }
        let now = now.unwrap_or_else(Instant::now);
        Next::Wait(
            self.throttled
                .peek()
                .map(|Reverse(first)| first.until.saturating_duration_since(now)),
        )
    }

    /// Puts a killed task in front of a worker even if it was throttled or paused.
    pub(super) fn release_killed(&mut self) {
        let throttled = std::mem::take(&mut self.throttled);
        let (killed, kept): (Vec<_>, Vec<_>) = throttled
            .into_iter()
            .partition(|Reverse(t)| t.task.is_killed());
        self.throttled = kept.into();
        for Reverse(throttled) in killed {
            self.push(throttled.task);
        }
        self.release_paused();
    }

    /// Puts paused tasks back in line; those still paused come back at their turn.
    pub(super) fn release_paused(&mut self) {
        for task in std::mem::take(&mut self.paused) {
            self.push(task);
        }
    }

    /// How many are ready.
    pub(super) fn len(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn has_idle_worker(&self) -> bool {
        self.idle_workers > 0
    }

    /// Has a worker look for work; false where another does already.
    pub(super) fn begin_looking(&mut self) -> bool {
        !std::mem::replace(&mut self.looking, true)
    }

    pub(super) fn end_looking(&mut self) {
        self.looking = false;
    }

    pub(super) fn is_looking(&self) -> bool {
        self.looking
    }

    /// Announces a task; true if a sleeping worker is to be woken for it.
    pub(super) fn expect(&mut self) -> bool {
        self.expected = self.idle_workers > 0 && !self.looking;
        self.expected
    }

    pub(super) fn take_expected(&mut self) -> bool {
        std::mem::take(&mut self.expected)
    }

    pub(super) fn worker_rests(&mut self) {
        self.idle_workers += 1;
    }

    pub(super) fn worker_returns(&mut self) {
        self.idle_workers -= 1;
    }

    /// Notes that a poll begins; true when the tick rests and must be started.
    pub(super) fn start_running(&mut self) -> bool {
        self.running += 1;
        self.polls += 1;
        std::mem::take(&mut self.tick_rests)
    }

    pub(super) fn stop_running(&mut self) {
        self.running -= 1;
    }

    /// Whether no guest runs and none has run since the last tick; the tick then rests.
    pub(super) fn rest_tick_if_quiet(&mut self) -> bool {
        let quiet = self.running == 0 && self.ready.is_empty() && self.polls == self.polls_at_tick;
        self.polls_at_tick = self.polls;
        self.tick_rests = quiet;
        quiet
    }

    /// Whether a guest has kept its worker since the last tick: that one may be the one which was to
    /// listen to sockets, and it hands that to nobody.
    pub(super) fn is_stuck(&self) -> bool {
        self.running > 0 && self.polls == self.polls_at_tick
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Stops for good and hands out what was left, to be dropped outside the lock.
    pub(super) fn stop(&mut self) -> Vec<Arc<Task>> {
        self.stopped = true;
        let ready = std::mem::take(&mut self.ready)
            .into_iter()
            .map(|Reverse(r)| r.task);
        let throttled = std::mem::take(&mut self.throttled)
            .into_iter()
            .map(|Reverse(t)| t.task);
        ready
            .chain(throttled)
            .chain(std::mem::take(&mut self.paused))
            .collect()
    }

    /// The time, where anybody is throttled; most of the time nobody needs to know it.
    fn limited_now(&self) -> Option<Instant> {
        (!self.throttled.is_empty()).then(Instant::now)
    }

    fn throttle(&mut self, task: Arc<Task>, now: Instant, wait: Duration) {
        self.sequence += 1;
        self.throttled.push(Reverse(Throttled {
            until: now + wait,
            since: now,
            sequence: self.sequence,
            task,
        }));
    }

    /// Puts throttled tasks back in line: those whose time has come, or all.
    pub(super) fn release_throttled(&mut self, due: Option<Instant>) {
        let now = due.unwrap_or_else(Instant::now);
        let is_due = |first: &Throttled| due.is_none_or(|due| first.until <= due);
        while self
            .throttled
            .peek()
            .is_some_and(|Reverse(first)| is_due(first))
        {
            let Some(Reverse(Throttled { since, task, .. })) = self.throttled.pop() else {
                return;
            };
            task.account()
                .throttled(now.saturating_duration_since(since));
            self.push(task);
        }
    }
}

// === impl Ready ===

impl Ord for Ready {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.virtual_time, self.sequence).cmp(&(other.virtual_time, other.sequence))
    }
}

impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Ready {}

// === impl Throttled ===

impl Ord for Throttled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.until, self.sequence).cmp(&(other.until, other.sequence))
    }
}

impl PartialOrd for Throttled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Throttled {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Throttled {}

#[cfg(test)]
mod tests;
