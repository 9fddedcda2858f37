//! The worker of one pod: owns its state, hears everything from one queue, carries actions out.
//!
//! ```text
//! queue, answers, deadline ──> hear ──> lifecycle::step ──> actions ──> act
//!               ^                                                        │
//!               └─────────────── orders under way <──────────────────────┘
//! ```
//!
//! Nothing is awaited between an event and its actions, so that a stop is heard whatever hangs: an
//! order is a future among others ([`orders`]). A parked pod has none, and no timer but its
//! deadline.

mod act;
mod ask;
mod launch;
mod orders;
mod storage;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::Pod;
use model::lifecycle::{self, Event, Place, State, Tick};
use model::pod::Identity;
use model::runtime::{self, Exit, InstanceId, PodId, Stats};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, WeakUnboundedSender};
use tokio::sync::{oneshot, watch};

use crate::exec::{Exec, ExecError, ExecRequest};
use crate::handle::{ContainerUsage, Hindrance, Report, Role};
use crate::images::{ImageNews, PreparedImage};
use crate::node::Shared;
use orders::{Bond, Orders};

type Reply<T> = oneshot::Sender<Result<T, ExecError>>;

/// What comes into a worker's queue, or from its orders.
///
/// Kept small: every queue holds room for 32 of them.
pub(crate) enum Message {
    /// From the runtime.
    Runtime(Box<runtime::Event>),
    /// What an order has brought.
    Lifecycle(Box<Event>),
    /// An image that an attempt waited for.
    Image(InstanceId, Box<PreparedImage>),
    /// What happened on an image's way.
    News(Place, Box<ImageNews>),
    /// The runtime knows a sandbox no more: its process ended. Which sandbox, and why.
    Lost(u32, String),
    /// What is left of the pod could not be taken away.
    NotRemoved(String),
    /// An order has been carried out and brings nothing; a command of this number has ended.
    Done(Option<InstanceId>),
    /// A ConfigMap or Secret that the pod refers to has changed.
    ObjectsChanged,
    /// Delete the pod.
    Stop(Option<Duration>),
    /// End it at once.
    Kill,
    /// Run a command.
    Exec(Box<ExecRequest>, Reply<Exec>),
    /// Give input to a container.
    Input(Box<(String, Option<Bytes>)>, Reply<()>),
    /// Connect to a port.
    Connect(u16, Reply<UnixStream>),
}

/// One pod's worker.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    id: PodId,
    identity: Arc<Identity>,
    state: State,
    /// The worker's own queue, for whoever must tell it something from elsewhere.
    queue: WeakUnboundedSender<Message>,
    orders: Orders,
    /// Images of attempts that have not been launched yet.
    images: Vec<(InstanceId, PreparedImage)>,
    /// Which container each instance belongs to that may still be heard of.
    places: HashMap<InstanceId, Place>,
    usage: Vec<ContainerUsage>,
    /// How many sandboxes the pod has lost.
    sandbox: u32,
    deadline: Option<Tick>,
    is_changed: bool,
}

// === impl Message ===

impl Message {
    fn lifecycle(event: Event) -> Self {
        Self::Lifecycle(Box::new(event))
    }
}

