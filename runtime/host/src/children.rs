//! Pod hosts in child processes: one for all pods, or one for each.
//!
//! A pod with a host path always has a child of its own: a child's view of the file system is
//! fixed when it starts.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use model::runtime::{
    Answer, Connection, EventSink, ExecSpec, InstanceId, InstanceSpec, PodCreated, PodId,
    PodSandbox, Runtime, RuntimeError, Signal, Stats, Update, VolumeSource,
};

use volume::PodVolumes;

use crate::child::{Child, ChildConfig};
use crate::confine::Confinement;
use crate::exec::Compiler;
use crate::pod_host::check_host_paths;

/// How children are started.
#[derive(Clone)]
pub struct ChildrenConfig {
    /// The program that serves: this one, by its own path.
    pub program: PathBuf,
    /// Makes its arguments from what it may reach.
    pub args: fn(&Confinement) -> Vec<OsString>,
    /// What every child may reach: compiled code to read, pods' files to change.
    pub confinement: Confinement,
    /// One child for each pod.
    pub one_per_pod: bool,
    /// Who is told what happens.
    pub sink: Arc<dyn EventSink>,
    /// Compiles what exec finds in the mounts.
    pub compiler: Arc<dyn Compiler>,
}

/// Runs pods in children. Clones are the same.
#[derive(Clone)]
pub struct Children {
    config: Arc<ChildrenConfig>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The child for pods without one of their own.
    shared: Option<Child>,
    pods: HashMap<PodId, Placed>,
    instances: HashMap<InstanceId, Child>,
}

/// A pod with the child that it runs in.
#[derive(Clone)]
struct Placed {
    child: Child,
    /// What is left of it when its child is gone.
    volumes: PodVolumes,
}

// === impl Children ===

impl Children {
    /// Starts nothing yet: the first pod does.
    pub fn new(config: ChildrenConfig) -> Self {
        Self {
            config: Arc::new(config),
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The child that a new pod runs in.
    fn child_for(&self, pod: &PodSandbox) -> Result<Child, RuntimeError> {
        // Here, where what is to be made may be made, and before the child is confined to it.
        check_host_paths(pod)?;
        let mut confinement = self.config.confinement.clone();
        let host_paths = pod
            .volumes
            .values()
            .filter_map(|volume| match &volume.source {
                VolumeSource::Host { path, .. } => Some(path.clone()),
                _ => None,
            });
        let before = confinement.write.len();
        confinement.write.extend(host_paths);
        let own = self.config.one_per_pod || confinement.write.len() > before;
        if own {
            return self.start(&confinement);
        }
        let mut state = self.state();
        if let Some(shared) = state.shared.as_ref().filter(|child| !child.is_gone()) {
            return Ok(shared.clone());
        }
        let shared = self.start(&confinement)?;
        state.shared = Some(shared.clone());
        Ok(shared)
    }

    fn start(&self, confinement: &Confinement) -> Result<Child, RuntimeError> {
        let config = ChildConfig {
            program: self.config.program.clone(),
            args: (self.config.args)(confinement),
            sink: Arc::clone(&self.config.sink),
            compiler: Arc::clone(&self.config.compiler),
        };
        Child::start(&config).map_err(|e| {
            RuntimeError::Exhausted(format!(
                "cannot start a pod host, {}: {e}",
                config.program.display()
            ))
        })
    }

    fn of_pod(&self, pod: PodId) -> Result<Child, RuntimeError> {
        let child = self
            .state()
            .pods
            .get(&pod)
            .map(|placed| placed.child.clone());
        child.ok_or_else(|| RuntimeError::NotFound(format!("no pod {}", pod.0)))
    }

    fn of_instance(&self, instance: InstanceId) -> Result<Child, RuntimeError> {
        let child = self.state().instances.get(&instance).cloned();
        child.ok_or_else(|| RuntimeError::NotFound(format!("no instance {}", instance.0)))
    }
}

/// Sends an order to the child that has the pod or instance.
macro_rules! forward {
    ($child:expr, $call:ident($($arg:expr),*)) => {{
        let child = $child;
        Box::pin(async move { child?.$call($($arg),*).await })
    }};
}

impl Runtime for Children {
    fn create_pod(&self, pod: PodSandbox) -> Answer<'_, PodCreated> {
        let id = pod.id;
        let child = self.child_for(&pod);
        if let Ok(child) = &child {
            let mut volumes = PodVolumes::new(pod.directory.clone(), pod.volumes.clone());
            if let Some(memory) = &self.config.confinement.memory {
                volumes = volumes.with_memory_dir(memory.clone());
            }
            let child = child.clone();
            self.state().pods.insert(id, Placed { child, volumes });
        }
        forward!(child, create_pod(pod))
    }

    fn remove_pod(&self, pod: PodId) -> Answer<'_, ()> {
        let placed = self.state().pods.remove(&pod);
        Box::pin(async move {
            let Some(Placed { child, volumes }) = placed else {
                return Ok(());
            };
            match child.remove_pod(pod).await {
                // A child that is gone has left the pod's files.
                Err(RuntimeError::Gone(_)) => {
                    let removed = tokio::task::spawn_blocking(move || volumes.remove()).await;
                    match removed {
                        Ok(Err(error)) => Err(RuntimeError::Refused(error.to_string())),
                        _ => Ok(()),
                    }
                }
                other => other,
            }
        })
    }

    fn create(&self, instance: InstanceSpec) -> Answer<'_, ()> {
        let child = self.of_pod(instance.pod);
        if let Ok(child) = &child {
            self.state().instances.insert(instance.id, child.clone());
        }
        forward!(child, create(instance))
    }

    fn start(&self, instance: InstanceId) -> Answer<'_, ()> {
        forward!(self.of_instance(instance), start(instance))
    }

    fn signal(&self, instance: InstanceId, signal: Signal) -> Answer<'_, ()> {
        forward!(self.of_instance(instance), signal(instance, signal))
    }

    fn exec(&self, exec: ExecSpec) -> Answer<'_, ()> {
        let child = self.of_instance(exec.target);
        if let Ok(child) = &child {
            self.state().instances.insert(exec.id, child.clone());
        }
        forward!(child, exec(exec))
    }

    fn input(&self, instance: InstanceId, chunk: Option<Bytes>) -> Answer<'_, ()> {
        forward!(self.of_instance(instance), input(instance, chunk))
    }

    fn update(&self, pod: PodId, update: Update) -> Answer<'_, ()> {
        forward!(self.of_pod(pod), update(pod, update))
    }

    fn pause(&self, instance: InstanceId, paused: bool) -> Answer<'_, ()> {
        forward!(self.of_instance(instance), pause(instance, paused))
    }

    fn stats(&self, instance: InstanceId) -> Answer<'_, Stats> {
        forward!(self.of_instance(instance), stats(instance))
    }

    fn read_file(&self, pod: PodId, volume: String, at_most: u64) -> Answer<'_, Bytes> {
        forward!(self.of_pod(pod), read_file(pod, volume, at_most))
    }

    fn remove(&self, instance: InstanceId) -> Answer<'_, ()> {
        let child = self.state().instances.remove(&instance);
        Box::pin(async move {
            match child {
                Some(child) if !child.is_gone() => child.remove(instance).await,
                _ => Ok(()),
            }
        })
    }

    fn connect(&self, pod: PodId, port: u16, timeout: Duration) -> Answer<'_, Connection> {
        forward!(self.of_pod(pod), connect(pod, port, timeout))
    }
}
