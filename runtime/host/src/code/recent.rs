//! A table that holds what was used last, and no more than its capacity.

use std::collections::HashMap;

/// Values by name, the most recently used ones.
#[derive(Debug)]
pub(super) struct Recent<T> {
    capacity: usize,
    /// With the turn in which each was used last.
    values: HashMap<String, (T, u64)>,
    turn: u64,
}

// === impl Recent ===

impl<T> Recent<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            values: HashMap::new(),
            turn: 0,
        }
    }

    /// The value, which counts as used now.
    pub(super) fn get(&mut self, name: &str) -> Option<&T> {
        self.turn += 1;
        let (value, used) = self.values.get_mut(name)?;
        *used = self.turn;
        Some(value)
    }

    /// Adds or replaces a value; the one that was not used for longest goes where it is too many.
    pub(super) fn insert(&mut self, name: &str, value: T) {
        self.turn += 1;
        self.values.insert(name.to_owned(), (value, self.turn));
        if self.values.len() > self.capacity {
            let oldest = self.values.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.values.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let mut recent = Recent::new(2);
        recent.insert("a", 1);
        recent.insert("b", 2);
        assert_eq!(recent.get("a"), Some(&1));
        recent.insert("c", 3);
        assert_eq!(recent.get("b"), None);
        recent.insert("c", 4);
        assert_eq!(
            (recent.get("a").copied(), recent.get("c").copied()),
            (Some(1), Some(4))
        );
    }
}
