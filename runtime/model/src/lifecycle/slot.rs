//! One container's place in its pod: all that outlives its instances, and how it shows.
//!
//! Only data and questions about it; its transitions are in `container`.

use std::time::SystemTime;

use super::backoff::Backoff;
use super::instance::Live;
use super::probes::ProbeClock;
use super::{Place, Tick};
use crate::container::Container;
use crate::pod::Pod;
use crate::runtime::InstanceId;
use crate::status::{ContainerState, ContainerStatus, Terminated};

/// One container of the pod: all that outlives its instances.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) place: Place,
    pub(super) role: Role,
    pub(super) stage: Stage,
    /// The reason and message of the waiting state, once there is more to say than "not yet".
    pub(super) waiting: Option<Waiting>,
    /// Why it never ran, in a pod that is over: the status has only kubelet's
    /// ContainerStatusUnknown for it.
    pub(super) hindrance: Option<Waiting>,
    /// How the last instance ended.
    pub(super) ended: Option<Box<Terminated>>,
    /// How the one before it ended.
    pub(super) before: Option<Box<Terminated>>,
    /// When the last instance ended.
    pub(super) ended_at: Tick,
    /// `restartCount`.
    pub(super) restarts: u32,
    /// Whether an instance was ever made.
    pub(super) has_run: bool,
    /// Whether it lets the containers after it start: an init container that succeeded, a sidecar
    /// that has started once, a main container whose first start was tried.
    pub(super) passed: bool,
    /// Before restarts.
    pub(super) crash: Backoff,
    /// Before a failed pull or creation is tried again.
    pub(super) retry: Backoff,
    pub(super) probe_clock: ProbeClock,
    pub(super) image_id: String,
    pub(super) container_id: String,
}

/// What a container is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Runs to its end before those after it.
    Init,
    /// An init container that runs beside those after it.
    Sidecar,
    /// One of `spec.containers`.
    Main,
}

/// Where a container stands; see the drawing in `lifecycle.rs`.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Starts as soon as it may.
    Due,
    /// Waits for its image.
    Pulling(InstanceId),
    /// Has an instance.
    Live(Box<Live>),
    /// Starts again at this time, or when an object changes.
    Delayed(Option<Tick>),
    /// Does not run any more.
    Over,
}

/// A waiting state with something to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) reason: String,
    pub(super) message: String,
}

/// One of the three container states.
pub(super) enum Shown<'a> {
    Running(SystemTime),
    Waiting(&'a Waiting),
    Ended(&'a Terminated),
    NotYet,
}

/// A slot for every container of a pod that has run none yet.
pub(super) fn slots(pod: &Pod) -> Vec<Slot> {
    let inits = pod.init_containers.iter().enumerate().map(|(index, spec)| {
        let role = if spec.is_sidecar() {
            Role::Sidecar
        } else {
            Role::Init
        };
        Slot::new(Place::Init(index), role)
    });
    let mains = (0..pod.containers.len()).map(|index| Slot::new(Place::Main(index), Role::Main));
    inits.chain(mains).collect()
}

// === impl Slot ===

impl Slot {
    fn new(place: Place, role: Role) -> Self {
        Self {
            place,
            role,
            stage: Stage::Due,
            waiting: None,
            hindrance: None,
            ended: None,
            before: None,
            ended_at: Tick::default(),
            restarts: 0,
            has_run: false,
            passed: false,
            crash: Backoff::default(),
            retry: Backoff::default(),
            probe_clock: ProbeClock::default(),
            image_id: String::new(),
            container_id: String::new(),
        }
    }

    /// The live instance, if there is one.
    pub(super) fn live(&self) -> Option<&Live> {
        match &self.stage {
            Stage::Live(live) => Some(live),
            _ => None,
        }
    }

    /// The live instance, to be changed.
    pub(super) fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.stage {
            Stage::Live(live) => Some(live),
            _ => None,
        }
    }

    /// Takes the live instance out, if there is one: nothing lives then.
    pub(super) fn take_live(&mut self) -> Option<Live> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Live(live) => Some(*live),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// The number of the attempt or live instance, if there is one: what events about it name.
    pub(super) fn attempt(&self) -> Option<InstanceId> {
        match &self.stage {
            Stage::Pulling(instance) => Some(*instance),
            Stage::Live(live) => Some(live.instance),
            Stage::Due | Stage::Delayed(_) | Stage::Over => None,
        }
    }

    /// `ready`: of an init container that it has succeeded, else that it may be sent requests.
    pub(super) fn is_ready(&self, spec: &Container) -> bool {
        match self.role {
            Role::Init => matches!(self.shown(), Shown::Ended(ended) if ended.exit_code == 0),
            Role::Sidecar | Role::Main => self.live().is_some_and(|live| live.is_ready(spec)),
        }
    }

    /// `started`: running, with its startup probe passed.
    pub(super) fn is_started(&self) -> bool {
        self.live().is_some_and(Live::is_started)
    }

    /// Which of the three container states it is in (kubelet's rule: a running one shows as
    /// running; one that will start shows why it waits, if there is a why; else the last end).
    pub(super) fn shown(&self) -> Shown<'_> {
        match (&self.stage, &self.waiting, &self.ended) {
            (Stage::Live(live), _, _) if live.is_up() => Shown::Running(live.started_at),
            (_, Some(waiting), _) => Shown::Waiting(waiting),
            (_, None, Some(ended)) => Shown::Ended(ended),
            (_, None, None) => Shown::NotYet,
        }
    }

    /// How an earlier instance ended: `lastState`.
    pub(super) fn last_state(&self) -> Option<&Terminated> {
        match self.shown() {
            Shown::Ended(_) => self.before.as_deref(),
            _ => self.ended.as_deref(),
        }
    }

    /// As reported.
    pub(super) fn status(&self, spec: &Container, pod: &Pod) -> ContainerStatus {
        let state = match self.shown() {
            Shown::Running(since) => ContainerState::Running { since },
            Shown::Ended(ended) => ContainerState::Terminated(ended.clone()),
            Shown::Waiting(waiting) => ContainerState::Waiting {
                reason: waiting.reason.clone(),
                message: waiting.message.clone(),
            },
            Shown::NotYet => ContainerState::Waiting {
                reason: not_yet(pod).to_owned(),
                message: String::new(),
            },
        };
        ContainerStatus {
            name: spec.name.clone(),
            state,
            last_state: self.last_state().cloned(),
            ready: self.is_ready(spec),
            started: self.is_started(),
            restart_count: self.restarts,
            image: spec.image.clone(),
            image_id: self.image_id.clone(),
            container_id: self.container_id.clone(),
        }
    }
}

/// The reason of a container that waits for nothing in particular.
fn not_yet(pod: &Pod) -> &'static str {
    if pod.init_containers.is_empty() {
        "ContainerCreating"
    } else {
        "PodInitializing"
    }
}
