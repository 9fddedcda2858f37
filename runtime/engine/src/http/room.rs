//! How many instances of a server fit its container's memory limit. A request for which there is no
//! room waits until another one is answered: else whoever sends many at once, or half of each, would
//! end the container.
//!
//! ```text
//! a request ──fits, nobody waits──> runs ──done──> wakes the first of those who wait
//!     └─ behind the others ──> first of them ──an end, or memory given back, and it fits──> runs
//! ```
//!
//! How large an instance gets, only instances tell: the largest of late counts for all, and a
//! quarter more, since those that run may not be as large yet as they will be. It is forgotten as
//! others end smaller, and doubted where nothing ends at all. Whoever runs alone waits for nobody,
//! whether it fits or not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};

use super::limits;
use crate::account::Account;
use crate::limits::Tally;

/// One part in so many of the limit is for what is neither an instance's nor a request's.
const REST: u64 = 16;

/// One part in so many of its size is what an instance may grow by beyond the largest of late.
const GROWTH: u64 = 4;

/// Bytes that a request may take beside its instance: its head and that of its answer, and what is
/// held of either body.
const REQUEST: u64 = 2 * (limits::HEAD + limits::CHUNK) as u64;

/// What the requests of a server and their instances take.
pub(super) struct Room {
    account: Arc<Account>,
    tally: Arc<Tally>,
    counts: Mutex<Counts>,
    /// Who may try next; those who came later wait behind.
    turn: Semaphore,
    /// Something has ended.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    /// Requests that have an instance, or are about to.
    running: u64,
    /// Those that wait.
    waiting: u64,
}

/// Room for a request and its instance, given back when it is dropped.
pub(super) struct Taken(Arc<Room>);

/// One who waits, until it is dropped.
struct Waits<'a>(&'a Room);

// === impl Room ===

