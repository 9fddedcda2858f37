//! Where instances come from: a small pool first, a large one as it fills, on demand beyond.
//!
//! wasmtime binds an allocator to an engine, so each tier is an engine of its own; their settings
//! are equal, so they share compiled files. A tier is made when it is first needed: a process
//! that runs one container pays for one small pool.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use wasmtime::{Engine, component};

use crate::config::{self, Allocation, Kind};
use crate::executor::Executor;
use crate::guest::Guest;
use crate::image::ImageError;
use crate::linker;
use crate::mappings::{Mappings, Taken};

/// The tiers in the order in which they are tried. A pool's set-up costs 4.5 µs per slot, so the
/// first is small.
const ALLOCATIONS: [Allocation; TIERS] = [
    Allocation::Pool(SMALL),
    Allocation::Pool(LARGE),
    Allocation::OnDemand,
];

/// The same for programs of WASI 0.3, whose slots have ten stacks each, and set-up and mappings are
/// the stacks'.
const ASYNC_ALLOCATIONS: [Allocation; TIERS] = [
    Allocation::Pool(SMALL),
    Allocation::Pool(LARGE / 5),
    Allocation::OnDemand,
];

/// Slots of the small pool.
const SMALL: u32 = 32;
/// Slots of the large one.
const LARGE: u32 = 1000;

/// How many tiers there are.
pub(crate) const TIERS: usize = 3;
/// The last one, which holds whatever can be run at all.
pub(crate) const ON_DEMAND: usize = TIERS - 1;

/// All tiers of both kinds.
pub(crate) struct Tiers {
    sync: [OnceLock<Option<Arc<Tier>>>; TIERS],
    asynchronous: [OnceLock<Option<Arc<Tier>>>; TIERS],
    mappings: Arc<Mappings>,
}

/// One engine with its allocator and linkers.
pub(crate) struct Tier {
    /// Its place in the order.
    pub(crate) index: usize,
    pub(crate) engine: Engine,
    kind: Kind,
    allocation: Allocation,
    used: AtomicU32,
    components: OnceLock<component::Linker<Guest>>,
    http: OnceLock<component::Linker<Guest>>,
    modules: OnceLock<wasmtime::Linker<Guest>>,
}

/// A place for one instance; free again when dropped.
pub(crate) struct Slot {
    pub(crate) tier: Arc<Tier>,
    /// Those of an instance on demand.
    _mappings: Option<Taken>,
}

/// Which tier to try first in a process that knows so many images. A slot keeps the memory of the
/// image that ran in it last and is quick for that one: with more images than slots the small pool
/// would map another one each time.
pub(crate) fn first_for(images: usize) -> usize {
    usize::from(images > SMALL as usize)
}

// === impl Tiers ===

impl Tiers {
    /// For a process that may have so many mappings. None is made yet.
    pub(crate) fn new(mappings: usize) -> Self {
        Self {
            sync: Default::default(),
            asynchronous: Default::default(),
            mappings: Arc::new(Mappings::new(mappings)),
        }
    }

    /// The first tier at or after `from` with room. The last has as long as the process may map
    /// memory.
    pub(crate) fn slot(
        &self,
        executor: &Executor,
        kind: Kind,
        from: usize,
    ) -> Result<Slot, ImageError> {
        for index in from..TIERS {
            let tier = self.tier(executor, kind, index);
            let Some(tier) = tier.map_err(|e| ImageError::Load(format!("{e:#}")))? else {
                continue;
            };
            let _mappings = match tier.allocation {
                Allocation::Pool(slots) if tier.take(slots) => None,
                Allocation::Pool(_) => continue,
                Allocation::OnDemand => match self.mappings.take(kind) {
                    None => continue,
                    taken => taken,
                },
            };
            return Ok(Slot { tier, _mappings });
        }
        Err(ImageError::Machine(self.mappings.exhausted()))
    }

    /// A tier, made now if it was not yet. `None` for a pool that this machine cannot have.
    fn tier(
        &self,
        executor: &Executor,
        kind: Kind,
        index: usize,
    ) -> wasmtime::Result<Option<Arc<Tier>>> {
        let (row, allocations) = match kind {
            Kind::Sync => (&self.sync, ALLOCATIONS),
            Kind::Async => (&self.asynchronous, ASYNC_ALLOCATIONS),
        };
        let (Some(cell), Some(allocation)) = (row.get(index), allocations.get(index)) else {
            return Ok(None);
        };
        if let Some(tier) = cell.get() {
            return Ok(tier.clone());
        }
        let made = match Tier::new(kind, *allocation, index) {
            Ok(tier) => Some(Arc::new(tier)),
            Err(error) if *allocation == Allocation::OnDemand => return Err(error),
            Err(error) => {
                tracing::warn!(
                    ?allocation,
                    "no instance pool, instances are mapped on demand: {error:#}"
                );
                None
            }
        };
        let tier = cell.get_or_init(|| {
            if let Some(tier) = &made {
                tracing::debug!(?kind, ?allocation, "instances come from a new tier");
                executor.tick_for(&tier.engine);
            }
            made
        });
        Ok(tier.clone())
    }
}

// === impl Tier ===

impl Tier {
    fn new(kind: Kind, allocation: Allocation, index: usize) -> wasmtime::Result<Self> {
        Ok(Self {
            index,
            engine: config::engine(kind, allocation)?,
            kind,
            allocation,
            used: AtomicU32::new(0),
            components: OnceLock::new(),
            http: OnceLock::new(),
            modules: OnceLock::new(),
        })
    }

    /// What components may import that know no `wasi:http`.
    pub(crate) fn components(&self) -> wasmtime::Result<&component::Linker<Guest>> {
        made(&self.components, || {
            linker::for_components(&self.engine, self.kind)
        })
    }

    /// What components may import that do.
    pub(crate) fn http(&self) -> wasmtime::Result<&component::Linker<Guest>> {
        made(&self.http, || linker::for_http(&self.engine, self.kind))
    }

    /// What preview 1 modules may import.
    pub(crate) fn modules(&self) -> wasmtime::Result<&wasmtime::Linker<Guest>> {
        made(&self.modules, || linker::for_modules(&self.engine))
    }

    /// A slot of this pool, if one of so many is free.
    fn take(&self, slots: u32) -> bool {
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                (used < slots).then_some(used + 1)
            })
            .is_ok()
    }
}

/// What the cell holds, made now if it holds nothing yet.
fn made<T>(cell: &OnceLock<T>, make: impl FnOnce() -> wasmtime::Result<T>) -> wasmtime::Result<&T> {
    if let Some(made) = cell.get() {
        return Ok(made);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}

// === impl Slot ===

impl Drop for Slot {
    fn drop(&mut self) {
        if matches!(self.tier.allocation, Allocation::Pool(_)) {
            self.tier.used.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
