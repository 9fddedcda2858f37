//! Pod hosts in child processes: as many as hold all pods, or one for each.
//!
//! A pod with a host path always has a child of its own: a child's view of the file system is
//! fixed when it starts. All pods are on one network all the same, whichever child has them.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
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
use crate::network::{Lease, Network};
use crate::pod_host::check_host_paths;
use crate::private::private_directory;

/// How children are started.
#[derive(Clone)]
pub struct ChildrenConfig {
    /// The program that serves: this one, by its own path.
    pub program: PathBuf,
    /// Makes its arguments from what it may reach, and from whether connections to its pods are
    /// steered ([`crate::ServeConfig`]).
    pub args: fn(&Confinement, bool) -> Vec<OsString>,
    /// What the child of many pods may reach: compiled code to read, pods' files to change. A child
    /// of one pod may change that pod's files only.
    pub confinement: Confinement,
    /// Where pod addresses come from.
    pub range: net::PodRange,
    /// Steers connections to every port of pods; without it only declared ports have doors.
    pub steering: Option<net::Steering>,
    /// One child for each pod.
    pub one_per_pod: bool,
    /// Containers that a child of many pods takes, unless one pod alone has more.
    pub containers: usize,
    /// Who is told what happens.
    pub sink: Arc<dyn EventSink>,
    /// Compiles what exec finds in the mounts.
    pub compiler: Arc<dyn Compiler>,
}

/// Runs pods in children. Clones are the same.
#[derive(Clone)]
pub struct Children {
    config: Arc<ChildrenConfig>,
    network: Arc<Network>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The children for pods without one of their own.
    shared: Vec<Shared>,
    pods: HashMap<PodId, Placed>,
    /// With their pods: an instance goes with its pod, removed or not, and its child with the last.
    instances: HashMap<InstanceId, (PodId, Child)>,
    /// The same by pod.
    of_pods: BTreeSet<(PodId, InstanceId)>,
}

/// A child of many pods.
struct Shared {
    child: Child,
    /// Of all its pods.
    containers: usize,
}

/// A pod with the child that it runs in.
#[derive(Clone)]
struct Placed {
    child: Child,
    /// What is left of it when its child is gone.
    volumes: PodVolumes,
    /// Its own part of the directory for volumes in memory, where it has one.
    memory: Option<PathBuf>,
    /// Its place in the network; none on the host's.
    lease: Option<Arc<Lease>>,
    /// How many its child counts for it, if that is one of many pods.
    shares: Option<usize>,
}

// === impl Children ===

impl Children {
    /// Starts nothing yet: the first pod does.
    pub fn new(config: ChildrenConfig) -> Self {
        let network = Arc::new(Network::new(config.range));
        Self {
            config: Arc::new(config),
            network,
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a child of this pod alone may reach; nothing where the pod has none of its own.
    fn own_confinement(&self, pod: &PodSandbox) -> Result<Option<Confinement>, RuntimeError> {
        // Here, where what is to be made may be made, and before the child is confined to it.
        check_host_paths(pod)?;
        let host_paths = pod
            .volumes
            .values()
            .filter_map(|volume| match &volume.source {
                VolumeSource::Host { path, .. } => Some(path.clone()),
                _ => None,
            });
        let mut write: Vec<PathBuf> = host_paths.collect();
        if !self.config.one_per_pod && write.is_empty() {
            return Ok(None);
        }
        make_private(&pod.directory)?;
        write.push(pod.directory.clone());
        let memory = self.memory_of(pod);
        if let Some(memory) = &memory {
            make_private(memory)?;
        }
        let read = self.config.confinement.read.clone();
        Ok(Some(Confinement {
            read,
            write,
            memory,
        }))
    }

    /// A child for a pod without one of its own, which has so many containers.
    fn shared(&self, containers: usize) -> Result<Child, RuntimeError> {
        let mut state = self.state();
        state.shared.retain(|shared| !shared.child.is_gone());
        let fits = |shared: &&mut Shared| {
            let together = shared.containers.saturating_add(containers);
            shared.containers == 0 || together <= self.config.containers
        };
        if let Some(shared) = state.shared.iter_mut().find(fits) {
            shared.containers += containers;
            return Ok(shared.child.clone());
        }
        let child = self.start(&self.config.confinement)?;
        if !state.shared.is_empty() {
            tracing::debug!(
                hosts = state.shared.len() + 1,
                "pods run in one more pod host"
            );
        }
        state.shared.push(Shared {
            child: child.clone(),
            containers,
        });
        Ok(child)
    }

    fn start(&self, confinement: &Confinement) -> Result<Child, RuntimeError> {
        let config = ChildConfig {
            program: self.config.program.clone(),
            args: (self.config.args)(confinement, self.config.steering.is_some()),
            sink: Arc::clone(&self.config.sink),
            compiler: Arc::clone(&self.config.compiler),
            network: Arc::clone(&self.network),
            steering: self.config.steering.clone(),
        };
        Child::start(&config).map_err(|e| {
            RuntimeError::Exhausted(format!(
                "cannot start a pod host, {}: {e}",
                config.program.display()
            ))
        })
    }

    /// Finds a place for a new pod: a child, and on the network.
    fn place(&self, pod: &PodSandbox) -> Result<Placed, RuntimeError> {
        let own = self.own_confinement(pod)?;
        let (child, shares) = match &own {
            Some(own) => (self.start(own)?, None),
            None => (self.shared(pod.containers)?, Some(pod.containers)),
        };
        let lease = if pod.network.host {
            None
        } else {
            let lease = self.network.enter(&pod.network, child.downgrade());
            let lease = lease.map_err(|e| {
                self.state().give_back(&child, shares);
                RuntimeError::Exhausted(format!("pod {}/{}: {e}", pod.namespace, pod.name))
            })?;
            Some(Arc::new(lease))
        };
        let memory = own.and_then(|own| own.memory);
        let mut volumes = PodVolumes::new(pod.directory.clone(), pod.volumes.clone());
        if let Some(base) = memory.as_ref().or(self.config.confinement.memory.as_ref()) {
            volumes = volumes.with_memory_dir(base.clone());
        }
        Ok(Placed {
            child,
            volumes,
            memory,
            lease,
            shares,
        })
    }

    /// Gives an order to the child that `of` finds. It is sent before anybody else's that comes
    /// later: under the lock under which the child was found, and however late its answer is asked
    /// for. Not so [`Child::connect`], which may have to wait until a descriptor can be sent: it is
    /// sent when its answer is asked for, and of a pod that was removed meanwhile it fails.
    fn order<T: 'static>(
        &self,
        of: impl FnOnce(&mut State) -> Result<Child, RuntimeError>,
        send: impl FnOnce(&Child) -> Answer<'static, T>,
    ) -> Answer<'static, T> {
        let mut state = self.state();
        let sent = of(&mut state).map(|child| (send(&child), child));
        drop(state);
        Box::pin(async move {
            // The child is kept until it has answered.
            let (answer, _child) = sent?;
            answer.await
        })
    }

