//! Who pays for the files of volumes in memory: the container that wrote them.
//!
//! What makes a file longer is charged to the container that does it. What makes it shorter,
//! whoever does that, gives back what was charged: to whoever made the file longer last, up to all
//! that one has paid for it, then to the one before. No byte within a file is anybody's. What a
//! container that has ended leaves behind is nobody's any more, and counts as the oldest part; it
//! is held against the volume's own limit alone.
//!
//! The kernel's rule for tmpfs and cgroups is near but another one: it counts pages and not sizes,
//! so that a hole costs nothing; it charges whoever touches a page first, and gives back to the
//! same; and what an ended cgroup leaves is charged to its parent.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::limit::Inode;

/// A container that pays for what it keeps in memory.
pub trait Payer: Send + Sync {
    /// Takes so many bytes more.
    ///
    /// # Errors
    /// When that is more than it may use. Whoever pays sees to it that the container ends.
    fn take(&self, bytes: u64) -> Result<(), OverLimit>;

    /// Gives bytes back that were taken.
    fn give(&self, bytes: u64);
}

/// A container may not use so much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverLimit;

/// The files of one volume, and who has paid how much for each.
///
/// Sums for each payer, not stretches of the file: what a guest writes in small pieces must not
/// cost the host more for each piece.
#[derive(Default)]
pub(crate) struct Charges {
    files: HashMap<Inode, Vec<Share>>,
}

/// What one container has paid for a file: at most one for each that may write there, in the order
/// in which they last made it longer.
struct Share {
    /// Gone with the container.
    payer: Weak<dyn Payer>,
    bytes: u64,
}

// === impl Charges ===

impl Charges {
    /// A file grew at the cost of `payer`, who has taken the bytes.
    pub(crate) fn grew(&mut self, inode: Inode, payer: &Arc<dyn Payer>, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let shares = self.files.entry(inode).or_default();
        if let Some(last) = shares.last_mut().filter(|last| last.is_of(payer)) {
            last.bytes = last.bytes.saturating_add(bytes);
            return;
        }
        let mut share = Share {
            payer: Arc::downgrade(payer),
            bytes,
        };
        shares.retain(|other| {
            if other.is_of(payer) {
                share.bytes = share.bytes.saturating_add(other.bytes);
                return false;
            }
            // There is nobody left to give it back to.
            other.payer.strong_count() > 0
        });
        shares.push(share);
    }

    /// A file became shorter.
    pub(crate) fn shrank(&mut self, inode: Inode, bytes: u64) {
        let Some(shares) = self.files.get_mut(&inode) else {
            return;
        };
        shares.retain(|share| share.payer.strong_count() > 0);
        let mut left = bytes;
        while let Some(last) = shares.last_mut().filter(|_| left > 0) {
            let given = left.min(last.bytes);
            last.give(given);
            left -= given;
            if last.bytes == 0 {
                shares.pop();
            }
        }
        if shares.is_empty() {
            self.files.remove(&inode);
        }
    }

    /// A file is gone.
    pub(crate) fn gone(&mut self, inode: Inode) {
        self.shrank(inode, u64::MAX);
    }
}

impl std::fmt::Debug for Charges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Charges")
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

// === impl Share ===

impl Share {
    fn is_of(&self, payer: &Arc<dyn Payer>) -> bool {
        Weak::as_ptr(&self.payer).addr() == Arc::as_ptr(payer).addr()
    }

