//! What a guest says of its own health: told when it changes, and not faster than anybody can hear.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::runtime::InstanceId;
use tokio::sync::mpsc::UnboundedSender;

use crate::instance::Report;

/// The shortest time between two reports of one instance: what it says in between is replaced by
/// what it says last.
const PAUSE: Duration = Duration::from_millis(100);

/// One instance's health. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Health(Arc<Teller>);

#[derive(Debug)]
struct Teller {
    instance: InstanceId,
    reports: UnboundedSender<Report>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Option<(bool, String)>,
    /// What is to be told after the pause, if one is under way.
    next: Option<(bool, String)>,
    is_pausing: bool,
}

// === impl Health ===

impl Health {
    pub(crate) fn new(instance: InstanceId, reports: UnboundedSender<Report>) -> Self {
        Self(Arc::new(Teller {
            instance,
            reports,
            state: Mutex::default(),
        }))
    }

    /// Tells it now, or after the pause, unless it says nothing new.
    pub(crate) fn tell(&self, ready: bool, message: String) {
        let mut state = self.state();
        if state.is_pausing {
            state.next = Some((ready, message));
            return;
        }
        if state.told.as_ref() == Some(&(ready, message.clone())) {
            return;
        }
        state.is_pausing = true;
        state.told = Some((ready, message.clone()));
        drop(state);
        self.report(ready, message);
        let own = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PAUSE).await;
            let next = {
                let mut state = own.state();
                state.is_pausing = false;
                state.next.take()
            };
            if let Some((ready, message)) = next {
                own.tell(ready, message);
            }
        });
    }

    fn report(&self, ready: bool, message: String) {
        // Nobody listens any more only when the host is going away.
        let _ = self.0.reports.send(Report::Health {
            instance: self.0.instance,
            ready,
            message,
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