impl Room {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            tally: Arc::default(),
            counts: Mutex::default(),
            turn: Semaphore::new(1),
            freed: Notify::new(),
        }
    }

    /// Where its instances count, idle ones too.
    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Waits until there is room for one more, of which `kept()` are there already and idle, and
    /// until whoever came before has room. The caller says for how long.
    pub(super) async fn take(self: &Arc<Self>, kept: impl Fn() -> usize) -> Taken {
        if let Some(taken) = self.take_at_once(kept()) {
            return taken;
        }
        let _waits = Waits(self);
        // Nobody closes it.
        let _turn = self.turn.acquire().await;
        loop {
            let freed = self.freed.notified();
            let kept = kept();
            let admitted = self.admit(&mut self.counts(), kept);
            let Err(level) = admitted else {
                return Taken(Arc::clone(self));
            };
            tokio::select! {
                () = freed => {}
                () = self.account.falls_to(level), if level > 0 => {}
                () = tokio::time::sleep(limits::DOUBT) => self.tally.doubt(),
            }
        }
    }

    /// Room, where nobody waits for it; else there is one more who does.
    fn take_at_once(self: &Arc<Self>, kept: usize) -> Option<Taken> {
        let mut counts = self.counts();
        if counts.waiting == 0 && self.admit(&mut counts, kept).is_ok() {
            return Some(Taken(Arc::clone(self)));
        }
        counts.waiting += 1;
        None
    }

    /// Instances that were kept are no more.
    pub(super) fn freed(&self) {
        self.tell(self.counts());
    }

    /// Has the first of those who wait try again.
    fn tell(&self, counts: MutexGuard<'_, Counts>) {
        let is_awaited = counts.waiting > 0;
        drop(counts);
        if is_awaited {
            self.freed.notify_one();
        }
    }

    /// Admits one more, if it fits.
    ///
    /// # Errors
    /// How much the container may use at most for that, as things are; 0 where no amount will do.
    fn admit(&self, counts: &mut Counts, kept: usize) -> Result<(), u64> {
        if counts.running > 0
            && let Some(limit) = self.account.memory_limit()
        {
            let used = self.account.stats().memory;
            let level = self.level(limit, counts.running, kept);
            if level.is_none_or(|level| used > level) {
                return Err(level.unwrap_or_default());
            }
        }
        counts.running += 1;
        Ok(())
    }

    /// How much may be used now, so that there is room for one more beside those that run and those
    /// that are kept, one of which it takes; none where even nothing would be too much.
    fn level(&self, limit: u64, running: u64, kept: usize) -> Option<u64> {
        let size = self.tally.size();
        let size = size.saturating_add(size / GROWTH);
        let kept = u64::try_from(kept).unwrap_or(u64::MAX);
        let instances = running.saturating_add(kept.max(1));
        // Some may be larger by now than what counts for all: those that are not there yet come on
        // top of them.
        let coming = instances.saturating_sub(self.tally.instances());
        let promised = instances.saturating_mul(size);
        let promised = promised.saturating_sub(self.tally.bytes());
        let promised = promised.max(coming.saturating_mul(size));
        let requests = running.saturating_add(1).saturating_mul(REQUEST);
        let usable = limit - limit / REST;
        usable.checked_sub(promised.saturating_add(requests))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.running -= 1;
        self.0.tell(counts);
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.counts().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use model::runtime::Limits;
    use tokio::time::{Duration, timeout};
    use wasmtime::ResourceLimiter as _;

    use super::*;
    use crate::account::Held;
    use crate::limits::Limiter;

    /// What a request takes beside its instance, and so a handy unit.
    const UNIT: u64 = REQUEST;

    /// Of 16 such units 15 are for instances and requests.
    const LIMIT: u64 = 16 * UNIT;

    fn room(memory: Option<u64>) -> Arc<Room> {
        Arc::new(Room::new(Arc::new(Account::new(Limits {
            cpu_weight: 500,
            cpu_limit: None,
            memory,
            storage: None,
        }))))
    }

    async fn take(room: &Arc<Room>, kept: usize) -> Option<Taken> {
        timeout(Duration::from_secs(1), room.take(|| kept))
            .await
            .ok()
    }

    /// An instance of so many bytes.
    fn instance(room: &Arc<Room>, bytes: u64) -> Limiter {
        let mut limiter = Limiter::new(Arc::clone(&room.account));
        limiter.count_in(&room.tally);
        let bytes = usize::try_from(bytes).unwrap();
        assert!(limiter.memory_growing(0, bytes, None).unwrap());
        limiter
    }

    /// A room where one instance of so many bytes was, and is no more.
    fn room_of(bytes: u64) -> Arc<Room> {
        let room = room(Some(LIMIT));
        drop(instance(&room, bytes));
        room
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_run_at_once_as_fit() {
        // With their quarter and their requests five units each.
        let room = room_of(16 * UNIT / 5);
        let taken = [
            take(&room, 0).await,
            take(&room, 0).await,
            take(&room, 0).await,
        ];
        assert!(taken.iter().all(Option::is_some));
        assert!(take(&room, 0).await.is_none());
        let [first, second, third] = taken;
        let (fourth, ()) = tokio::join!(room.take(|| 0), async { drop(first) });
        drop((second, third));
        // One that is kept takes no further room, and two leave none for a third.
        assert!(take(&room, 2).await.is_some());
        assert!(take(&room, 3).await.is_none());
        drop(fourth);
        // Whoever is alone is not refused.
        drop(instance(&room, LIMIT));
        assert!(take(&room, 0).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_else_the_container_uses_leaves_less_room() {
        let room = room_of(UNIT * 8 / 5);
        let first = take(&room, 0).await.unwrap();
        // Two such instances are four units, their requests two.
        let held = Held::of(&room.account, 9 * UNIT + 100).unwrap();
        assert!(take(&room, 0).await.is_none());
        let (second, ()) = tokio::join!(take(&room, 0), async { drop(held) });
        assert!(second.is_some(), "memory of others was given back");
        drop(first);
    }

    #[tokio::test(start_paused = true)]
    async fn what_instances_hold_is_counted_once_and_while_they_grow() {
        let room = room(Some(LIMIT));
        let first = take(&room, 0).await.unwrap();
        let mut grown = instance(&room, UNIT);
        let second = take(&room, 0).await.unwrap();
        // Before any request has ended it is known that they are larger: eight of 15 units.
        let (before, after) = (UNIT, 8 * UNIT);
        let [before, after] = [before, after].map(|bytes| usize::try_from(bytes).unwrap());
        assert!(grown.memory_growing(before, after, None).unwrap());
        assert!(take(&room, 0).await.is_none());
        // Once that is long ago, it still has what it has, and others do not.
        for _ in 0..1000 {
            room.tally.done(0);
        }
        assert!(room.tally.size() < 100);
        assert!(take(&room, 0).await.is_some());
        let held = Held::of(&room.account, 5 * UNIT).unwrap();
        assert!(take(&room, 0).await.is_none());
        drop((first, second, held));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_kept_is_promised_to_one_only() {
        let room = room_of(16 * UNIT / 5);
        let _kept = instance(&room, 16 * UNIT / 5);
        // None of them has taken it yet.
        let taken = [
            take(&room, 1).await,
            take(&room, 1).await,
            take(&room, 1).await,
        ];
        assert!(taken.iter().all(Option::is_some));
        assert!(take(&room, 1).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_later_does_not_overtake_who_waits() {
        let room = room_of(16 * UNIT / 5);
        let running = [
            room.take(|| 0).await,
            room.take(|| 0).await,
            room.take(|| 0).await,
        ];
        let order = RefCell::new(Vec::new());
        let waits = async |name| {
            drop(room.take(|| 0).await);
            order.borrow_mut().push(name);
        };
        let ends = async {
            let [first, _second, _third] = running;
            drop(first);
            // In the same turn, before the one who waits has heard of it.
            waits("newcomer").await;
        };
        tokio::join!(waits("one"), waits("two"), ends);
        assert_eq!(*order.borrow(), ["one", "two", "newcomer"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_makes_room_for_several_admits_several() {
        let room = room_of(UNIT * 8 / 5);
        let alone = room.take(|| 0).await;
        let large = instance(&room, LIMIT * 3 / 4);
        let waiting = async {
            // All at once, since none of them ends.
            tokio::join!(room.take(|| 0), room.take(|| 0), room.take(|| 0))
        };
        let ends = async {
            for _ in 0..100 {
                room.tally.done(UNIT * 8 / 5);
            }
            drop(large);
            drop(alone);
        };
        let (admitted, ()) = tokio::join!(timeout(Duration::from_secs(1), waiting), ends);
        assert!(admitted.is_ok(), "one end is enough");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_leaves_his_turn_to_the_next() {
        let room = room_of(LIMIT);
        let running = room.take(|| 0).await;
        let impatient = timeout(Duration::from_secs(1), room.take(|| 0));
        let patient = timeout(Duration::from_secs(10), room.take(|| 0));
        let ends = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            drop(running);
        };
        let (impatient, patient, ()) = tokio::join!(impatient, patient, ends);
        assert!(impatient.is_err() && patient.is_ok());
        drop(patient);
        assert!(take(&room, 0).await.is_some(), "nobody is in line any more");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_large_and_one_that_is_slow_do_not_keep_out_the_rest() {
        let room = room_of(LIMIT * 3 / 4);
        let _slow = room.take(|| 0).await;
        let _small = instance(&room, UNIT / 2);
        assert!(take(&room, 0).await.is_none());
        let others = async {
            for _ in 0..100 {
                let one = room.take(|| 0).await;
                room.tally.done(UNIT / 2);
                drop(one);
            }
        };
        let served = timeout(limits::TURN, others).await;
        assert!(served.is_ok(), "{}", room.tally.size());
        assert!(room.tally.size() < UNIT);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_there_is_room() {
        let room = room(None);
        drop(instance(&room, LIMIT));
        let taken = [take(&room, 0).await, take(&room, 0).await];
        assert!(taken.iter().all(Option::is_some));
    }
}
