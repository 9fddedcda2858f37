//! The host as a task of its caller: orders in, events out.
//!
//! ```text
//! Runtime ─┬─ orders: pods and instances, from making to removal
//!          ├─ exec: a command beside an instance ─ toolbox: what it runs where the mounts have nothing
//!          └─ events <─ pump <─ reports of instances; notices of the switch
//! ```

mod exec;
mod orders;
mod toolbox;

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use engine::{Engine, Report, instance};
use model::container::Protocol;
use model::runtime::{
    Answer, Connection, Event, EventSink, ExecSpec, InstanceId, InstanceSpec, PodCreated, PodId,
    PodSandbox, Runtime, RuntimeError, Signal, Stats, Update, WasmImage,
};
use net::{
    Binder, Listening, Notice, Observer, Peers, PodRange, Steer, Switch, SwitchConfig, SwitchError,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedSender};

pub(crate) use self::orders::check_host_paths;
pub use self::toolbox::Toolbox;
use crate::exec::Compiler;
use crate::pod::{Pod, Run};
use crate::{pump, working_dir};

/// What a host is made with.
pub struct PodHostConfig {
    /// Where pod addresses come from.
    pub range: PodRange,
    /// Who knows the pods of the run's other hosts; pods are given their addresses then.
    pub peers: Option<Arc<dyn Peers>>,
    /// Steers connections to every port of pods; without it only declared ports have doors.
    pub steering: Option<Arc<dyn Steer>>,
    /// Binds the plain doors that this process may not; without it they open higher.
    pub binder: Option<Arc<dyn Binder>>,
    /// The runtime for everything but guests.
    pub runtime: Handle,
    /// Who is told what happens.
    pub sink: Arc<dyn EventSink>,
    /// Compiles what exec finds in the mounts.
    pub compiler: Arc<dyn Compiler>,
    /// Whether a removed pod's files are left for somebody else to delete.
    pub keeps_files: bool,
    /// A directory of tmpfs for volumes in memory, where `/dev/shm` itself may not be written to.
    pub memory_dir: Option<PathBuf>,
    /// The commands that exec offers when the mounts have none.
    pub toolbox: Toolbox,
    /// Memory mappings that this process may have (`vm.max_map_count`).
    pub mappings: usize,
}

/// A pod host. Clones are the same host.
#[derive(Clone)]
pub struct PodHost {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    switch: Switch,
    sink: Arc<dyn EventSink>,
    reports: UnboundedSender<Report>,
    compiler: Arc<dyn Compiler>,
    keeps_files: bool,
    memory_dir: Option<PathBuf>,
    toolbox: Toolbox,
    toolbox_code: tokio::sync::OnceCell<WasmImage>,
    pods: Arc<Pods>,
    /// Which pod an instance belongs to.
    owners: RwLock<HashMap<InstanceId, Arc<Pod>>>,
}

