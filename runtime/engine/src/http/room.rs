//! How many instances of a server fit its container's memory limit. A request for which there is no
//! room waits until another one is answered: else whoever sends many at once, or half of each, would
//! end the container.
//!
//! How large an instance gets, only instances tell: the largest so far counts for all, and a quarter
//! more, since those that run may not be as large yet as they will be.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::account::Account;

/// The part of the limit that is left for what is no instance's: fields, pieces of bodies.
const REST: u64 = 16;

/// The part of its size that an instance may grow by beyond the largest so far.
const GROWTH: u64 = 4;

/// What the instances of a server take.
pub(super) struct Room {
    account: Arc<Account>,
    /// Bytes of the largest instance so far.
    largest: AtomicU64,
    /// Requests that have an instance, or are about to.
    running: Mutex<u64>,
    /// One of them has ended.
    freed: Notify,
}

/// Room for an instance, given back when it is dropped.
pub(super) struct Taken(Arc<Room>);

// === impl Room ===

impl Room {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            largest: AtomicU64::new(0),
            running: Mutex::new(0),
            freed: Notify::new(),
        }
    }

    /// Learns what an instance takes.
    pub(super) fn learn(&self, bytes: u64) {
        self.largest.fetch_max(bytes, Relaxed);
    }

    /// Waits until there is room for one more, of which `kept()` are there already and idle.
    pub(super) async fn take(self: &Arc<Self>, kept: impl Fn() -> usize) -> Taken {
        loop {
            let freed = self.freed.notified();
            if self.try_take(kept()) {
                return Taken(Arc::clone(self));
            }
            freed.await;
        }
    }

    fn try_take(&self, kept: usize) -> bool {
        let mut running = self.running();
        // Whoever is alone waits for nobody, whether it fits or not.
        let is_admitted = *running == 0 || self.fits(*running, kept);
        *running += u64::from(is_admitted);
        is_admitted
    }

    /// Whether one more fits beside those that run and those that are kept, one of which it takes.
    fn fits(&self, running: u64, kept: usize) -> bool {
        let Some(limit) = self.account.memory_limit() else {
            return true;
        };
        let largest = self.largest.load(Relaxed);
        let largest = largest.saturating_add(largest / GROWTH);
        let kept = u64::try_from(kept).unwrap_or(u64::MAX);
        let instances = running.saturating_add(kept.max(1));
        let fits_all = instances.saturating_mul(largest) <= limit - limit / REST;
        let left = limit.saturating_sub(self.account.stats().memory);
        fits_all && (kept > 0 || largest <= left)
    }

    fn running(&self) -> MutexGuard<'_, u64> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        *self.0.running() -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use model::runtime::Limits;
    use tokio::time::{Duration, timeout};

    use super::*;

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

    #[tokio::test(start_paused = true)]
    async fn as_many_run_at_once_as_fit() {
        let room = room(Some(1600));
        let first = take(&room, 0).await.unwrap();
        room.learn(400);
        room.learn(300);
        let second = take(&room, 0).await;
        let third = take(&room, 0).await;
        assert!(second.is_some() && third.is_some());
        // The sixteenth part is not for instances.
        assert!(take(&room, 0).await.is_none());
        let (fourth, ()) = tokio::join!(room.take(|| 0), async { drop(first) });
        // One that is kept takes no further room, and two leave none for a third.
        drop((second, third));
        assert!(take(&room, 2).await.is_some());
        assert!(take(&room, 3).await.is_none());
        drop(fourth);
        // Whoever is alone is not refused.
        room.learn(5000);
        assert!(take(&room, 0).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_else_the_container_uses_leaves_less_room() {
        let room = room(Some(1600));
        room.learn(240);
        let _first = take(&room, 0).await.unwrap();
        let held = crate::account::Held::of(&room.account, 1400).unwrap();
        assert!(take(&room, 0).await.is_none());
        assert!(take(&room, 1).await.is_some(), "one is there");
        drop(held);
        assert!(take(&room, 0).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_there_is_room() {
        let room = room(None);
        room.learn(u64::MAX);
        let taken = [take(&room, 0).await, take(&room, 0).await];
        assert!(taken.iter().all(Option::is_some));
    }
}
