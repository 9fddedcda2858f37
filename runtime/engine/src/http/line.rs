//! Places for what goes on at once, and a line of those who wait for one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many at once, and so many who wait.
pub(super) struct Line {
    places: Arc<Semaphore>,
    waiting: Semaphore,
}

/// A place, free again when dropped.
pub(super) type Place = OwnedSemaphorePermit;

/// Why somebody has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// As many wait as may.
    Full,
    /// His turn did not come in time.
    Late,
}

// === impl Line ===

impl Line {
    pub(super) fn new(places: usize, waiting: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            waiting: Semaphore::new(waiting),
        }
    }

    /// A place, after those who have waited for longer.
    ///
    /// # Errors
    /// When there is none, or none within this time.
    pub(super) async fn place(&self, patience: Duration) -> Result<Place, NoPlace> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(NoPlace::Full);
        };
        let turn = tokio::time::timeout(patience, Arc::clone(&self.places).acquire_owned());
        match turn.await {
            Ok(Ok(place)) => Ok(place),
            // Nobody closes it, so that it was the time.
            Ok(Err(_)) | Err(_) => Err(NoPlace::Late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_waits_for_his_turn_only_so_long_and_among_so_many() {
        let (line, patience) = (Line::new(1, 1), Duration::from_secs(30));
        let first = line.place(patience).await.unwrap();
        let begun = tokio::time::Instant::now();
        let (second, third) = tokio::join!(line.place(patience), line.place(patience));
        assert_eq!(second.unwrap_err(), NoPlace::Late);
        assert_eq!(third.unwrap_err(), NoPlace::Full);
        assert_eq!(begun.elapsed(), patience);
        let (second, ()) = tokio::join!(line.place(patience), async { drop(first) });
        assert!(second.is_ok());
    }
}