    /// The pod's part of the directory for volumes in memory, if it has a child of its own.
    fn memory_of(&self, pod: &PodSandbox) -> Option<PathBuf> {
        let memory = self.config.confinement.memory.as_ref()?;
        Some(memory.join(pod.directory.file_name()?))
    }
}

// === impl State ===

impl State {
    fn of_pod(&self, pod: PodId) -> Result<Child, RuntimeError> {
        let child = self.pods.get(&pod).map(|placed| placed.child.clone());
        child.ok_or_else(|| RuntimeError::NotFound(format!("no pod {}", pod.0)))
    }

    fn of_instance(&self, instance: InstanceId) -> Result<Child, RuntimeError> {
        let child = self.instances.get(&instance).map(|(_, child)| child);
        child
            .cloned()
            .ok_or_else(|| RuntimeError::NotFound(format!("no instance {}", instance.0)))
    }

    /// The child that makes a new instance of a pod.
    fn give(&mut self, instance: InstanceId, pod: PodId) -> Result<Child, RuntimeError> {
        let child = self.of_pod(pod)?;
        self.own(instance, pod, &child);
        Ok(child)
    }

    /// The child that runs a new command in an instance.
    fn give_exec(&mut self, exec: InstanceId, target: InstanceId) -> Result<Child, RuntimeError> {
        let Some((pod, child)) = self.instances.get(&target).cloned() else {
            return Err(RuntimeError::NotFound(format!("no instance {}", target.0)));
        };
        self.own(exec, pod, &child);
        Ok(child)
    }

    fn own(&mut self, instance: InstanceId, pod: PodId, child: &Child) {
        self.instances.insert(instance, (pod, child.clone()));
        self.of_pods.insert((pod, instance));
    }

    /// Forgets an instance; gives the child that has it.
    fn disown(&mut self, instance: InstanceId) -> Option<Child> {
        let (pod, child) = self.instances.remove(&instance)?;
        self.of_pods.remove(&(pod, instance));
        Some(child)
    }

    /// Forgets all instances of a pod.
    fn disown_all(&mut self, pod: PodId) {
        let first = (pod, InstanceId(0));
        let last = (pod, InstanceId(u64::MAX));
        let own: Vec<_> = self.of_pods.range(first..=last).copied().collect();
        for (_, instance) in own {
            self.disown(instance);
        }
    }

    /// Says that a pod has left its child. One of many pods that is empty ends, unless it is the last.
    fn give_back(&mut self, child: &Child, shares: Option<usize>) {
        let Some(containers) = shares else {
            return;
        };
        let place = self.shared.iter().position(|it| it.child.is(child));
        let Some((place, shared)) = place.and_then(|at| Some((at, self.shared.get_mut(at)?)))
        else {
            return;
        };
        shared.containers = shared.containers.saturating_sub(containers);
        if shared.containers == 0 && self.shared.len() > 1 {
            self.shared.swap_remove(place);
        }
    }
}

/// Makes a directory that a child of one pod will have to itself.
fn make_private(path: &Path) -> Result<(), RuntimeError> {
    private_directory(path)
        .map_err(|e| RuntimeError::Exhausted(format!("cannot make {}: {e}", path.display())))
}

