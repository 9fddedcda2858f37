//! The host as a task of its caller: orders in, events out.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use engine::{Account, Engine, Instance, Program, Report, instance};
use model::runtime::{
    Answer, Connection, Event, EventSink, ExecSpec, InstanceId, InstanceSpec, PodCreated, PodId,
    PodSandbox, Runtime, RuntimeError, Signal, Stats, Update, VolumeSource, WasmImage,
};
use net::{
    HostTarget, Notice, Observer, Peers, PodRange, Steer, Switch, SwitchConfig, SwitchError,
};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedSender};
use volume::PodVolumes;

use crate::exec::{self, Command, Compiler};
use crate::network;
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
}

/// Where the toolbox comes from.
#[derive(Debug, Clone)]
pub enum Toolbox {
    /// The wasm file, compiled at the first exec, or before the first container of a pod whose
    /// probes or hooks run commands.
    Wasm(Bytes),
    /// This build has none.
    Absent,
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
    pods: RwLock<HashMap<PodId, Arc<Pod>>>,
    /// Which pod an instance belongs to.
    owners: RwLock<HashMap<InstanceId, Arc<Pod>>>,
}

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
        let switch = Switch::new(SwitchConfig {
            range: config.range,
            kernel: config.runtime.clone(),
            observer: Arc::new(Notices(Arc::clone(&config.sink))),
            peers: config.peers,
            steering: config.steering,
        })?;
        let (reports, incoming) = mpsc::unbounded_channel();
        config
            .runtime
            .spawn(pump::run(incoming, Arc::clone(&config.sink)));
        let inner = Inner {
            engine: Engine::start(&config.runtime)?,
            switch,
            sink: config.sink,
            reports,
            compiler: config.compiler,
            keeps_files: config.keeps_files,
            memory_dir: config.memory_dir,
            toolbox: config.toolbox,
            toolbox_code: tokio::sync::OnceCell::new(),
            pods: RwLock::default(),
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
        let created = self.inner.create(spec);
        if !commands && !has_directory {
            return Box::pin(std::future::ready(created));
        }
        Box::pin(async move {
            created?;
            if has_directory {
                self.inner.make_working_dir(id).await?;
            }
            if commands {
                self.inner.ready_for_commands().await;
            }
            Ok(())
        })
    }

    fn start(&self, instance: InstanceId) -> Answer<'_, ()> {
        let started = self.inner.start(instance);
        Box::pin(std::future::ready(started))
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
        let pods = self.pods.get_mut().unwrap_or_else(PoisonError::into_inner);
        for run in pods.values().flat_map(|pod| pod.take_all()) {
            if let Some(instance) = run.instance.get() {
                instance.kill(instance::signalled(9));
            }
        }
    }
}

