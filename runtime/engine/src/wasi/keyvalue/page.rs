//! One answer of `list-keys`: the next so many in the order of digests.
//!
//! The cursor is where the answer ended in that order, not how many there were before: keys that
//! come or go meanwhile move nobody else past it. It is a prefix of the digest, so all digests of one
//! prefix are answered together.

use std::collections::BinaryHeap;

use super::key::Digest;
use super::limits;

/// The least digests after a cursor, one more than an answer holds.
#[derive(Debug)]
pub(super) struct Page {
    after: Option<u64>,
    least: BinaryHeap<Digest>,
}

// === impl Page ===

impl Page {
    pub(super) fn new(after: Option<u64>) -> Self {
        Self {
            after,
            least: BinaryHeap::new(),
        }
    }

    /// The first prefix that it can hold, where there is one.
    pub(super) fn first(&self) -> Option<u64> {
        match self.after {
            None => Some(0),
            Some(after) => after.checked_add(1),
        }
    }

    /// Takes a digest if it belongs to this answer.
    pub(super) fn offer(&mut self, digest: Digest) {
        if self
            .after
            .is_some_and(|after| digest.against(after).is_le())
        {
            return;
        }
        self.least.push(digest);
        if self.least.len() > limits::PAGE + 1 {
            self.least.pop();
        }
    }

    /// Whether greater digests need not be offered any more.
    pub(super) fn is_full(&self) -> bool {
        self.least.len() > limits::PAGE
    }

    /// The digests of the answer in order, and the cursor if there are more.
    pub(super) fn finish(self) -> (Vec<Digest>, Option<u64>) {
        let is_full = self.is_full();
        let mut digests = self.least.into_sorted_vec();
        if !is_full {
            return (digests, None);
        }
        let Some(next) = digests.pop() else {
            return (digests, None);
        };
        while digests
            .last()
            .is_some_and(|last| last.prefix() == next.prefix())
        {
            digests.pop();
        }
        // So many of one prefix nobody can make.
        let cursor = digests.last().map_or(next.prefix(), Digest::prefix);
        (digests, Some(cursor))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pages_together_are_all_that_stayed_however_much_goes_meanwhile() {
        let mut there: BTreeSet<Digest> = (0..3500).map(|n| Digest::of(&n.to_string())).collect();
        let all = there.clone();
        let (mut seen, mut cursor, mut pages) = (BTreeSet::new(), None, 0);
        loop {
            let mut page = Page::new(cursor);
            // In any order.
            there.iter().rev().for_each(|digest| page.offer(*digest));
            let (digests, next) = page.finish();
            assert!(digests.len() <= limits::PAGE && digests.is_sorted());
            for digest in &digests {
                assert!(seen.insert(*digest), "told twice");
                there.remove(digest);
            }
            pages += 1;
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((seen, pages), (all, 4));
    }

    #[test]
    fn a_page_that_just_fits_is_the_last() {
        for (count, has_more) in [(0, false), (limits::PAGE, false), (limits::PAGE + 1, true)] {
            let mut page = Page::new(None);
            (0..count).for_each(|n| page.offer(Digest::of(&n.to_string())));
            let (digests, cursor) = page.finish();
            assert_eq!(digests.len(), count.min(limits::PAGE));
            assert_eq!(cursor.is_some(), has_more, "{count}");
        }
        assert_eq!(Page::new(Some(u64::MAX)).first(), None);
    }

    #[test]
    fn what_has_one_prefix_is_told_together() {
        let mut page = Page::new(None);
        (0..limits::PAGE - 1).for_each(|n| page.offer(Digest::least(n as u64)));
        // The last place and the one behind it.
        let twins = [Digest::least(u64::MAX), Digest::twin(u64::MAX)];
        twins.into_iter().for_each(|twin| page.offer(twin));
        let (digests, cursor) = page.finish();
        assert_eq!(digests.len(), limits::PAGE - 1);
        let mut rest = Page::new(cursor);
        twins.into_iter().for_each(|twin| rest.offer(twin));
        assert_eq!(rest.finish(), (twins.to_vec(), None));
    }
}
