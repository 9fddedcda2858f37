//! Runs that measure CPU time and want the machine for themselves.
//!
//! Tests run side by side. One that measures what a container got of the CPU waits until no other
//! run is under way, and others wait for it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many runs are under way, and whether one of them is alone.
static MACHINE: Mutex<(usize, bool)> = Mutex::new((0, false));
static FREED: Condvar = Condvar::new();

/// A place on the machine; given back when dropped.
pub(super) struct Place {
    is_alone: bool,
}

// === impl Place ===

impl Place {
    /// Waits for a place: among others, or alone.
    pub(super) fn take(is_alone: bool) -> Self {
        let is_taken = |(runs, alone): &mut (usize, bool)| *alone || (is_alone && *runs > 0);
        let mut machine = FREED
            .wait_while(machine(), is_taken)
            .unwrap_or_else(PoisonError::into_inner);
        machine.0 += 1;
        machine.1 = is_alone;
        Self { is_alone }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut machine = machine();
        machine.0 -= 1;
        if self.is_alone {
            machine.1 = false;
        }
        FREED.notify_all();
    }
}

fn machine() -> MutexGuard<'static, (usize, bool)> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}
