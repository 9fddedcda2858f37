//! The first half of a step: recording what an event says. Nothing that is merely due happens
//! here; `settle` does that.

use super::settle::end_pod;
use super::slot::{Role, Slot, Stage, Waiting};
use super::state::{Course, Pass, Sandbox, State, Why};
use super::{Event, Notice, Retry};
use crate::container::Container;
use crate::runtime::{Exit, InstanceId};

/// The exit code of instances that went down with their sandbox.
const LOST: i32 = 137;

/// Hears one event.
pub(super) fn event(state: &mut State, event: Event, pass: &mut Pass) {
    match event {
        Event::Time => {}
        Event::SandboxReady { addresses } => {
            if state.sandbox == Sandbox::Asked {
                state.sandbox = Sandbox::Ready;
                state.sandbox_backoff.reset();
                state.sandbox_failure = None;
                state.addresses = addresses;
                pass.touch();
            }
        }
        Event::SandboxFailed {
            reason,
            message,
            retry,
        } => sandbox_failed(state, &reason, message, retry, pass),
        Event::SandboxLost { message } => sandbox_lost(state, &message, pass),
        Event::ObjectsChanged => objects_changed(state),
        Event::Conditions(conditions) => {
            if state.foreign != conditions {
                state.foreign = conditions;
                pass.touch();
            }
        }
        Event::Stop { grace } => end_pod(state, Why::Deleted, grace, pass),
        Event::Kill => {
            // First, so that nobody is told of a grace that is none.
            for slot in &mut state.slots {
                slot.kill(pass);
            }
            end_pod(state, Why::Deleted, std::time::Duration::ZERO, pass);
        }
        Event::Evict {
            reason,
            message,
            grace,
        } => {
            if state.is_living() {
                pass.tell(Notice::pod_warning(&reason, message.clone()));
            }
            end_pod(state, Why::Failed { reason, message }, grace, pass);
        }
        other => container_event(state, other, pass),
    }
}

/// Hears an event about one attempt or instance; one that is no more is not heard.
fn container_event(state: &mut State, event: Event, pass: &mut Pass) {
    let living = state.is_living();
    match event {
        Event::ImagePulling { instance } => with(state, instance, pass, |slot, spec, pass| {
            pass.tell(Notice::pulling(slot.place, &spec.image));
        }),
        Event::ImageReady {
            instance,
            image_id,
            fetched,
        } => with(state, instance, pass, |slot, spec, pass| {
            slot.image_ready(spec, image_id, fetched, pass);
        }),
        Event::ImageFailed {
            instance,
            reason,
            message,
        } => with(state, instance, pass, |slot, spec, pass| {
            slot.image_failed(spec, reason, message, pass);
        }),
        Event::Launched { instance } => with(state, instance, pass, Slot::launched),
        Event::LaunchFailed { instance, failure } => {
            with(state, instance, pass, |slot, spec, pass| {
                slot.launch_failed(spec, failure, living, pass);
            });
        }
        Event::Exited {
            instance,
            exit,
            message,
        } => with(state, instance, pass, |slot, spec, pass| {
            slot.exited(spec, exit, message, living, pass);
        }),
        Event::Hooked {
            instance,
            hook,
            result,
        } => with(state, instance, pass, |slot, spec, pass| {
            slot.hooked(spec, hook, result, pass);
        }),
        Event::Probed {
            instance,
            kind,
            outcome,
        } => with(state, instance, pass, |slot, spec, pass| {
            slot.probed(spec, kind, outcome, pass);
        }),
        Event::Health { instance, ready } => with(state, instance, pass, |slot, _, pass| {
            slot.health(ready, pass);
        }),
        _ => {}
    }
}

/// Calls back with the container whose attempt or live instance this is.
fn with(
    state: &mut State,
    instance: InstanceId,
    pass: &mut Pass,
    hear: impl FnOnce(&mut Slot, &Container, &mut Pass),
) {
    let pod = state.spec();
    let slot = state
        .slots
        .iter_mut()
        .find(|slot| slot.attempt() == Some(instance));
    if let Some(slot) = slot
        && let Some(spec) = slot.place.of(&pod)
    {
        hear(slot, spec, pass);
    }
}

fn sandbox_failed(state: &mut State, reason: &str, message: String, retry: Retry, pass: &mut Pass) {
    if state.sandbox != Sandbox::Asked {
        return;
    }
    state.sandbox_failure = Some(Waiting {
        reason: reason.to_owned(),
        message: message.clone(),
    });
    pass.tell(Notice::pod_warning(reason, message));
    state.sandbox = match (state.is_living(), retry) {
        (false, _) => Sandbox::Gone,
        (true, Retry::OnChange) => Sandbox::Delayed(None),
        (true, Retry::Later) => Sandbox::Delayed(Some(state.sandbox_backoff.fail(pass.now.tick))),
    };
}

/// Every instance has ended with its sandbox. What runs again gets a new one, with the init
/// containers from the first.
fn sandbox_lost(state: &mut State, message: &str, pass: &mut Pass) {
    if !matches!(state.sandbox, Sandbox::Ready) {
        return;
    }
    let living = state.is_living();
    let pod = state.spec();
    for (slot, spec) in state.slots.iter_mut().zip(pod.all_containers()) {
        slot.never_launched(living, pass);
        let exit = Exit {
            code: LOST,
            reason: "Error".to_owned(),
            message: message.to_owned(),
        };
        slot.exited(spec, exit, String::new(), living, pass);
    }
    let again = |slot: &Slot| slot.role == Role::Main && !matches!(slot.stage, Stage::Over);
    if living && state.slots.iter().any(again) {
        pass.tell(Notice::pod_normal(
            "SandboxChanged",
            "Pod sandbox changed, it will be killed and re-created.",
        ));
        state.sandbox = Sandbox::Wanted;
        for slot in &mut state.slots {
            slot.run_anew();
        }
    } else {
        state.sandbox = Sandbox::Gone;
    }
    pass.touch();
}

/// What waits for an object is tried again.
fn objects_changed(state: &mut State) {
    if state.course != Course::Living {
        return;
    }
    if state.sandbox == Sandbox::Delayed(None) {
        state.sandbox = Sandbox::Wanted;
    }
    for slot in &mut state.slots {
        if matches!(slot.stage, Stage::Delayed(None)) {
            slot.stage = Stage::Due;
        }
    }
}