impl Inner {
    fn create_pod(
        &self,
        sandbox: PodSandbox,
        address: Option<Ipv4Addr>,
    ) -> Result<PodCreated, RuntimeError> {
        let id = sandbox.id;
        // Its first container follows at once, as a rule.
        self.engine.expect();
        check_host_paths(&sandbox)?;
        let added = match address {
            Some(address) => self.switch.add_pod_at(id, &sandbox.network, address),
            None => self.switch.add_pod(id, &sandbox.network),
        };
        let net = added.map_err(|error| {
            let message = format!("pod {}/{}: {error}", sandbox.namespace, sandbox.name);
            match error {
                SwitchError::NoAddressLeft { .. } => RuntimeError::Exhausted(message),
                _ => RuntimeError::Refused(message),
            }
        })?;
        let addresses = net.addresses();
        let (sink, memory_dir) = (Arc::clone(&self.sink), self.memory_dir.clone());
        let pod = Arc::new(Pod::new(sandbox, net, memory_dir, sink));
        self.pods
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, pod);
        Ok(PodCreated { addresses })
    }

    async fn remove_pod(&self, id: PodId) -> Result<(), RuntimeError> {
        let removed = self
            .pods
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        let Some(pod) = removed else { return Ok(()) };
        for run in pod.take_all() {
            self.disown(run.spec.id);
            if let Some(instance) = run.instance.get() {
                instance.kill(instance::signalled(9));
            }
        }
        self.switch.remove_pod(id);
        let (volumes, key) = (pod.volumes(), pod.key());
        if self.keeps_files {
            volumes.close();
            return Ok(());
        }
        blocking(move || {
            volumes
                .remove()
                .map_err(|e| RuntimeError::Refused(format!("{key}: {e}")))
        })
        .await
    }

    fn create(&self, spec: InstanceSpec) -> Result<(), RuntimeError> {
        let pod = self.pod(spec.pod)?;
        let image = self.image(&spec.image).map_err(|why| {
            RuntimeError::CannotRun(format!(
                "{}, container {}: {why}",
                pod.key(),
                spec.container
            ))
        })?;
        let files = pod.mount_table(&spec)?;
        let account = Arc::new(Account::new(spec.limits));
        let id = spec.id;
        pod.add(Run {
            spec,
            image,
            account,
            files,
            owns_files: true,
            instance: OnceLock::new(),
        })?;
        self.own(id, pod);
        Ok(())
    }

    fn image(&self, image: &WasmImage) -> Result<Arc<engine::Image>, String> {
        self.engine
            .image(&image.digest, &image.code)
            .map_err(|e| e.to_string())
    }

    fn start(&self, id: InstanceId) -> Result<(), RuntimeError> {
        let pod = self.owner(id)?;
        let run = pod.run(id)?;
        let program = Program {
            id,
            container: run.spec.container.clone(),
            identity: Arc::clone(&pod.identity),
            grace_period: run.spec.grace_period,
            image: Arc::clone(&run.image),
            args: run.spec.args.clone(),
            env: run.spec.env.clone(),
            working_dir: run.spec.working_dir.clone(),
            net: pod.net.for_instance(),
            files: run.files.clone(),
            file_calls: pod.file_calls.clone(),
            account: Arc::clone(&run.account),
            stdin: run.spec.stdin,
            tty: run.spec.tty,
            ports: run.spec.ports.clone(),
            reports: self.reports.clone(),
        };
        let mut fresh = false;
        run.instance.get_or_init(|| {
            fresh = true;
            Instance::start(&self.engine, program)
        });
        // Whoever took it out meanwhile found nothing to end.
        if pod.run(id).is_err()
            && let Some(instance) = run.instance.get()
        {
            instance.kill(instance::signalled(9));
        }
        if fresh {
            Ok(())
        } else {
            Err(RuntimeError::Refused(format!(
                "{}: instance {} was started before",
                pod.key(),
                id.0
            )))
        }
    }

    fn signal(&self, id: InstanceId, signal: Signal) -> Result<(), RuntimeError> {
        let run = self.instance(id)?;
        let Some(instance) = run.instance.get() else {
            return Err(RuntimeError::NotFound(format!(
                "instance {} has not started",
                id.0
            )));
        };
        match signal {
            Signal::Term => instance.terminate(),
            Signal::Kill => instance.kill(instance::signalled(9)),
        }
        Ok(())
    }

    async fn exec(&self, exec: ExecSpec) -> Result<(), RuntimeError> {
        let pod = self.owner(exec.target)?;
        let target = pod.run(exec.target)?;
        // Owned from now on: whoever gives it up while it is looked for has it given up.
        self.own(exec.id, Arc::clone(&pod));
        let found = self.command(&exec, &target).await;
        if self.owner(exec.id).is_err() || self.pod(pod.id).is_err() {
            self.disown(exec.id);
            return Err(RuntimeError::NotFound(
                "the command was given up".to_owned(),
            ));
        }
        let (image, args) = found.inspect_err(|_| drop(self.disown(exec.id)))?;
        let spec = InstanceSpec {
            id: exec.id,
            args,
            stdin: exec.stdin,
            tty: exec.tty,
            ports: Vec::new(),
            ..target.spec.clone()
        };
        pod.add(Run {
            spec,
            image,
            account: Arc::clone(&target.account),
            files: target.files.clone(),
            owns_files: false,
            instance: OnceLock::new(),
        })
        .inspect_err(|_| drop(self.disown(exec.id)))?;
        self.start(exec.id)
    }

    /// Makes the working directory of an instance where it is missing.
    async fn make_working_dir(&self, id: InstanceId) -> Result<(), RuntimeError> {
        let (pod, run) = (self.owner(id)?, self.instance(id)?);
        blocking(move || {
            let spec = &run.spec;
            working_dir::make(&run.files, &spec.working_dir).map_err(|why| {
                let (key, container) = (pod.key(), &spec.container);
                RuntimeError::CannotRun(format!("{key}, container {container}: {why}"))
            })
        })
        .await
    }

    /// Compiles the toolbox, if there is one and it was not yet. A compiler that fails is the
    /// command's misfortune, not the container's.
    async fn ready_for_commands(&self) {
        if let Toolbox::Wasm(_) = self.toolbox
            && let Err(error) = self.toolbox(&[]).await
        {
            tracing::warn!(%error, "the toolbox does not compile: commands that need it will fail");
        }
    }

    /// What a command runs, and with which argv.
    async fn command(
        &self,
        exec: &ExecSpec,
        target: &Run,
    ) -> Result<(Arc<engine::Image>, Vec<String>), RuntimeError> {
        let command = exec::find(&exec.command, target, self.compiler.as_ref()).await?;
        Ok(match command {
            Command::Own(args) => (Arc::clone(&target.image), args),
            Command::File(image, args) => {
                (self.image(&image).map_err(RuntimeError::CannotRun)?, args)
            }
            Command::Toolbox(args) => {
                let image = self.toolbox(&args).await?;
                (self.image(&image).map_err(RuntimeError::CannotRun)?, args)
            }
        })
    }

    async fn toolbox(&self, args: &[String]) -> Result<WasmImage, RuntimeError> {
        let Toolbox::Wasm(wasm) = &self.toolbox else {
            let name = args.first().map_or("", String::as_str);
            return Err(RuntimeError::CommandNotFound(format!(
                "{name}: not found in the container, and this build of wasmpod has no toolbox (cargo xtask builds one in)"
            )));
        };
        self.toolbox_code
            .get_or_try_init(|| self.compiler.compile(wasm.clone()))
            .await
            .cloned()
    }

    async fn input(&self, id: InstanceId, chunk: Option<Bytes>) -> Result<(), RuntimeError> {
        let run = self.instance(id)?;
        let taken = match run.instance.get() {
            Some(instance) => instance.give(chunk).await,
            None => false,
        };
        if taken {
            Ok(())
        } else {
            Err(RuntimeError::NotFound(format!(
                "instance {} takes no input",
                id.0
            )))
        }
    }

    async fn update(&self, pod: PodId, update: Update) -> Result<(), RuntimeError> {
        let pod = self.pod(pod)?;
        match update {
            Update::Limits(id, limits) => {
                pod.run(id)?.account.set_limits(limits);
                self.engine.resume();
                Ok(())
            }
            Update::AddVolumes(more) => pod.add_volumes(more),
            Update::ResetFile(volume) => {
                let (volumes, key) = (pod.volumes(), pod.key());
                blocking(move || {
                    volumes
                        .reset_file(&volume)
                        .map_err(|e| RuntimeError::Refused(format!("{key}: {e}")))
                })
                .await
            }
            Update::Files { volume, files } => {
                let (volumes, key) = (pod.volumes(), pod.key());
                blocking(move || {
                    volumes
                        .update_files(&volume, files)
                        .map_err(|e| RuntimeError::Refused(format!("{key}: {e}")))
                })
                .await
            }
        }
    }

    async fn read_file(
        &self,
        pod: PodId,
        volume: String,
        at_most: u64,
    ) -> Result<Bytes, RuntimeError> {
        let pod = self.pod(pod)?;
        let (volumes, key) = (pod.volumes(), pod.key());
        blocking(move || {
            let read = volumes.read_file(&volume, at_most);
            read.map(Bytes::from)
                .map_err(|e| RuntimeError::Refused(format!("{key}: {e}")))
        })
        .await
    }

    async fn remove(&self, id: InstanceId) -> Result<(), RuntimeError> {
        let Some(pod) = self.disown(id) else {
            return Ok(());
        };
        let Some(run) = pod.forget(id) else {
            return Ok(());
        };
        if let Some(instance) = run.instance.get() {
            instance.kill(instance::signalled(9));
        }
        if !run.owns_files {
            return Ok(());
        }
        let files = run.files.clone();
        blocking(move || {
            files
                .remove()
                .map_err(|e| RuntimeError::Refused(format!("{}: {e}", pod.key())))
        })
        .await
    }

    /// One end of a socket pair whose other end is joined to the pod's listener.
    fn connect(&self, pod: PodId, port: u16) -> Result<Connection, RuntimeError> {
        let pair = network::stream_pair();
        let (near, far) = pair.map_err(|e| RuntimeError::Exhausted(e.to_string()))?;
        self.join(pod, port, far)?;
        Ok(Connection(near))
    }

    fn join(&self, pod: PodId, port: u16, socket: OwnedFd) -> Result<(), RuntimeError> {
        let pod = self.pod(pod)?;
        let refused = |e: &dyn std::fmt::Display| {
            RuntimeError::Refused(format!("{}, port {port}: {e}", pod.key()))
        };
        let mut inside = pod
            .net
            .connect_from_host(port, HostTarget::PodIp)
            .map_err(|e| refused(&e))?;
        let mut outside = UnixStream::from_std(socket.into()).map_err(|e| refused(&e))?;
        tokio::spawn(async move {
            // Ends with either side; what went wrong is told by the connection itself.
            let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
        });
        Ok(())
    }

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

    fn own(&self, id: InstanceId, pod: Arc<Pod>) {
        self.owners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, pod);
    }

    fn disown(&self, id: InstanceId) -> Option<Arc<Pod>> {
        self.owners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id)
    }
}

