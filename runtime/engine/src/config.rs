//! How wasmtime is set up: the two configurations, and where instances come from.
//!
//! Compiled code is bound to a configuration, so everything that shapes code stands in
//! `tunables` and is equal for every tier; only the allocation differs between tiers.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Which of the two configurations a program needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Preview 1 and WASI 0.2: no concurrency inside a store, so every call is cheaper.
    Sync,
    /// WASI 0.3.
    Async,
}

/// Where a tier's instances come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// A pool of so many slots.
    Pool(u32),
    /// A mapping made for each instance.
    OnDemand,
}

/// Core instances of one component: its own modules and the adapters between them. They lie on the
/// heap, at most 1 MiB of them for a component, so that a slot is no larger for many; the bound is
/// there for the total, which is counted. A component of componentize-js has 4, with 1 memory and 2
/// tables. One of componentize-py has 14, with 1 memory and 2 tables: each library of the interpreter
/// is one, and each module in C is one more.
const CORE_INSTANCES: u32 = 100;
/// The same of a component that is concurrent in itself, each of whose core instances may keep a
/// stack. One with more runs on demand.
const CONCURRENT_CORE_INSTANCES: u32 = 8;
/// Stacks of one instance that is concurrent in itself: one for a call into each of its core
/// instances that waits with its frames in place, one for the call that runs, one to go on with.
const STACKS: u32 = CONCURRENT_CORE_INSTANCES + 2;
/// Bytes of a stack that a guest may fill with its own frames; then it traps. What JavaScript has
/// elsewhere: a program in QuickJS, whose every call is 800 bytes here, calls 1,300 deep. Costs
/// nothing until it is used. What one guest has used stays with its slot of a pool for the next one
/// and is no container's memory, which is why it is not more.
const GUEST_STACK: usize = 1 << 20;
/// Bytes of a whole stack. Below the guest's frames are those of the host, which answers its calls on
/// the same stack.
const STACK: usize = GUEST_STACK + (1 << 20);
/// Tables of one component.
const TABLES: u32 = 4;
/// Elements that a table of a pool's slot may grow to: address space only, until they are used.
const TABLE_ELEMENTS: usize = 10_000_000;
/// Bytes of a memory that stay mapped between two instances of a slot. With the page map scan
/// only pages that were touched are cleared, which makes this cheap.
const MEMORY_RESIDENT: usize = 512 << 10;
/// Free slots of a pool that keep what the image in them was left with: that image's next instance
/// is quick. So many images can take turns; they hold at most [`MEMORY_RESIDENT`] each.
const WARM_SLOTS: u32 = 256;
/// Bytes of a table that stay mapped between two instances of a slot.
const TABLE_RESIDENT: usize = 64 << 10;
/// Frames of a trap's backtrace that are told: a deep recursion must not fill the status.
const BACKTRACE_FRAMES: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(15);

/// An engine of this kind and allocation.
///
/// # Errors
/// When the address space for a pool is not to be had, or the configuration is not supported by
/// this machine.
pub fn engine(kind: Kind, allocation: Allocation) -> wasmtime::Result<Engine> {
    let mut config = tunables(kind);
    config.max_wasm_stack(GUEST_STACK).async_stack_size(STACK);
    if let Allocation::Pool(slots) = allocation {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(kind, slots)));
    }
    Engine::new(&config)
}

/// The revision of `tunables`: raised with every change to them, so that code compiled for other
/// settings is not found.
const REVISION: u32 = 1;

/// What compiled code depends on, as a short text for file names: wasmtime's version, the machine's
/// architecture and the settings that shape code. wasmtime itself checks the rest when it loads it.
pub fn fingerprint(kind: Kind) -> String {
    let kind = match kind {
        Kind::Sync => "sync",
        Kind::Async => "async",
    };
    format!(
        "{}-{}-{kind}-{REVISION}",
        crate::WASMTIME_VERSION,
        std::env::consts::ARCH
    )
}

/// Everything that shapes code; equal for all tiers of a kind.
fn tunables(kind: Kind) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .wasm_exceptions(true)
        .wasm_gc(true)
        .wasm_function_references(true)
        .wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES));
    match kind {
        Kind::Sync => config.concurrency_support(false),
        Kind::Async => config.wasm_component_model_async(true),
    };
    config
}

fn pool(kind: Kind, slots: u32) -> PoolingAllocationConfig {
    let (core_instances, stacks) = match kind {
        Kind::Sync => (CORE_INSTANCES, 1),
        Kind::Async => (CONCURRENT_CORE_INSTANCES, STACKS),
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(core_instances))
        .total_memories(slots)
        .total_tables(slots.saturating_mul(TABLES))
        .total_stacks(slots.saturating_mul(stacks))
        .total_gc_heaps(slots)
        .max_core_instances_per_component(core_instances)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .max_unused_warm_slots(WARM_SLOTS)
        .linear_memory_keep_resident(MEMORY_RESIDENT)
        .table_keep_resident(TABLE_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    pool
}
