//! The second half of a step: doing all that has become due, in one pass.
//!
//! The order matters: the pod's end is decided first, so that nothing starts in a pod that ends;
//! stops come before starts; the end of the pod is last, when nothing lives any more. After it
//! nothing is due, so the next deadline lies in the future.

use std::time::Duration;

use super::slot::{Role, Slot, Stage};
use super::state::{Course, Pass, Sandbox, State, Why};
use super::stop::Order;
use super::{Action, Notice, Tick, conditions};
use crate::status::Terminated;

/// The reason and exit code of a container that did not come to run before its pod ended.
const UNKNOWN: (&str, i32) = ("ContainerStatusUnknown", 137);

/// Does what is due.
pub(super) fn settle(state: &mut State, pass: &mut Pass) {
    keep_active_deadline(state, pass);
    complete(state, pass);
    stop_and_probe(state, pass);
    if state.is_living() {
        make_sandbox(state, pass);
        start(state, pass);
    }
    finish(state, pass);
    if pass.is_changed() {
        state.conditions = conditions::of(state, pass.now.wall);
    }
}

/// When the next thing becomes due.
pub(super) fn deadline(state: &State) -> Option<Tick> {
    let living = state.is_living();
    let sandbox = match state.sandbox {
        Sandbox::Delayed(due) => due,
        _ => None,
    };
    let pod = [state.active_deadline, sandbox]
        .into_iter()
        .flatten()
        .filter(|_| living);
    let slots = state.slots.iter().filter_map(Slot::deadline);
    pod.chain(slots).min()
}

/// The pod ends: nothing starts any more, and what lives is stopped within `grace`.
pub(super) fn end_pod(state: &mut State, why: Why, grace: Duration, pass: &mut Pass) {
    if state.is_living() {
        state.course = Course::Ending(why);
        pass.touch();
    }
    let pod = state.spec();
    for (slot, spec) in state.slots.iter_mut().zip(pod.all_containers()) {
        slot.rest(pass);
        let order = Order {
            grace,
            message: format!("Stopping container {}", spec.name),
            orderly: slot.role == Role::Sidecar,
        };
        slot.stop(order, pass);
    }
}

/// `activeDeadlineSeconds`.
fn keep_active_deadline(state: &mut State, pass: &mut Pass) {
    let over = state
        .active_deadline
        .is_some_and(|deadline| deadline <= pass.now.tick);
    if !over || !state.is_living() {
        return;
    }
    let message = "Pod was active on the node longer than the specified deadline";
    pass.tell(Notice::pod_normal("DeadlineExceeded", message));
    let why = Why::Failed {
        reason: "DeadlineExceeded".to_owned(),
        message: message.to_owned(),
    };
    end_pod(state, why, pass.pod.grace_period, pass);
}

/// A pod is complete when its main containers have ended for good, or an init container has failed
/// for good; its sidecars need not have.
fn complete(state: &mut State, pass: &mut Pass) {
    if !state.is_living() {
        return;
    }
    let over = |slot: &Slot| matches!(slot.stage, Stage::Over);
    let failed = |slot: &Slot| slot.role == Role::Init && over(slot) && !slot.passed;
    let mut mains = state.slots.iter().filter(|slot| slot.role == Role::Main);
    if mains.all(over) || state.slots.iter().any(failed) {
        end_pod(state, Why::Finished, pass.pod.grace_period, pass);
    }
}

fn stop_and_probe(state: &mut State, pass: &mut Pass) {
    let pod = state.spec();
    let lives = |slot: &Slot| slot.live().is_some();
    let others = state
        .slots
        .iter()
        .any(|slot| slot.role != Role::Sidecar && lives(slot));
    let last_sidecar = state
        .slots
        .iter()
        .rposition(|slot| slot.role == Role::Sidecar && lives(slot));
    for (index, (slot, spec)) in state.slots.iter_mut().zip(pod.all_containers()).enumerate() {
        let turn = slot.role != Role::Sidecar || (!others && last_sidecar == Some(index));
        slot.stop_further(spec, turn, pass);
        slot.ask_probes(pass);
    }
}

fn make_sandbox(state: &mut State, pass: &mut Pass) {
    let due = match state.sandbox {
        Sandbox::Wanted => true,
        Sandbox::Delayed(Some(due)) => due <= pass.now.tick,
        _ => false,
    };
    if due {
        state.sandbox = Sandbox::Asked;
        pass.act(Action::MakeSandbox);
    }
}

/// Starts what is due and whose turn has come: a container may start once all before it let it.
fn start(state: &mut State, pass: &mut Pass) {
    let mut open = state.sandbox == Sandbox::Ready;
    for slot in &mut state.slots {
        if let Stage::Delayed(Some(due)) = slot.stage
            && due <= pass.now.tick
        {
            slot.stage = Stage::Due;
        }
        if open && matches!(slot.stage, Stage::Due) {
            let instance = state.ids.next();
            slot.begin(instance, pass);
        }
        open &= slot.passed;
    }
}

/// When nothing lives in a pod that ends, its sandbox goes, and then it is over.
fn finish(state: &mut State, pass: &mut Pass) {
    let Course::Ending(why) = &state.course else {
        return;
    };
    let lives = state.slots.iter().any(|slot| slot.live().is_some());
    if lives || state.sandbox == Sandbox::Asked {
        return;
    }
    state.course = Course::Over(why.clone());
    if state.sandbox == Sandbox::Ready {
        pass.act(Action::RemoveSandbox);
    }
    state.sandbox = Sandbox::Gone;
    mark_unknown(state, pass);
    pass.touch();
}

/// A pod that is over has no container that waits: those that should have run and did not count as
/// failed. Containers behind a failed init container stay as they are (kubelet's rule).
fn mark_unknown(state: &mut State, pass: &Pass) {
    let initialized = state
        .slots
        .iter()
        .filter(|slot| slot.role != Role::Main)
        .all(|slot| slot.passed);
    for slot in &mut state.slots {
        if slot.ended.is_some() {
            continue;
        }
        let waited = slot.waiting.as_ref().or(state.sandbox_failure.as_ref());
        slot.hindrance = waited.cloned();
        if initialized && slot.role == Role::Main {
            let (reason, exit_code) = UNKNOWN;
            slot.waiting = None;
            slot.ended = Some(Box::new(Terminated {
                exit_code,
                signal: None,
                reason: reason.to_owned(),
                message: "The container could not be located when the pod was terminated"
                    .to_owned(),
                started_at: pass.now.wall,
                finished_at: pass.now.wall,
                container_id: String::new(),
            }));
        }
    }
}

// === impl Slot ===

impl Slot {
    /// When something about this container becomes due.
    fn deadline(&self) -> Option<Tick> {
        match &self.stage {
            Stage::Delayed(due) => *due,
            Stage::Live(live) => {
                let stop = live.stop.and_then(|stop| stop.deadline());
                [stop, live.next_probe()].into_iter().flatten().min()
            }
            Stage::Due | Stage::Pulling(_) | Stage::Over => None,
        }
    }
}