/// Looks at every host path, so that one that is not as it should be is told before anything runs.
pub(crate) fn check_host_paths(sandbox: &PodSandbox) -> Result<(), RuntimeError> {
    let volumes = sandbox.volumes.iter();
    let of_host: BTreeMap<_, _> = volumes
        .filter(|(_, volume)| matches!(volume.source, VolumeSource::Host { .. }))
        .map(|(name, volume)| (name.clone(), volume.clone()))
        .collect();
    if of_host.is_empty() {
        return Ok(());
    }
    let volumes = PodVolumes::new(sandbox.directory.clone(), of_host);
    volumes
        .check()
        .map_err(|e| RuntimeError::Mount(e.to_string()))
}

/// Runs what may wait for a disk where it holds nothing up.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, RuntimeError> {
    tokio::task::spawn_blocking(call)
        .await
        .unwrap_or_else(|error| {
            Err(RuntimeError::Gone(format!(
                "a file call did not finish: {error}"
            )))
        })
}

/// The switch's notices as events.
struct Notices(Arc<dyn EventSink>);

impl Observer for Notices {
    fn notice(&self, notice: Notice) {
        self.0.event_now(Event::Notice {
            pod: notice.pod,
            instance: None,
            warning: notice.warning,
            reason: notice.reason.to_owned(),
            message: notice.message,
        });
    }
}
