//! A pod's state from its recorded status, when the agent starts anew.
//!
//! Restart counts, last states, conditions and the back-off outlive the agent; its instances do
//! not: what was running counts as ended, as in kubelet when it finds a container gone.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::backoff::{Backoff, CRASH_FIRST, CRASH_FORGOTTEN};
use super::notice;
use super::probes::ProbeClock;
use super::slot::{Role, Slot, Stage, Waiting, slots};
use super::state::{Course, Ids, Sandbox, State, Why};
use super::{Now, Tick, conditions};
use crate::container::Container;
use crate::pod::Pod;
use crate::runtime::PodId;
use crate::status::{ContainerState, ContainerStatus, Phase, PodStatus, Terminated};

/// The conditions that the node sets itself.
const OWN_CONDITIONS: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

// === impl State ===

impl State {
    /// The pod as its status tells; its first event is [`super::Event::Time`].
    pub fn recover(pod: Arc<Pod>, id: PodId, recorded: &PodStatus, now: Now) -> Self {
        let mut state = Self::new(Arc::clone(&pod), id, now);
        state.start = recorded.start_time.unwrap_or(now.wall);
        state.active_deadline = pod
            .active_deadline
            .map(|limit| now.tick.after(limit.saturating_sub(age(state.start, now))));
        let (own, foreign) = recorded
            .conditions
            .iter()
            .cloned()
            .partition(|condition| OWN_CONDITIONS.contains(&condition.kind.as_str()));
        (state.conditions, state.foreign) = (own, foreign);
        state.ids = Ids::new(id);
        state.slots = slots(&pod);
        let statuses = || recorded.init_containers.iter().chain(&recorded.containers);
        for (slot, spec) in state.slots.iter_mut().zip(pod.all_containers()) {
            if let Some(status) = statuses().find(|status| status.name == spec.name) {
                slot.recover(spec, status, &pod, now);
            }
        }
        if recorded.phase.is_terminal() {
            state.recover_over(recorded);
        } else if !state.mains_over() {
            for slot in &mut state.slots {
                slot.run_anew();
            }
        }
        state.conditions = conditions::of(&state, now.wall);
        state
    }

    fn recover_over(&mut self, recorded: &PodStatus) {
        let why = match (recorded.phase, recorded.reason.is_empty()) {
            (Phase::Failed, false) => Why::Failed {
                reason: recorded.reason.clone(),
                message: recorded.message.clone(),
            },
            _ => Why::Finished,
        };
        self.course = Course::Over(why);
        self.sandbox = Sandbox::Gone;
        self.addresses.clone_from(&recorded.pod_ips);
        for slot in &mut self.slots {
            slot.stage = Stage::Over;
        }
    }

    fn mains_over(&self) -> bool {
        self.slots
            .iter()
            .filter(|slot| slot.role == Role::Main)
            .all(|slot| matches!(slot.stage, Stage::Over))
    }
}

// === impl Slot ===

impl Slot {
    fn recover(&mut self, spec: &Container, status: &ContainerStatus, pod: &Pod, now: Now) {
        self.probe_clock = ProbeClock::recovered(spec, &pod.identity.uid, now.tick);
        self.restarts = status.restart_count;
        self.image_id.clone_from(&status.image_id);
        self.container_id.clone_from(&status.container_id);
        self.before = status.last_state.clone().map(Box::new);
        let (ended, waiting) = match &status.state {
            ContainerState::Terminated(ended) => (Some(ended.clone()), None),
            ContainerState::Running { since } => (Some(gone(*since, status, now)), None),
            ContainerState::Waiting { reason, message } => {
                let waiting = Waiting {
                    reason: reason.clone(),
                    message: message.clone(),
                };
                (self.before.take().map(|before| *before), Some(waiting))
            }
        };
        self.ended = ended.map(Box::new);
        let Some(ended) = self.ended.as_deref() else {
            return;
        };
        self.has_run = true;
        let (code, since_end) = (ended.exit_code, age(ended.finished_at, now));
        self.ended_at = before(now.tick, since_end);
        self.crash = recorded_backoff(self.restarts, ended, waiting.as_ref(), now);
        self.passed = self.role == Role::Main || (self.role == Role::Init && code == 0);
        let again = self.restarts_after(spec, pod, code);
        let wait = self.crash.wait(self.ended_at).saturating_sub(since_end);
        self.stage = match (again, wait.is_zero()) {
            (false, _) => Stage::Over,
            (true, true) => Stage::Due,
            (true, false) => Stage::Delayed(Some(now.tick.after(wait))),
        };
        self.waiting = waiting.filter(|_| again && !wait.is_zero());
    }
}

/// How an instance ended that was running when the agent was last heard of.
fn gone(since: SystemTime, status: &ContainerStatus, now: Now) -> Terminated {
    Terminated {
        exit_code: 137,
        signal: None,
        reason: "ContainerStatusUnknown".to_owned(),
        message: "The container could not be located when the pod was terminated".to_owned(),
        started_at: since,
        finished_at: now.wall,
        container_id: status.container_id.clone(),
    }
}

/// The wait that the next restart has to keep: as the status says, else as the number of restarts
/// implies, unless the last instance ran long enough for it to be forgotten.
fn recorded_backoff(
    restarts: u32,
    ended: &Terminated,
    waiting: Option<&Waiting>,
    now: Now,
) -> Backoff {
    let ran = ended
        .finished_at
        .duration_since(ended.started_at)
        .unwrap_or_default();
    let said = waiting.and_then(|waiting| notice::wait_in(&waiting.message));
    let step = match (said, restarts) {
        (Some(said), _) => said,
        (None, 0) => Duration::ZERO,
        (None, _) if ran > CRASH_FORGOTTEN => Duration::ZERO,
        (None, _) => CRASH_FIRST.saturating_mul(2u32.saturating_pow(restarts - 1)),
    };
    Backoff::at(step, now.tick)
}

fn age(of: SystemTime, now: Now) -> Duration {
    now.wall.duration_since(of).unwrap_or_default()
}

/// So long before; the clock's start if it has not run for so long.
fn before(tick: Tick, ago: Duration) -> Tick {
    Tick::from_start(tick.elapsed().saturating_sub(ago))
}
