//! How a pod lives: a pure step function from state and event to state, actions and a deadline.
//!
//! It decides everything about one pod, from admission to the last container's end, as kubelet
//! does, and carries nothing out: no clock, no file, no task. Time comes in as a value; whoever
//! calls has one queue of events and one timer.
//!
//! A container, from top to bottom; every arrow is one event or one deadline:
//!
//! ```text
//!            ┌───────── Due <──────────────────────────────┐
//!            │           │ its turn: all before it let it  │ the delay is over, or
//!            │           v                                 │ an object changed
//!            │        Pulling ──image error──────────> Delayed  ErrImagePull, ImagePullBackOff
//!            │           │ image is here                   ^
//!            │           v                                 │
//!            │   ┌─── Launching ──create fails─────────────┤  CreateContainer(Config)Error
//!            │   │       │ its entry point was called      │
//!            │   │       v                                 │
//!            │   │    PostStart ──hook fails──┐            │
//!   first    │   │       │ hook done          │            │
//!   restart  │   │       v                    v            │
//!   at once  │   │      Up ──probe fails──> Stop           │  preStop, own turn, TERM, KILL
//!            │   │       │ exit               │ exit       │
//!            │   v       v                    v            │
//!            └── ended: does it run again? ────────────────┘  CrashLoopBackOff
//!                        │ no
//!                        v
//!                      Over
//! ```
//!
//! Launching, PostStart, Up and Stop own a live instance; no other stage does. A pod is *living*
//! while restart policies hold. It is *ending* once it is deleted, over its deadline, evicted,
//! failed in an init container or complete: then every live instance is stopped, sidecars last and
//! in reverse order. It is *over* when nothing lives and its sandbox is gone; no event changes it
//! any more.
//!
//! Each step first hears the event (records what is now true), then settles (does all that has
//! become due). A completion that names an instance which no longer lives is dropped.

mod backoff;
mod conditions;
mod container;
mod hear;
mod instance;
mod notice;
mod phase;
mod probes;
mod recover;
mod settle;
mod slot;
mod state;
mod stop;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::container::Container;
use crate::pod::Pod;
use crate::runtime::{Exit, InstanceId, Signal};
use crate::status::Condition;

pub use backoff::{CRASH_FIRST, CRASH_FORGOTTEN, CRASH_LONGEST};
pub use notice::Notice;
pub use state::State;
pub use stop::LEAST_GRACE;

/// A point on a clock that never goes back, counted from an arbitrary start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(Duration);

/// The time of a step: for deadlines, and as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// What deadlines are compared with.
    pub tick: Tick,
    /// What the status shows.
    pub wall: SystemTime,
}

/// One of a pod's containers, by its place in the spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// `spec.initContainers[i]`, a sidecar or not.
    Init(usize),
    /// `spec.containers[i]`.
    Main(usize),
}

/// What has happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The deadline has been reached, or the pod has just been admitted.
    Time,
    /// The sandbox is there, with the pod's addresses.
    SandboxReady {
        /// The first is `podIP`.
        addresses: Vec<IpAddr>,
    },
    /// The sandbox cannot be made now.
    SandboxFailed {
        /// The Kubernetes Event's reason: FailedMount, FailedCreatePodSandBox.
        reason: String,
        /// Its message.
        message: String,
        /// What to wait for before trying again.
        retry: Retry,
    },
    /// The sandbox is gone, and every instance with it.
    SandboxLost {
        /// Why.
        message: String,
    },
    /// The image is being fetched.
    ImagePulling {
        /// For which attempt.
        instance: InstanceId,
    },
    /// The image is here.
    ImageReady {
        /// For which attempt.
        instance: InstanceId,
        /// `imageID`.
        image_id: String,
        /// How it came here; `None` if it already was.
        fetched: Option<Fetched>,
    },
    /// The image cannot be had now.
    ImageFailed {
        /// For which attempt.
        instance: InstanceId,
        /// ErrImagePull, ErrImageNeverPull, InvalidImageName ….
        reason: String,
        /// What went wrong.
        message: String,
    },
    /// The instance's entry point has been called.
    Launched {
        /// Which one.
        instance: InstanceId,
    },
    /// The instance was not made, or does not start.
    LaunchFailed {
        /// Which one.
        instance: InstanceId,
        /// At which step, and why.
        failure: LaunchFailure,
    },
    /// An instance ended.
    Exited {
        /// Which one.
        instance: InstanceId,
        /// How.
        exit: Exit,
        /// The termination message, from its file or its log; may be empty.
        message: String,
    },
    /// A hook ended.
    Hooked {
        /// Of which instance.
        instance: InstanceId,
        /// Which hook.
        hook: Hook,
        /// What went wrong, if something did.
        result: Result<(), String>,
    },
    /// A probe was answered.
    Probed {
        /// Of which instance.
        instance: InstanceId,
        /// Which probe.
        kind: ProbeKind,
        /// Its answer.
        outcome: ProbeOutcome,
    },
    /// The guest set its own health.
    Health {
        /// Which instance.
        instance: InstanceId,
        /// Whether it calls itself ready.
        ready: bool,
    },
    /// A ConfigMap or Secret that the pod refers to has changed.
    ObjectsChanged,
    /// Conditions of the pod that others set, readiness gates among them.
    Conditions(Vec<Condition>),
    /// The pod is deleted: it ends within this time, or earlier if it was told so before.
    Stop {
        /// `deletionGracePeriodSeconds`.
        grace: Duration,
    },
    /// The pod ends at once: no hook, no TERM.
    Kill,
    /// The node wants it gone (eviction, a full volume): phase Failed.
    Evict {
        /// `status.reason`.
        reason: String,
        /// `status.message`.
        message: String,
        /// How long its containers have.
        grace: Duration,
    },
}

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// After a while, longer each time.
    Later,
    /// When an object that the pod refers to changes.
    OnChange,
}

