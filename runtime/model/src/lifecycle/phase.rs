//! The pod's phase, by kubelet's rule (`getPhase`), with what only a pod that is over may say.

use super::slot::{Role, Shown, Slot};
use super::state::{Course, State, Why};
use crate::status::Phase;

/// The phase of a pod.
///
/// kubelet reports a terminal phase only when nothing runs any more; so does this.
pub(super) fn of(state: &State) -> Phase {
    match &state.course {
        Course::Living | Course::Ending(_) => running(&state.slots),
        Course::Over(Why::Failed { .. }) => Phase::Failed,
        Course::Over(Why::Finished | Why::Deleted) => ended(&state.slots),
    }
}

/// Succeeded if every main container's last end was a success; sidecars do not count.
fn ended(slots: &[Slot]) -> Phase {
    let good = |slot: &Slot| matches!(&slot.ended, Some(ended) if ended.exit_code == 0);
    let counts = |slot: &&Slot| slot.role != Role::Sidecar;
    if slots.iter().filter(counts).all(good) {
        Phase::Succeeded
    } else {
        Phase::Failed
    }
}

/// Pending until every init container is done and every main container has been started once.
fn running(slots: &[Slot]) -> Phase {
    let initializing = slots
        .iter()
        .filter(|slot| slot.role != Role::Main)
        .any(|slot| !slot.passed);
    let mut mains = slots.iter().filter(|slot| slot.role == Role::Main);
    let started = any_started(slots);
    if (initializing && !started) || !mains.all(has_begun) {
        Phase::Pending
    } else {
        Phase::Running
    }
}

/// Whether a main container has ever run: then its pod does not go back to Pending for the sake of
/// a sidecar that restarts.
pub(super) fn any_started(slots: &[Slot]) -> bool {
    slots
        .iter()
        .any(|slot| slot.role == Role::Main && has_begun(slot))
}

fn has_begun(slot: &Slot) -> bool {
    matches!(slot.shown(), Shown::Running(_) | Shown::Ended(_)) || slot.ended.is_some()
}