/// The pods that there are.
type Pods = RwLock<HashMap<PodId, Arc<Pod>>>;

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No threads for guests.
    #[error("cannot start the threads that guests run on: {0}")]
    Threads(#[from] io::Error),
    /// No addresses for pods.
    #[error(transparent)]
    Network(#[from] SwitchError),
}

// === impl PodHost ===

impl PodHost {
    /// Starts a host. It ends when its last clone is dropped.
    ///
    /// # Errors
    /// When the system refuses threads, or no block of pod addresses is free.
    pub fn start(config: PodHostConfig) -> Result<Self, HostError> {
        let engine = Engine::start(config.mappings)?;
        let pods: Arc<Pods> = Arc::default();
        let observer = Notices {
            sink: Arc::clone(&config.sink),
            pods: Arc::downgrade(&pods),
        };
        let switch = Switch::new(SwitchConfig {
            range: config.range,
            kernel: config.runtime.clone(),
            streams: engine.runtime().clone(),
            observer: Arc::new(observer),
            peers: config.peers,
            steering: config.steering,
            binder: config.binder,
        })?;
        let (reports, incoming) = mpsc::unbounded_channel();
        config
            .runtime
            .spawn(pump::run(incoming, Arc::clone(&config.sink)));
        let inner = Inner {
            engine,
            switch,
            sink: config.sink,
            reports,
            compiler: config.compiler,
            keeps_files: config.keeps_files,
            memory_dir: config.memory_dir,
            toolbox: config.toolbox,
            toolbox_code: tokio::sync::OnceCell::new(),
            pods,
            owners: RwLock::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Makes a pod at an address that somebody else has chosen; on the host's network without one.
    pub(crate) fn create_pod_at(
        &self,
        pod: PodSandbox,
        address: Option<Ipv4Addr>,
    ) -> Result<(), RuntimeError> {
        self.make_pod(pod, address).map(drop)
    }

    fn make_pod(
        &self,
        pod: PodSandbox,
        address: Option<Ipv4Addr>,
    ) -> Result<PodCreated, RuntimeError> {
        let commands = pod.commands;
        let created = self.inner.create_pod(pod, address)?;
        if commands {
            // Beside the images of the pod's containers, which wait for it.
            let inner = Arc::clone(&self.inner);
            tokio::spawn(async move { inner.ready_for_commands().await });
        }
        Ok(created)
    }

    /// Does what else belongs to the making of an instance, and takes time.
    async fn complete(
        &self,
        id: InstanceId,
        has_directory: bool,
        commands: bool,
    ) -> Result<(), RuntimeError> {
        if has_directory {
            self.inner.make_working_dir(id).await?;
        }
        if commands {
            self.inner.ready_for_commands().await;
        }
        Ok(())
    }

    /// Joins one end of a socket pair to a listener of a pod.
    pub(crate) fn join(&self, pod: PodId, port: u16, socket: OwnedFd) -> Result<(), RuntimeError> {
        self.inner.join(pod, port, socket)
    }

    /// Its network.
    pub(crate) fn switch(&self) -> &Switch {
        &self.inner.switch
    }

    /// The doors of a pod that are open now.
    pub fn doors(&self, pod: PodId) -> Vec<net::OpenDoor> {
        self.inner.switch.doors(pod)
    }
}

impl Runtime for PodHost {
    fn create_pod(&self, pod: PodSandbox) -> Answer<'_, PodCreated> {
        let created = self.make_pod(pod, None);
        Box::pin(std::future::ready(created))
    }

    fn remove_pod(&self, pod: PodId) -> Answer<'_, ()> {
        Box::pin(self.inner.remove_pod(pod))
    }

    fn create(&self, spec: InstanceSpec) -> Answer<'_, ()> {
        let id = spec.id;
        let commands = self.inner.pod(spec.pod).is_ok_and(|pod| pod.commands);
        let has_directory = spec.working_dir != "/";
        if working_dir::is_looked_for(&spec) {
            return Box::pin(async move {
                self.inner.create_aside(spec).await?;
                self.complete(id, has_directory, commands).await
            });
        }
        let created = self.inner.create(spec);
        if !commands && !has_directory {
            return Box::pin(std::future::ready(created));
        }
        Box::pin(async move {
            created?;
            self.complete(id, has_directory, commands).await
        })
    }

    fn start(&self, instance: InstanceId) -> Answer<'_, ()> {
        let started = self.inner.start(instance);
        // Whoever is told that an http server runs, a postStart hook above all, may ask it.
        let run = started.is_ok().then(|| self.inner.instance(instance).ok());
        let server = run.flatten().and_then(|run| Some((run.http_port()?, run)));
        let Some((port, run)) = server else {
            return Box::pin(std::future::ready(started));
        };
        Box::pin(async move {
            self.inner.listens(&run, port).await;
            started
        })
    }

    fn signal(&self, instance: InstanceId, signal: Signal) -> Answer<'_, ()> {
        let signalled = self.inner.signal(instance, signal);
        Box::pin(std::future::ready(signalled))
    }

    fn exec(&self, exec: ExecSpec) -> Answer<'_, ()> {
        Box::pin(self.inner.exec(exec))
    }

    fn input(&self, instance: InstanceId, chunk: Option<Bytes>) -> Answer<'_, ()> {
        Box::pin(self.inner.input(instance, chunk))
    }

    fn update(&self, pod: PodId, update: Update) -> Answer<'_, ()> {
        Box::pin(self.inner.update(pod, update))
    }

    fn pause(&self, instance: InstanceId, paused: bool) -> Answer<'_, ()> {
        let found = self.inner.instance(instance).map(|run| {
            run.account.set_paused(paused);
            self.inner.engine.resume();
        });
        Box::pin(std::future::ready(found))
    }

    fn stats(&self, instance: InstanceId) -> Answer<'_, Stats> {
        let stats = self
            .inner
            .instance(instance)
            .map(|run| match run.instance.get() {
                Some(instance) => instance.stats(),
                None => run.account.stats(),
            });
        Box::pin(std::future::ready(stats))
    }

    fn read_file(&self, pod: PodId, volume: String, at_most: u64) -> Answer<'_, Bytes> {
        Box::pin(self.inner.read_file(pod, volume, at_most))
    }

    fn remove(&self, instance: InstanceId) -> Answer<'_, ()> {
        Box::pin(self.inner.remove(instance))
    }

    fn connect(&self, pod: PodId, port: u16, _: Duration) -> Answer<'_, Connection> {
        Box::pin(std::future::ready(self.inner.connect(pod, port)))
    }
}