impl Runtime for Children {
    fn create_pod(&self, pod: PodSandbox) -> Answer<'_, PodCreated> {
        let placed = match self.place(&pod) {
            Ok(placed) => placed,
            Err(error) => {
                // What was made for it goes again, unless it was there before and holds something.
                let _ = std::fs::remove_dir(&pod.directory);
                let _ = self.memory_of(&pod).map(std::fs::remove_dir);
                return Box::pin(std::future::ready(Err(error)));
            }
        };
        let lease = placed.lease.as_ref();
        // What the child says of its pods' addresses counts for nothing.
        let addresses = lease.map_or_else(net::node_addresses, |lease| lease.addresses());
        let address = lease.map(|lease| lease.address());
        let own = lease.map_or_else(Vec::new, |lease| lease.addresses());
        let id = pod.id;
        let made = self.order(
            |state| {
                let child = placed.child.clone();
                state.pods.insert(id, placed);
                Ok(child)
            },
            |child| child.create_pod(pod, address, own),
        );
        Box::pin(async move { made.await.map(|()| PodCreated { addresses }) })
    }

    fn remove_pod(&self, pod: PodId) -> Answer<'_, ()> {
        let mut state = self.state();
        state.disown_all(pod);
        let placed = state.pods.remove(&pod);
        if let Some(placed) = &placed {
            state.give_back(&placed.child, placed.shares);
        }
        // Before anything else is ordered of it, which is too late then.
        let removed = placed.map(|placed| (placed.child.remove_pod(pod), placed));
        drop(state);
        let lease = removed
            .as_ref()
            .and_then(|(_, placed)| placed.lease.as_ref());
        if let Some(lease) = lease {
            lease.leave();
        }
        Box::pin(async move {
            let Some((removed, placed)) = removed else {
                return Ok(());
            };
            let Placed {
                child,
                volumes,
                memory,
                // Its address is its own until it has gone.
                lease: _lease,
                shares: _,
            } = placed;
            match removed.await {
                Ok(()) | Err(RuntimeError::Gone(_)) => {}
                other => return other,
            }
            // A child of this pod alone ends now.
            drop(child);
            // Files are deleted here: a child may not delete the directory that it is confined to,
            // and one that is gone deletes nothing.
            let removed = tokio::task::spawn_blocking(move || {
                volumes.remove()?;
                if let Some(memory) = memory {
                    // Empty now, or never made.
                    let _ = std::fs::remove_dir(memory);
                }
                Ok::<_, volume::VolumeError>(())
            });
            match removed.await {
                Ok(Err(error)) => Err(RuntimeError::Refused(error.to_string())),
                _ => Ok(()),
            }
        })
    }

    fn create(&self, instance: InstanceSpec) -> Answer<'_, ()> {
        let (id, pod) = (instance.id, instance.pod);
        self.order(|state| state.give(id, pod), |child| child.create(instance))
    }

    fn start(&self, instance: InstanceId) -> Answer<'_, ()> {
        self.order(
            |state| state.of_instance(instance),
            |child| child.start_instance(instance),
        )
    }

    fn signal(&self, instance: InstanceId, signal: Signal) -> Answer<'_, ()> {
        self.order(
            |state| state.of_instance(instance),
            |child| child.signal(instance, signal),
        )
    }

    fn exec(&self, exec: ExecSpec) -> Answer<'_, ()> {
        let (id, target) = (exec.id, exec.target);
        self.order(
            |state| state.give_exec(id, target),
            |child| child.exec(exec),
        )
    }

    fn input(&self, instance: InstanceId, chunk: Option<Bytes>) -> Answer<'_, ()> {
        self.order(
            |state| state.of_instance(instance),
            |child| child.input(instance, chunk),
        )
    }

    fn update(&self, pod: PodId, update: Update) -> Answer<'_, ()> {
        self.order(|state| state.of_pod(pod), |child| child.update(pod, update))
    }

    fn pause(&self, instance: InstanceId, paused: bool) -> Answer<'_, ()> {
        self.order(
            |state| state.of_instance(instance),
            |child| child.pause(instance, paused),
        )
    }

    fn stats(&self, instance: InstanceId) -> Answer<'_, Stats> {
        self.order(
            |state| state.of_instance(instance),
            |child| child.stats(instance),
        )
    }

    fn read_file(&self, pod: PodId, volume: String, at_most: u64) -> Answer<'_, Bytes> {
        self.order(
            |state| state.of_pod(pod),
            |child| child.read_file(pod, volume, at_most),
        )
    }

    fn remove(&self, instance: InstanceId) -> Answer<'_, ()> {
        let mut state = self.state();
        let known = state.disown(instance);
        let removed = known
            .filter(|child| !child.is_gone())
            .map(|child| (child.remove(instance), child));
        drop(state);
        Box::pin(async move {
            match removed {
                Some((removed, _child)) => removed.await,
                None => Ok(()),
            }
        })
    }

    fn connect(&self, pod: PodId, port: u16, _: Duration) -> Answer<'_, Connection> {
        self.order(|state| state.of_pod(pod), |child| child.connect(pod, port))
    }
}

#[cfg(test)]
mod tests;
