//! The epoch tick: the one periodic thing, and only while guests run.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// The longest that one guest holds up others, or a guest that it has woken while a thread is
/// free. Each tick costs a computing guest about a microsecond.
pub(super) const PERIOD: Duration = Duration::from_millis(2);

/// Advances the epoch of every engine, or rests.
#[derive(Default)]
pub(super) struct Tick {
    engines: Mutex<Vec<EngineWeak>>,
    /// Set by whoever wants the tick to go on.
    wanted: Mutex<bool>,
    start: Condvar,
}

// === impl Tick ===

impl Tick {
    /// Has this engine's epoch advance from now on, as long as the engine lives.
    pub(super) fn add(&self, engine: &Engine) {
        self.engines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(engine.weak());
    }

    /// Ends a rest, or the one about to begin.
    pub(super) fn start(&self) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.start.notify_one();
    }

    /// Waits until started.
    pub(super) fn rest(&self) {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = self.start.wait_while(wanted, |wanted| !*wanted);
        *woken.unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Lets one period pass.
    pub(super) fn pass(&self) {
        std::thread::park_timeout(PERIOD);
    }

    /// Advances every epoch, so that computing guests yield.
    pub(super) fn advance(&self) {
        self.engines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|engine| engine.upgrade().inspect(Engine::increment_epoch).is_some());
    }
}

impl std::fmt::Debug for Tick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tick").finish_non_exhaustive()
    }
}