    fn give(&mut self, bytes: u64) {
        self.bytes -= bytes;
        if let Some(payer) = self.payer.upgrade() {
            payer.give(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Purse(AtomicU64);

    impl Payer for Purse {
        fn take(&self, bytes: u64) -> Result<(), OverLimit> {
            self.0.fetch_add(bytes, Relaxed);
            Ok(())
        }

        fn give(&self, bytes: u64) {
            self.0.fetch_sub(bytes, Relaxed);
        }
    }

    fn purses<const N: usize>() -> ([Arc<Purse>; N], [Arc<dyn Payer>; N]) {
        let purses = [(); N].map(|()| Arc::new(Purse::default()));
        let payers = purses.clone().map(|purse| purse as Arc<dyn Payer>);
        (purses, payers)
    }

    const FILE: Inode = (1, 7);

    #[test]
    fn what_is_cut_is_given_back_to_whoever_wrote_it_last() {
        let (purses, payers) = purses::<2>();
        let mut charges = Charges::default();
        for (payer, bytes) in [(0, 10), (0, 5), (1, 20), (0, 0)] {
            payers[payer].take(bytes).unwrap();
            charges.grew(FILE, &payers[payer], bytes);
        }
        for (cut, left) in [(5, [15, 15]), (20, [10, 0]), (0, [10, 0]), (100, [0, 0])] {
            charges.shrank(FILE, cut);
            assert_eq!(purses.each_ref().map(|purse| purse.0.load(Relaxed)), left);
        }
        assert!(charges.files.is_empty());
    }

    #[test]
    fn writing_in_turn_costs_the_host_one_share_each() {
        let (purses, payers) = purses::<2>();
        let mut charges = Charges::default();
        for turn in 0..1000 {
            let payer = &payers[turn % 2];
            payer.take(1).unwrap();
            charges.grew(FILE, payer, 1);
            assert!(charges.files[&FILE].len() <= 2);
        }
        // The second wrote last, so it gets back all that it has paid before the first gets any.
        for (cut, left) in [(499, [500, 1]), (2, [499, 0]), (499, [0, 0])] {
            charges.shrank(FILE, cut);
            assert_eq!(purses.each_ref().map(|purse| purse.0.load(Relaxed)), left);
        }
        assert!(charges.files.is_empty());
    }

    #[test]
    fn containers_that_have_ended_cost_the_host_nothing() {
        let mut charges = Charges::default();
        for _ in 0..1000 {
            let (_, [payer]) = purses::<1>();
            charges.grew(FILE, &payer, 1);
            assert_eq!(charges.files[&FILE].len(), 1);
        }
        charges.shrank(FILE, 1);
        assert!(charges.files.is_empty(), "nobody is left to pay back");
    }

    #[test]
    fn what_a_container_leaves_behind_is_nobodys_and_goes_last() {
        let ([next], [payer]) = purses::<1>();
        let mut charges = Charges::default();
        let gone: Arc<dyn Payer> = Arc::new(Purse::default());
        payer.take(3).unwrap();
        charges.grew(FILE, &payer, 3);
        charges.grew(FILE, &gone, 10);
        drop(gone);
        charges.shrank(FILE, 2);
        assert_eq!(next.0.load(Relaxed), 1);
        charges.gone(FILE);
        assert_eq!(next.0.load(Relaxed), 0);
    }

    proptest! {
        /// Whoever has paid for a file has paid for no more than it holds, and gets all of it back.
        #[test]
        fn what_is_charged_is_given_back_once(
            steps in prop::collection::vec((0..4_usize, any::<bool>(), 0..9_u64), 0..60),
        ) {
            let (purses, payers) = purses::<3>();
            let mut charges = Charges::default();
            let mut size = 0_u64;
            for (payer, grows, bytes) in steps {
                // The fourth pays for nothing, as a file that was there before.
                match payers.get(payer) {
                    Some(payer) if grows => {
                        payer.take(bytes).unwrap();
                        charges.grew(FILE, payer, bytes);
                        size += bytes;
                    }
                    None if grows => size += bytes,
                    _ => {
                        let cut = bytes.min(size);
                        charges.shrank(FILE, cut);
                        size -= cut;
                    }
                }
                let held: Vec<u64> = purses.iter().map(|purse| purse.0.load(Relaxed)).collect();
                let paid: u64 = held.iter().sum();
                let known: u64 = charges.files.get(&FILE).into_iter().flatten()
                    .map(|share| share.bytes).sum();
                prop_assert_eq!(paid, known);
                prop_assert!(paid <= size);
            }
            charges.gone(FILE);
            prop_assert!(purses.iter().all(|purse| purse.0.load(Relaxed) == 0));
        }
    }
}