// === impl Worker ===

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        pod: Arc<Pod>,
        id: PodId,
        identity: Arc<Identity>,
        state: State,
        queue: WeakUnboundedSender<Message>,
    ) -> Self {
        let inits = pod.init_containers.iter().map(|container| {
            let role = match container.is_sidecar() {
                true => Role::Sidecar,
                false => Role::Init,
            };
            (container, role)
        });
        let mains = pod
            .containers
            .iter()
            .map(|container| (container, Role::Main));
        let usage = inits
            .chain(mains)
            .map(|(container, role)| ContainerUsage {
                container: container.name.clone(),
                role,
                ..ContainerUsage::default()
            })
            .collect();
        Self {
            shared,
            pod,
            id,
            identity,
            state,
            queue,
            orders: Orders::default(),
            images: Vec::new(),
            places: HashMap::new(),
            usage,
            sandbox: 0,
            deadline: None,
            is_changed: false,
        }
    }

    /// Works until the pod is over and its last order is carried out.
    pub(crate) async fn run(
        mut self,
        mut queue: UnboundedReceiver<Message>,
        reporter: watch::Sender<Arc<Report>>,
    ) {
        let clock = self.shared.config.clock;
        self.step(Event::Time);
        loop {
            // What is answered at once is heard before anything is reported or waited for.
            while let Some(message) = self.orders.ready().await {
                self.hear(message);
            }
            if self.is_done() {
                break;
            }
            if std::mem::take(&mut self.is_changed) {
                reporter.send_replace(Arc::new(self.report()));
            }
            let deadline = self.deadline;
            let wake = async move {
                match deadline {
                    Some(tick) => tokio::time::sleep_until(clock.instant(tick)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.orders.next() => self.hear(message),
                message = queue.recv() => match message {
                    Some(message) => self.hear(message),
                    // The router holds a sender as long as the pod is routed.
                    None => break,
                },
                () = wake => self.step(Event::Time),
            }
        }
        self.shared.router.remove_pod(self.id);
        reporter.send_replace(Arc::new(self.report()));
    }

    /// What is known of the pod.
    pub(crate) fn report(&self) -> Report {
        let mut status = self.state.status();
        status.host_ips.clone_from(&self.shared.config.host_ips);
        Report {
            status,
            usage: self.usage.clone(),
            hindrances: self.hindrances(),
            over: self.is_done(),
        }
    }

    fn hindrances(&self) -> Vec<Hindrance> {
        let inits = (0..self.pod.init_containers.len()).map(Place::Init);
        let mains = (0..self.pod.containers.len()).map(Place::Main);
        let hindrance = |place: Place| {
            let (reason, message) = self.state.hindrance(place)?;
            Some(Hindrance {
                container: place.of(&self.pod)?.name.clone(),
                reason: reason.to_owned(),
                message: message.to_owned(),
            })
        };
        inits.chain(mains).filter_map(hindrance).collect()
    }

    fn is_done(&self) -> bool {
        self.state.is_over() && self.orders.is_empty()
    }

    /// Steps with an event.
    fn step(&mut self, event: Event) {
        let now = self.shared.config.clock.now();
        let step = lifecycle::step(&mut self.state, event, now);
        self.deadline = step.deadline;
        for action in step.actions {
            self.act(action);
        }
        if self.state.is_over() {
            self.orders.forget_pod();
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Runtime(event) => self.hear_runtime(*event),
            Message::Lifecycle(event) => self.hear_lifecycle(*event),
            Message::Image(instance, image) => self.image_is_here(instance, *image),
            Message::News(place, news) => self.tell_news(place, *news),
            Message::Lost(sandbox, why) => self.lost(sandbox, why),
            Message::NotRemoved(why) => {
                self.tell(
                    None,
                    true,
                    "FailedKillPod",
                    format!("error killing pod: {why}"),
                );
            }
            Message::Done(None) => {}
            Message::Done(Some(command)) => self.remove(command),
            Message::ObjectsChanged => {
                self.refresh_volumes();
                self.step(Event::ObjectsChanged);
            }
            Message::Stop(grace) => {
                let grace = grace.unwrap_or(self.pod.grace_period);
                self.step(Event::Stop { grace });
            }
            Message::Kill => self.step(Event::Kill),
            Message::Exec(request, reply) => self.exec(*request, reply),
            Message::Input(input, reply) => self.input(*input, reply),
            Message::Connect(port, reply) => self.connect(port, reply),
        }
    }

    /// What an order has brought. A container's output follows the Event of its start.
    fn hear_lifecycle(&mut self, event: Event) {
        let started = match &event {
            Event::Launched { instance } => Some(*instance),
            _ => None,
        };
        self.step(event);
        if let Some(instance) = started {
            self.shared.router.start_told(instance);
        }
    }

    fn hear_runtime(&mut self, event: runtime::Event) {
        match event {
            runtime::Event::Exited {
                instance,
                exit,
                stats,
            } => self.exited(instance, exit, &stats),
            runtime::Event::Health {
                instance,
                ready,
                message,
            } => {
                tracing::debug!(?instance, ready, message, "the guest told its health");
                self.step(Event::Health { instance, ready });
            }
            runtime::Event::StorageFull { place, limit, .. } => self.storage_full(&place, limit),
            runtime::Event::Notice {
                instance,
                warning,
                reason,
                message,
                ..
            } => {
                let place = instance.and_then(|instance| self.places.get(&instance).copied());
                self.tell(place, warning, &reason, message);
            }
            // Output goes from the router to its outlet.
            runtime::Event::Output { .. } => {}
        }
    }

    /// Counts what an instance used, and goes on once its last words are known.
    fn exited(&mut self, instance: InstanceId, exit: Exit, stats: &Stats) {
        let Some(place) = self.places.get(&instance).copied() else {
            return;
        };
        let index = match place {
            Place::Init(index) => index,
            Place::Main(index) => self.pod.init_containers.len() + index,
        };
        if let Some(usage) = self.usage.get_mut(index) {
            usage.cpu += stats.cpu;
            usage.memory_peak = usage.memory_peak.max(stats.memory_peak);
            usage.received += stats.received;
            usage.sent += stats.sent;
        }
        self.read_last_words(place, instance, exit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_small() {
        assert!(size_of::<Message>() <= 32, "{}", size_of::<Message>());
    }
}
