//! What the host keeps for a guest's resources, charged to its container.
//!
//! Nobody tells when the table of resources grows, so they are counted, now and then: no call makes
//! more than two.

use std::sync::Arc;

use wasmtime::component::ResourceTable;

use super::targets;
use crate::account::{Account, Held};

/// Calls between two counts: as many as a usual request needs, so that it costs nothing there.
const CALLS: u32 = 64;

/// Bytes of one resource beside what a guest names in it: the largest, a body, has a channel and its
/// tasks.
const BYTES: usize = 1024;

/// The resources of one guest.
pub(super) struct Resources {
    account: Arc<Account>,
    held: Held,
    calls: u32,
}

// === impl Resources ===

impl Resources {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self {
            held: Held::new(Arc::clone(&account)),
            account,
            calls: 0,
        }
    }

    /// A call is made. Where there are more resources than memory, the container ends.
    pub(super) fn called(&mut self, table: &mut ResourceTable) {
        self.calls += 1;
        if self.calls < CALLS {
            return;
        }
        self.calls = 0;
        let resources = table.iter_mut();
        let bytes: usize = resources.map(|it| BYTES + targets::length_in(it)).sum();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if let Err(error) = self.held.set(bytes) {
            self.account.end_all(&error.exit());
        }
    }
}

#[cfg(test)]
mod tests {
    use model::runtime::Limits;

    use super::*;

    #[test]
    fn what_a_guest_keeps_is_counted_while_it_calls() {
        let account = Arc::new(Account::new(Limits {
            cpu_weight: 500,
            cpu_limit: None,
            memory: Some(100 << 10),
            storage: None,
        }));
        let mut table = ResourceTable::new();
        let mut resources = Resources::new(Arc::clone(&account));
        let mut call = |table: &mut ResourceTable| {
            for _ in 0..CALLS {
                resources.called(table);
            }
        };
        let mut kept: Vec<_> = (0..50).map(|n| table.push(n).unwrap()).collect();
        call(&mut table);
        assert_eq!(account.stats().memory, 50 << 10);
        for resource in kept.drain(..40) {
            table.delete(resource).unwrap();
        }
        call(&mut table);
        assert_eq!(account.stats().memory, 10 << 10);
        for n in 0..100 {
            table.push(n).unwrap();
        }
        assert!(!account.is_over());
        call(&mut table);
        assert!(account.is_over());
        drop(resources);
        assert_eq!(account.stats().memory, 0);
    }
}
