//! The pod's conditions as kubelet words them, in kubelet's order.

use std::time::SystemTime;

use super::phase;
use super::slot::{Role, Shown, Slot};
use super::state::{Course, Sandbox, State};
use crate::container::Container;
use crate::status::{Condition, Phase};

/// A condition without its time.
struct Verdict {
    status: bool,
    reason: &'static str,
    message: String,
}

/// The conditions of a pod now. One whose status is what it was keeps its time.
pub(super) fn of(state: &State, now: SystemTime) -> Vec<Condition> {
    let phase = state.phase();
    let containers = containers_ready(state, phase);
    let ready = ready(state, &containers);
    [
        ("PodReadyToStartContainers", sandbox_ready(state)),
        ("Initialized", initialized(state, phase)),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", Verdict::yes()),
    ]
    .into_iter()
    .map(|(kind, verdict)| {
        let before = state.conditions.iter().find(|before| before.kind == kind);
        let since = before
            .filter(|before| before.status == verdict.status)
            .map_or(now, |before| before.since);
        Condition {
            kind: kind.to_owned(),
            status: verdict.status,
            reason: verdict.reason.to_owned(),
            message: verdict.message,
            since,
        }
    })
    .collect()
}

fn sandbox_ready(state: &State) -> Verdict {
    if state.sandbox == Sandbox::Ready {
        Verdict::yes()
    } else {
        Verdict::no("", String::new())
    }
}

fn initialized(state: &State, phase: Phase) -> Verdict {
    if phase == Phase::Succeeded {
        return Verdict {
            reason: "PodCompleted",
            ..Verdict::yes()
        };
    }
    let waiting = names(state, |slot, _| match slot.role {
        Role::Main => false,
        Role::Init => !matches!(slot.shown(), Shown::Ended(ended) if ended.exit_code == 0),
        Role::Sidecar => !slot.is_started(),
    });
    if waiting.is_empty() || phase::any_started(&state.slots) {
        return Verdict::yes();
    }
    let message = format!("containers with incomplete status: [{}]", waiting.join(" "));
    Verdict::no("ContainersNotInitialized", message)
}

fn containers_ready(state: &State, phase: Phase) -> Verdict {
    let failing = matches!(
        &state.course,
        Course::Ending(super::state::Why::Failed { .. })
    );
    match phase {
        Phase::Succeeded => return Verdict::no("PodCompleted", String::new()),
        Phase::Failed => return Verdict::no("PodFailed", String::new()),
        _ if failing => return Verdict::no("PodFailed", String::new()),
        Phase::Pending | Phase::Running => {}
    }
    let unready = names(state, |slot, spec| {
        slot.role != Role::Init && !slot.is_ready(spec)
    });
    if unready.is_empty() {
        return Verdict::yes();
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Verdict::no("ContainersNotReady", message)
}

/// As ContainersReady, and every readiness gate must be true as well.
fn ready(state: &State, containers: &Verdict) -> Verdict {
    if !containers.status {
        return Verdict::no(containers.reason, containers.message.clone());
    }
    let problems: Vec<String> = state
        .pod
        .readiness_gates
        .iter()
        .filter_map(|gate| {
            let condition = state.foreign.iter().find(|foreign| foreign.kind == *gate);
            match condition {
                None => Some(format!(
                    "corresponding condition of pod readiness gate \"{gate}\" does not exist."
                )),
                Some(condition) if !condition.status => Some(format!(
                    "the status of pod readiness gate \"{gate}\" is not \"True\", but False"
                )),
                Some(_) => None,
            }
        })
        .collect();
    if problems.is_empty() {
        return Verdict::yes();
    }
    Verdict::no("ReadinessGatesNotReady", problems.join(", "))
}

/// The names of the containers of which something holds.
fn names(state: &State, holds: impl Fn(&Slot, &Container) -> bool) -> Vec<&str> {
    state
        .slots
        .iter()
        .zip(state.pod.all_containers())
        .filter(|(slot, spec)| holds(slot, spec))
        .map(|(_, spec)| spec.name.as_str())
        .collect()
}

// === impl Verdict ===

impl Verdict {
    fn yes() -> Self {
        Self {
            status: true,
            reason: "",
            message: String::new(),
        }
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self {
            status: false,
            reason,
            message,
        }
    }
}
