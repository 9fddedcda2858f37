//! Memory of one instance, charged to its container's account.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::account::{Account, TABLE_ELEMENT};

/// Memories and tables of one instance: composed components have a few, an attack has thousands.
const MEMORIES: usize = 100;
/// Core instances of one instance, as in wasmtime's own defaults.
const INSTANCES: usize = 10_000;

/// Counts growth and refuses it over the limit. What was taken is given back when it is dropped
/// with its store.
#[derive(Debug)]
pub(crate) struct Limiter {
    account: Arc<Account>,
    taken: u64,
}

// === impl Limiter ===

impl Limiter {
    pub(crate) fn new(account: Arc<Account>) -> Self {
        Self { account, taken: 0 }
    }

    /// Bytes of its memories and tables.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whose memory it is.
    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// An error here traps the guest: over its limit a container is killed, as by the kernel,
    /// rather than told that memory is short.
    fn grow(&mut self, more: usize) -> wasmtime::Result<bool> {
        let more = u64::try_from(more)?;
        self.account.grow(more)?;
        self.taken += more;
        Ok(true)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(desired.saturating_sub(current))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(
            desired
                .saturating_sub(current)
                .saturating_mul(TABLE_ELEMENT),
        )
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        MEMORIES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.account.shrink(self.taken);
    }
}
