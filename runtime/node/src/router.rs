//! From the runtime's events to the workers of their pods.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use api::references::{self, References};
use model::Pod;
use model::runtime::{Event, EventSink, InstanceId, PodId};
use tokio::sync::mpsc::UnboundedSender;

use crate::objects::ObjectKind;
use crate::outlet::Outlet;
use crate::worker::Message;

/// Routes events by the number of their pod, output by that of its instance.
#[derive(Default)]
pub struct Router {
    pods: RwLock<HashMap<PodId, Route>>,
    outlets: RwLock<HashMap<InstanceId, Arc<Outlet>>>,
}

/// How a pod is reached, and by which objects.
struct Route {
    worker: UnboundedSender<Message>,
    namespace: String,
    references: References,
}

// === impl Router ===

impl Router {
    /// Without pods yet.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add_pod(&self, id: PodId, pod: &Pod, worker: UnboundedSender<Message>) {
        let route = Route {
            worker,
            namespace: pod.identity.namespace.clone(),
            references: references::of(pod),
        };
        self.pods_mut().insert(id, route);
    }

    pub(crate) fn remove_pod(&self, id: PodId) {
        self.pods_mut().remove(&id);
    }

    /// Tells the workers of the pods that refer to an object.
    pub(crate) fn object_changed(&self, kind: ObjectKind, namespace: &str, name: &str) {
        for route in self.pods().values() {
            let objects = match kind {
                ObjectKind::ConfigMap => &route.references.config_maps,
                ObjectKind::Secret => &route.references.secrets,
            };
            if route.namespace == namespace && objects.contains_key(name) {
                // A worker that is gone needs to be told nothing.
                let _ = route.worker.send(Message::ObjectsChanged);
            }
        }
    }

    pub(crate) fn open(&self, instance: InstanceId, outlet: Outlet) {
        self.outlets
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(instance, Arc::new(outlet));
    }

    /// Lets an instance's output through: its start has been told.
    pub(crate) fn start_told(&self, instance: InstanceId) {
        if let Some(outlet) = self.outlet(instance) {
            outlet.start_told();
        }
    }

    /// The outlet of an instance that writes no more.
    pub(crate) fn close(&self, instance: InstanceId) -> Option<Arc<Outlet>> {
        let closed = self
            .outlets
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&instance);
        closed.inspect(|outlet| outlet.start_told())
    }

    fn outlet(&self, instance: InstanceId) -> Option<Arc<Outlet>> {
        self.outlets
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&instance)
            .cloned()
    }

    fn tell(&self, pod: PodId, event: Event) {
        if let Some(route) = self.pods().get(&pod) {
            // A worker that is gone has no use for what comes late.
            let _ = route.worker.send(Message::Runtime(Box::new(event)));
        }
    }

    fn pods(&self) -> RwLockReadGuard<'_, HashMap<PodId, Route>> {
        self.pods.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn pods_mut(&self) -> RwLockWriteGuard<'_, HashMap<PodId, Route>> {
        self.pods.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// An exec's end goes to whoever asked for it; any other to the pod's worker.
    fn exited(&self, instance: InstanceId, event: Event) {
        if let (Some(Outlet::Exec(exec)), Event::Exited { exit, .. }) =
            (self.outlet(instance).as_deref(), &event)
        {
            exec.end(exit.clone());
            self.close(instance);
            return;
        }
        self.tell(PodId::of(instance), event);
    }
}

impl EventSink for Router {
    fn event(&self, event: Event) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let Event::Output {
                instance,
                stream,
                chunk,
            } = event
            else {
                return self.event_now(event);
            };
            match self.outlet(instance).as_deref() {
                Some(Outlet::Log(log)) => log.take(stream, &chunk).await,
                Some(Outlet::Exec(exec)) => exec.take(stream, chunk).await,
                None => {}
            }
        })
    }

    fn event_now(&self, event: Event) {
        match &event {
            Event::Exited { instance, .. } => self.exited(*instance, event),
            Event::Output { instance, .. } | Event::Health { instance, .. } => {
                self.tell(PodId::of(*instance), event);
            }
            Event::Notice { pod, .. } | Event::StorageFull { pod, .. } => self.tell(*pod, event),
        }
    }
}