// === impl Inner ===

impl Drop for Inner {
    fn drop(&mut self) {
        // A parked guest holds the engine, and its own wakers hold the guest: none ends by itself.
        let pods = std::mem::take(&mut *self.pods.write().unwrap_or_else(PoisonError::into_inner));
        for run in pods.values().flat_map(|pod| pod.take_all()) {
            if let Some(instance) = run.instance.get() {
                instance.kill(instance::signalled(9));
            }
        }
    }
}

impl Inner {
    fn pod(&self, id: PodId) -> Result<Arc<Pod>, RuntimeError> {
        let pods = self.pods.read().unwrap_or_else(PoisonError::into_inner);
        pods.get(&id)
            .cloned()
            .ok_or_else(|| RuntimeError::NotFound(format!("no pod {}", id.0)))
    }

    fn instance(&self, id: InstanceId) -> Result<Arc<Run>, RuntimeError> {
        self.owner(id)?.run(id)
    }

    fn owner(&self, id: InstanceId) -> Result<Arc<Pod>, RuntimeError> {
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        owners
            .get(&id)
            .cloned()
            .ok_or_else(|| RuntimeError::NotFound(format!("no instance {}", id.0)))
    }

    /// Notes whose an instance is; answers whose it was.
    fn own(&self, id: InstanceId, pod: Arc<Pod>) -> Option<Arc<Pod>> {
        self.owners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, pod)
    }

    fn disown(&self, id: InstanceId) -> Option<Arc<Pod>> {
        self.owners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id)
    }
}

/// What happens on the switch: notices as events, and who listens for those that wait for it.
struct Notices {
    sink: Arc<dyn EventSink>,
    /// Each holds the switch, and the switch this.
    pods: Weak<Pods>,
}

impl Observer for Notices {
    fn listening(&self, pod: PodId, listening: Listening) {
        if !listening.open || listening.protocol != Protocol::Tcp {
            return;
        }
        let Some(pods) = self.pods.upgrade() else {
            return;
        };
        let pods = pods.read().unwrap_or_else(PoisonError::into_inner);
        let pod = pods.get(&pod).cloned();
        drop(pods);
        if let Some(pod) = pod {
            pod.listens(listening.address.port());
        }
    }

    fn notice(&self, notice: Notice) {
        self.sink.event_now(Event::Notice {
            pod: notice.pod,
            instance: None,
            warning: notice.warning,
            reason: notice.reason.to_owned(),
            message: notice.message,
        });
    }
}
