//! The node: gives pods to workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use model::lifecycle::State;
use model::runtime::PodId;
use model::status::PodStatus;
use model::{Pod, Runtime};
use tokio::sync::{broadcast, mpsc, watch};
use tracing::Instrument as _;

use crate::config::Config;
use crate::handle::{PodEvent, PodHandle};
use crate::images::Images;
use crate::objects::{ObjectKind, Objects};
use crate::router::Router;
use crate::worker::{Message, Worker};

/// Kubernetes Events that a slow reader may be behind before it misses some.
const EVENTS: usize = 4096;

/// A node. Clones are the same node. Made and used inside a tokio runtime.
#[derive(Clone)]
pub struct Node {
    pub(crate) shared: Arc<Shared>,
}

/// What all workers of a node share.
pub(crate) struct Shared {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) router: Arc<Router>,
    pub(crate) images: Arc<dyn Images>,
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) config: Config,
    pub(crate) events: broadcast::Sender<Arc<PodEvent>>,
    next_pod: AtomicU64,
}

// === impl Node ===

impl Node {
    /// A node without pods. `router` is the event sink that `runtime` was made with.
    pub fn new(
        runtime: Arc<dyn Runtime>,
        router: Arc<Router>,
        images: Arc<dyn Images>,
        objects: Arc<dyn Objects>,
        config: Config,
    ) -> Self {
        let (events, _) = broadcast::channel(EVENTS);
        let next_pod = AtomicU64::new(1);
        let shared = Shared {
            runtime,
            router,
            images,
            objects,
            config,
            events,
            next_pod,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Runs a pod from its beginning. Its first steps, as far as they wait for nobody, are taken on
    /// the caller's thread: where a pod gets a process of its own, that is begun here.
    pub fn run_pod(&self, pod: Pod) -> PodHandle {
        let (pod, id) = (Arc::new(pod), self.next_id());
        let state = State::new(Arc::clone(&pod), id, self.shared.config.clock.now());
        self.start(pod, id, state)
    }

    /// Goes on with a pod whose status was recorded before the agent was started anew.
    pub fn recover_pod(&self, pod: Pod, recorded: &PodStatus) -> PodHandle {
        let (pod, id) = (Arc::new(pod), self.next_id());
        let state = State::recover(
            Arc::clone(&pod),
            id,
            recorded,
            self.shared.config.clock.now(),
        );
        self.start(pod, id, state)
    }

    /// The Kubernetes Events of all its pods from now on. Ends with the node.
    pub fn events(&self) -> broadcast::Receiver<Arc<PodEvent>> {
        self.shared.events.subscribe()
    }

    /// Says that a ConfigMap or Secret has changed, come or gone.
    pub fn object_changed(&self, kind: ObjectKind, namespace: &str, name: &str) {
        self.shared.router.object_changed(kind, namespace, name);
    }

    /// Numbers are never used twice; the lifecycle takes those below 2^32.
    fn next_id(&self) -> PodId {
        PodId(self.shared.next_pod.fetch_add(1, Ordering::Relaxed) & u64::from(u32::MAX))
    }

    fn start(&self, pod: Arc<Pod>, id: PodId, state: State) -> PodHandle {
        let (sender, queue) = mpsc::unbounded_channel::<Message>();
        let identity = Arc::new(pod.identity.clone());
        let span = tracing::info_span!("pod", namespace = identity.namespace, name = identity.name);
        self.shared.router.add_pod(id, &pod, sender.clone());
        let worker = Worker::new(
            Arc::clone(&self.shared),
            pod,
            id,
            Arc::clone(&identity),
            state,
            sender.downgrade(),
        );
        let (reporter, report) = watch::channel(Arc::new(worker.report()));
        let mut work = Box::pin(worker.run(queue, reporter).instrument(span));
        // The first steps wait for nobody where image and runtime are at hand: the guest is on its
        // way before another thread would have heard of its pod.
        let mut nobody = Context::from_waker(Waker::noop());
        if work.as_mut().poll(&mut nobody).is_pending() {
            tokio::spawn(work);
        }
        PodHandle {
            identity,
            worker: sender,
            report,
        }
    }
}