/// How an image came to this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// How long it took.
    pub took: Duration,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Why an instance does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchFailure {
    /// Its environment or mounts cannot be worked out: CreateContainerConfigError.
    Config(String),
    /// The runtime refuses it: CreateContainerError.
    Create(String),
    /// It was made and does not start: it counts as ended with 128, StartError.
    Start(String),
}

/// A lifecycle hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    /// `lifecycle.postStart`.
    PostStart,
    /// `lifecycle.preStop`.
    PreStop,
}

/// One of the three probes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// `startupProbe`.
    Startup,
    /// `livenessProbe`.
    Liveness,
    /// `readinessProbe`.
    Readiness,
}

/// What a probe answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// It succeeded.
    Success,
    /// It succeeded, with something to tell: a redirect to another host.
    Warning(String),
    /// It failed; the text says how.
    Failure(String),
    /// It could not be asked, which counts neither way.
    Error(String),
}

/// What must be done now, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make volumes and network; answered by `SandboxReady` or `SandboxFailed`.
    MakeSandbox,
    /// Take volumes and network away; nothing lives in them any more.
    RemoveSandbox,
    /// Have the image of this attempt here; answered by `ImageReady` or `ImageFailed`.
    PullImage {
        /// Whose.
        container: Place,
        /// The attempt, and the instance if it comes to one.
        instance: InstanceId,
    },
    /// Make the instance and let it run; answered by `Launched` or `LaunchFailed`.
    Launch {
        /// Whose.
        container: Place,
        /// Its number.
        instance: InstanceId,
        /// How many instances the container had before: the number in its log's name.
        attempt: u32,
    },
    /// Run a hook; answered by `Hooked`.
    RunHook {
        /// Whose.
        container: Place,
        /// Beside which instance.
        instance: InstanceId,
        /// Which one.
        hook: Hook,
    },
    /// Ask a probe; answered by `Probed`, within its timeout.
    Probe {
        /// Whose.
        container: Place,
        /// Of which instance.
        instance: InstanceId,
        /// Which one.
        kind: ProbeKind,
    },
    /// Send a signal.
    Signal {
        /// To which instance.
        instance: InstanceId,
        /// Which one.
        signal: Signal,
    },
    /// Give up what still goes on for an attempt or instance: image, hooks, probes, its remains.
    Forget {
        /// Which one; nothing that comes from it will be heard.
        instance: InstanceId,
    },
    /// Write a Kubernetes Event.
    Tell(Notice),
    /// The status is another one now.
    Report,
}

/// What a step answers.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "actions must be carried out and the deadline kept"]
pub struct Step {
    /// What to do now.
    pub actions: Vec<Action>,
    /// When to step again with [`Event::Time`] if nothing else happens; always later than now.
    pub deadline: Option<Tick>,
}

/// Hears one event and does what has become due.
pub fn step(state: &mut State, event: Event, now: Now) -> Step {
    if state.is_over() {
        return Step {
            actions: Vec::new(),
            deadline: None,
        };
    }
    let mut pass = state::Pass::new(state.spec(), now);
    hear::event(state, event, &mut pass);
    settle::settle(state, &mut pass);
    Step {
        actions: pass.finish(),
        deadline: settle::deadline(state),
    }
}

// === impl Tick ===

impl Tick {
    /// So long after the clock's start.
    pub fn from_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How long after the clock's start it is.
    pub fn elapsed(self) -> Duration {
        self.0
    }

    /// So much later.
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay))
    }

    /// How long after an earlier point it is; nothing if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

// === impl Place ===

impl Place {
    /// The container at this place, if the pod has one.
    pub fn of(self, pod: &Pod) -> Option<&Container> {
        match self {
            Self::Init(index) => pod.init_containers.get(index),
            Self::Main(index) => pod.containers.get(index),
        }
    }

    /// As `involvedObject.fieldPath` of an Event names it: `spec.containers{name}`.
    pub fn field_path(self, pod: &Pod) -> String {
        let name = self.of(pod).map_or("", |container| &container.name);
        match self {
            Self::Init(_) => format!("spec.initContainers{{{name}}}"),
            Self::Main(_) => format!("spec.containers{{{name}}}"),
        }
    }
}

// === impl ProbeKind ===

impl ProbeKind {
    /// As the messages of Events begin.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// The container's probe of this kind, if it has one.
    pub fn of(self, container: &Container) -> Option<&crate::probe::Probe> {
        match self {
            Self::Startup => container.startup.as_ref(),
            Self::Liveness => container.liveness.as_ref(),
            Self::Readiness => container.readiness.as_ref(),
        }
    }
}
