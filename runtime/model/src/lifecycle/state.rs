//! What is known of a pod: its course, its sandbox, and a slot for every container.
//!
//! Only data and questions about it. What changes it is in `hear` and `settle`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::backoff::Backoff;
use super::slot::{Role, Slot, Waiting, slots};
use super::{Action, Notice, Now, Place, Tick, conditions, phase};
use crate::pod::Pod;
use crate::runtime::{InstanceId, PodId};
use crate::status::{Condition, ContainerStatus, Phase, PodStatus};

/// Everything that decides what happens to one pod next.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) pod: Arc<Pod>,
    pub(super) ids: Ids,
    /// When the node accepted the pod: `status.startTime`.
    pub(super) start: SystemTime,
    /// When `activeDeadlineSeconds` are over.
    pub(super) active_deadline: Option<Tick>,
    pub(super) course: Course,
    pub(super) sandbox: Sandbox,
    pub(super) sandbox_backoff: Backoff,
    /// Why the sandbox was not made, until one is.
    pub(super) sandbox_failure: Option<Waiting>,
    pub(super) addresses: Vec<IpAddr>,
    /// Init containers, then the others, as in the spec.
    pub(super) slots: Vec<Slot>,
    /// The conditions that the node sets, as last reported.
    pub(super) conditions: Vec<Condition>,
    /// The conditions that others set.
    pub(super) foreign: Vec<Condition>,
}

/// Whether the pod goes on, ends or has ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Course {
    /// Restart policies hold.
    Living,
    /// Nothing starts any more, and what lives is being stopped.
    Ending(Why),
    /// Nothing lives, and nothing changes any more.
    Over(Why),
}

/// Why a pod ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Why {
    /// Its containers have, for good; the phase follows from how.
    Finished,
    /// It was deleted; the phase follows from how its containers end.
    Deleted,
    /// It failed whatever its containers do: reason and message of the status.
    Failed { reason: String, message: String },
}

/// The pod's volumes and network.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sandbox {
    /// To be made as soon as possible.
    Wanted,
    /// Ordered.
    Asked,
    /// To be made again at this time, or when an object changes.
    Delayed(Option<Tick>),
    /// There.
    Ready,
    /// Taken away, or never to be made.
    Gone,
}

/// Numbers for instances: the pod's own in the upper half, a count in the lower.
///
/// So an instance's pod is known from its number alone, see [`PodId::of`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    pod: PodId,
    next: u32,
}

/// One step: its time, and what comes out of it.
pub(super) struct Pass {
    /// The pod as its author wrote it.
    pub(super) pod: Arc<Pod>,
    /// When the step takes place.
    pub(super) now: Now,
    actions: Vec<Action>,
    changed: bool,
}

// === impl State ===

impl State {
    /// A pod that has just been accepted; its first event is [`super::Event::Time`].
    ///
    /// `id` must be below 2^32, so that instances can be numbered from it.
    pub fn new(pod: Arc<Pod>, id: PodId, now: Now) -> Self {
        let slots = slots(&pod);
        let mut state = Self {
            active_deadline: pod.active_deadline.map(|limit| now.tick.after(limit)),
            ids: Ids { pod: id, next: 0 },
            start: now.wall,
            course: Course::Living,
            sandbox: Sandbox::Wanted,
            sandbox_backoff: Backoff::default(),
            sandbox_failure: None,
            addresses: Vec::new(),
            slots,
            conditions: Vec::new(),
            foreign: Vec::new(),
            pod,
        };
        state.conditions = conditions::of(&state, now.wall);
        state
    }

    /// The pod as its author wrote it.
    pub fn spec(&self) -> Arc<Pod> {
        Arc::clone(&self.pod)
    }

    /// Whether nothing lives and nothing changes any more.
    pub fn is_over(&self) -> bool {
        matches!(self.course, Course::Over(_))
    }

    /// Whether restart policies still hold.
    pub fn is_living(&self) -> bool {
        self.course == Course::Living
    }

    /// The pod's addresses, once its sandbox is there; the first is `podIP`.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The instance of a container that has been launched and has not ended.
    pub fn instance(&self, container: Place) -> Option<InstanceId> {
        let slot = self.slots.iter().find(|slot| slot.place == container)?;
        slot.live()
            .filter(|live| live.is_running())
            .map(|live| live.instance)
    }

    /// Why a container never ran, reason and message, in a pod that is over: what it waited for
    /// last. The status tells no more than that it is unknown, as kubelet's does.
    pub fn hindrance(&self, container: Place) -> Option<(&str, &str)> {
        let slot = self.slots.iter().find(|slot| slot.place == container)?;
        let hindrance = slot.hindrance.as_ref()?;
        Some((&hindrance.reason, &hindrance.message))
    }

    /// A number for an exec or the like: like an instance of this pod, used by no container.
    pub fn next_instance(&mut self) -> InstanceId {
        self.ids.next()
    }

    /// `phase`.
    pub fn phase(&self) -> Phase {
        phase::of(self)
    }

    /// The status to report; `hostIPs` are the node's to fill in.
    pub fn status(&self) -> PodStatus {
        let (inits, mains): (Vec<_>, Vec<_>) = self
            .slots
            .iter()
            .zip(self.pod.all_containers())
            .map(|(slot, spec)| (slot.role, slot.status(spec, &self.pod)))
            .partition(|(role, _)| *role != Role::Main);
        // Kept for as long as the pod is there: with no more room than it needs.
        let statuses = |slots: Vec<(Role, ContainerStatus)>| {
            let mut statuses: Vec<_> = slots.into_iter().map(|(_, status)| status).collect();
            statuses.shrink_to_fit();
            statuses
        };
        let (reason, message) = match &self.course {
            Course::Over(Why::Failed { reason, message }) => (reason.clone(), message.clone()),
            _ => (String::new(), String::new()),
        };
        PodStatus {
            phase: self.phase(),
            reason,
            message,
            conditions: self
                .foreign
                .iter()
                .chain(&self.conditions)
                .cloned()
                .collect(),
            pod_ips: self.addresses.clone(),
            host_ips: Vec::new(),
            start_time: Some(self.start),
            qos: self.pod.qos(),
            init_containers: statuses(inits),
            containers: statuses(mains),
        }
    }
}

// === impl Ids ===

impl Ids {
    pub(super) fn next(&mut self) -> InstanceId {
        let id = InstanceId(self.pod.0 << 32 | u64::from(self.next));
        self.next = self.next.wrapping_add(1);
        id
    }

    pub(super) fn new(pod: PodId) -> Self {
        Self { pod, next: 0 }
    }
}

impl PodId {
    /// The pod that an instance numbered by a [`State`] belongs to.
    pub fn of(instance: InstanceId) -> Self {
        Self(instance.0 >> 32)
    }
}

// === impl Pass ===

impl Pass {
    pub(super) fn new(pod: Arc<Pod>, now: Now) -> Self {
        Self {
            pod,
            now,
            actions: Vec::new(),
            changed: false,
        }
    }

    /// Orders something.
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Writes a Kubernetes Event.
    pub(super) fn tell(&mut self, notice: Notice) {
        self.actions.push(Action::Tell(notice));
    }

    /// The status is another one now.
    pub(super) fn touch(&mut self) {
        self.changed = true;
    }

    /// Whether the status is another one.
    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// What to do, the report last.
    pub(super) fn finish(mut self) -> Vec<Action> {
        if self.changed {
            self.actions.push(Action::Report);
        }
        self.actions
    }
}
