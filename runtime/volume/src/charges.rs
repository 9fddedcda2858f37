//! Who pays for the files of volumes in memory: the container that wrote them.
//!
//! The rule is the kernel's for tmpfs and cgroups. What makes a file longer is charged to the
//! container that does it, and given back when the file is cut or goes, whoever does that. What a
//! container that has ended leaves behind is nobody's any more: it counts against the volume's own
//! limit, which is never above the sum of the pod's memory limits.

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

/// The files of one volume, and who has paid for which part of each.
#[derive(Default)]
pub(crate) struct Charges {
    files: HashMap<Inode, Vec<Part>>,
}

/// A stretch of a file. Files grow and are cut at their ends, so the last stretch is the first to
/// go.
struct Part {
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
        let parts = self.files.entry(inode).or_default();
        match parts.last_mut() {
            Some(last) if Weak::as_ptr(&last.payer).addr() == Arc::as_ptr(payer).addr() => {
                last.bytes = last.bytes.saturating_add(bytes);
            }
            _ => parts.push(Part {
                payer: Arc::downgrade(payer),
                bytes,
            }),
        }
    }

    /// A file became shorter.
    pub(crate) fn shrank(&mut self, inode: Inode, bytes: u64) {
        let Some(parts) = self.files.get_mut(&inode) else {
            return;
        };
        let mut left = bytes;
        while let Some(last) = parts.last_mut().filter(|_| left > 0) {
            let given = left.min(last.bytes);
            last.give(given);
            left -= given;
            if last.bytes == 0 {
                parts.pop();
            }
        }
        if parts.is_empty() {
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

// === impl Part ===

impl Part {
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

    #[test]
    fn what_is_cut_is_given_back_to_whoever_wrote_it_last() {
        let purses = [(); 2].map(|()| Arc::new(Purse::default()));
        let payers = purses.clone().map(|purse| purse as Arc<dyn Payer>);
        let file = (1, 7);
        let mut charges = Charges::default();
        for (payer, bytes) in [(0, 10), (0, 5), (1, 20), (0, 0)] {
            payers[payer].take(bytes).unwrap();
            charges.grew(file, &payers[payer], bytes);
        }
        for (cut, left) in [(5, [15, 15]), (20, [10, 0]), (0, [10, 0]), (100, [0, 0])] {
            charges.shrank(file, cut);
            assert_eq!(purses.each_ref().map(|purse| purse.0.load(Relaxed)), left);
        }
        assert!(charges.files.is_empty());
    }

    #[test]
    fn what_a_container_leaves_behind_is_nobodys() {
        let payer: Arc<dyn Payer> = Arc::new(Purse::default());
        let mut charges = Charges::default();
        charges.grew((1, 7), &payer, 10);
        drop(payer);
        let next = Arc::new(Purse::default());
        let payer: Arc<dyn Payer> = next.clone();
        payer.take(3).unwrap();
        charges.grew((1, 7), &payer, 3);
        charges.gone((1, 7));
        assert_eq!(next.0.load(Relaxed), 0);
    }
}
