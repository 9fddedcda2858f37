//! The memory mappings of this process, of which Linux allows only so many.
//!
//! An instance on demand has some of its own. Where the last one is taken, not even the allocator gets
//! memory any more and the process ends: so they are counted, and an instance too many is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::Kind;

/// Mappings of everything else: the pools, the code of images, threads, the allocator. Of a process that
/// may have few it is a quarter of them.
const RESERVED: usize = 16 << 10;

/// Mappings of one instance on demand of preview 1 or WASI 0.2: its memory with its guards and data, its
/// table, its stack. One with many memories or tables has more, which are not counted: [`RESERVED`] stands
/// for them.
const SYNC: usize = 8;

/// The same for WASI 0.3, with the stacks of three calls that wait.
const ASYNC: usize = 12;

/// What instances on demand may still take.
#[derive(Debug)]
pub(crate) struct Mappings {
    /// All that the process may have.
    most: usize,
    left: AtomicUsize,
}

/// The mappings of one instance, given back when dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    from: Arc<Mappings>,
    count: usize,
}

/// How many instances a process may have that may have so many mappings, each on demand and of whatever
/// kind.
pub fn instances_within(mappings: usize) -> usize {
    on_demand(mappings) / ASYNC
}

/// What is left for instances on demand.
fn on_demand(mappings: usize) -> usize {
    mappings - RESERVED.min(mappings / 4)
}

// === impl Mappings ===

impl Mappings {
    /// For a process that may have so many.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            left: AtomicUsize::new(on_demand(most)),
        }
    }

    /// Those of an instance on demand; nothing where there are not as many.
    pub(crate) fn take(self: &Arc<Self>, kind: Kind) -> Option<Taken> {
        let count = match kind {
            Kind::Sync => SYNC,
            Kind::Async => ASYNC,
        };
        let taken = self
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                left.checked_sub(count)
            });
        taken.ok()?;
        let from = Arc::clone(self);
        Some(Taken { from, count })
    }

    /// Why there are none left, and what to do.
    pub(crate) fn exhausted(&self) -> String {
        format!(
            "the process that runs it has as many instances as it may: of the {} memory mappings that the kernel allows one process, each takes {SYNC} or more; end some pods, or raise the sysctl vm.max_map_count",
            self.most
        )
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.from.left.fetch_add(self.count, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_instances_as_are_promised_find_room() {
        let most = 65_530;
        let mappings = Arc::new(Mappings::new(most));
        for kind in [Kind::Sync, Kind::Async] {
            let taken: Vec<_> = std::iter::from_fn(|| mappings.take(kind)).collect();
            assert!(taken.len() >= instances_within(most), "{kind:?}");
            assert!(mappings.take(Kind::Async).is_none());
            drop(taken);
            assert!(mappings.take(kind).is_some());
        }
        assert_eq!(instances_within(most), 4095);
        assert_eq!(instances_within(100), 6);
    }
}
