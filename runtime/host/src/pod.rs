//! One pod of the host: its network, its volumes, its instances.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use engine::{Account, Buckets, FileCalls, Identity, Image, Instance};
use model::container::http_port;
use model::runtime::{
    Event, EventSink, InstanceId, InstanceSpec, PodId, PodSandbox, RuntimeError, StoragePlace,
    VolumeSpec,
};
use net::PodNet;
use tokio::sync::Notify;
use volume::{
    LimitExceeded, LimitedPlace, LimitedResource, MountTable, Payer, PodVolumes, RootSpec,
};

use crate::working_dir;

/// A pod that has been created.
pub(crate) struct Pod {
    pub(crate) id: PodId,
    pub(crate) net: PodNet,
    pub(crate) file_calls: FileCalls,
    pub(crate) buckets: Buckets,
    pub(crate) identity: Arc<Identity>,
    /// Whether its probes or hooks run commands.
    pub(crate) commands: bool,
    directory: PathBuf,
    memory_dir: Option<PathBuf>,
    sink: Arc<dyn EventSink>,
    state: Mutex<State>,
}

struct State {
    /// Volumes named so far; made into [`PodVolumes`] by the first instance.
    named: BTreeMap<String, VolumeSpec>,
    volumes: Option<PodVolumes>,
    instances: HashMap<InstanceId, Arc<Run>>,
    /// Its instances were taken out to be ended: there are no more.
    is_over: bool,
}

/// One instance of a pod, from its making to its removal.
pub(crate) struct Run {
    pub(crate) spec: InstanceSpec,
    pub(crate) image: Arc<Image>,
    pub(crate) account: Arc<Account>,
    pub(crate) files: MountTable,
    /// Whether its scratch files are its own: an exec uses its container's.
    pub(crate) owns_files: bool,
    /// Set by its start.
    pub(crate) instance: OnceLock<Instance>,
    /// Told once its http server listens, or nobody waits for that any more.
    pub(crate) listens: Notify,
}

// === impl Pod ===

impl Pod {
    pub(crate) fn new(
        sandbox: PodSandbox,
        net: PodNet,
        memory_dir: Option<PathBuf>,
        sink: Arc<dyn EventSink>,
    ) -> Self {
        let state = State {
            named: sandbox.volumes,
            volumes: None,
            instances: HashMap::new(),
            is_over: false,
        };
        let identity = Identity {
            name: sandbox.name,
            namespace: sandbox.namespace,
            uid: sandbox.uid,
            node: sandbox.node_name,
            labels: sandbox.labels,
            annotations: sandbox.annotations,
        };
        Self {
            id: sandbox.id,
            net,
            file_calls: FileCalls::new(),
            buckets: Buckets::new(&identity.annotations),
            identity: Arc::new(identity),
            commands: sandbox.commands,
            directory: sandbox.directory,
            memory_dir,
            sink,
            state: Mutex::new(state),
        }
    }

    /// How people name it.
    pub(crate) fn key(&self) -> String {
        format!("pod {}/{}", self.identity.namespace, self.identity.name)
    }

    /// Names further volumes, before the first instance.
    pub(crate) fn add_volumes(
        &self,
        more: BTreeMap<String, VolumeSpec>,
    ) -> Result<(), RuntimeError> {
        let mut state = self.state();
        if state.volumes.is_some() {
            return Err(RuntimeError::Refused(format!(
                "{}: volumes are added before the first container",
                self.key()
            )));
        }
        state.named.extend(more);
        Ok(())
    }

    /// The pod's volumes. No more can be named from now on.
    pub(crate) fn volumes(&self) -> PodVolumes {
        let mut state = self.state();
        if let Some(volumes) = &state.volumes {
            return volumes.clone();
        }
        let named = std::mem::take(&mut state.named);
        let (sink, pod) = (Arc::clone(&self.sink), self.id);
        let mut volumes = PodVolumes::new(self.directory.clone(), named)
            .on_limit(move |exceeded| sink.event_now(refusal(pod, exceeded)));
        if let Some(base) = &self.memory_dir {
            volumes = volumes.with_memory_dir(base.clone());
        }
        state.volumes = Some(volumes.clone());
        volumes
    }

    /// The files of a new instance, at the cost of its account where they lie in memory.
    pub(crate) fn mount_table(
        &self,
        spec: &InstanceSpec,
        account: &Arc<Account>,
    ) -> Result<MountTable, RuntimeError> {
        let root = RootSpec {
            container: scratch_name(&spec.container, spec.id),
            image: spec.image.root.clone(),
            read_only: spec.read_only_root,
            size_limit: spec.limits.storage,
        };
        let table = working_dir::files(&self.volumes(), root, &spec.mounts, &spec.working_dir);
        let has_sub_paths = spec.mounts.iter().any(|mount| mount.sub_path.is_some());
        table
            .and_then(|table| {
                // The only mounts that can be wrong although their volumes are right.
                if has_sub_paths {
                    table.check()?;
                }
                let payer: Arc<dyn Payer> = account.clone();
                Ok(table.paid_by(payer))
            })
            .map_err(|e| {
                RuntimeError::Refused(format!("{}, container {}: {e}", self.key(), spec.container))
            })
    }

    /// Adds an instance, unless all were taken out.
    pub(crate) fn add(&self, run: Run) -> Result<(), RuntimeError> {
        let id = run.spec.id;
        let mut state = self.state();
        if state.is_over {
            return Err(RuntimeError::NotFound(format!(
                "{} was removed",
                self.key()
            )));
        }
        match state.instances.insert(id, Arc::new(run)) {
            None => Ok(()),
            Some(_) => Err(RuntimeError::Refused(format!(
                "{}: instance {} exists already",
                self.key(),
                id.0
            ))),
        }
    }

    pub(crate) fn run(&self, id: InstanceId) -> Result<Arc<Run>, RuntimeError> {
        let state = self.state();
        let run = state.instances.get(&id).cloned();
        run.ok_or_else(|| RuntimeError::NotFound(format!("{}: no instance {}", self.key(), id.0)))
    }

    /// Somebody listens at this TCP port: an http server there has begun.
    pub(crate) fn listens(&self, port: u16) {
        let state = self.state();
        let runs = state.instances.values();
        for run in runs.filter(|run| run.http_port() == Some(port)) {
            run.listens.notify_one();
        }
    }

    pub(crate) fn forget(&self, id: InstanceId) -> Option<Arc<Run>> {
        self.state().instances.remove(&id)
    }

    /// Takes all instances out, to be ended. None can be added from now on.
    pub(crate) fn take_all(&self) -> Vec<Arc<Run>> {
        let mut state = self.state();
        state.is_over = true;
        state.instances.drain().map(|(_, run)| run).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Run ===

impl Run {
    /// An instance that has not started, with files of its own.
    pub(crate) fn new(
        spec: InstanceSpec,
        image: Arc<Image>,
        account: Arc<Account>,
        files: MountTable,
    ) -> Self {
        Self {
            spec,
            image,
            account,
            files,
            owns_files: true,
            instance: OnceLock::new(),
            listens: Notify::new(),
        }
    }

    /// Where its http server listens, if it is one.
    pub(crate) fn http_port(&self) -> Option<u16> {
        let is_server = self.image.is_server();
        is_server.then(|| http_port(&self.spec.ports))
    }
}

/// The name of an instance's own files: no other run of the pod has it.
fn scratch_name(container: &str, instance: InstanceId) -> String {
    format!("{container}-{}", instance.0)
}

/// The instance whose files are called so.
fn instance_of(scratch_name: &str) -> Option<InstanceId> {
    let (_, number) = scratch_name.rsplit_once('-')?;
    number.parse().ok().map(InstanceId)
}

/// A refusal as an event: of bytes for whoever set the limit, of entries for people.
fn refusal(pod: PodId, exceeded: LimitExceeded) -> Event {
    let place = match exceeded.place {
        LimitedPlace::Volume(name) => Some(StoragePlace::Volume(name)),
        LimitedPlace::Container(name) => instance_of(&name).map(StoragePlace::Instance),
    };
    match (place, exceeded.resource) {
        (Some(place), LimitedResource::Bytes) => Event::StorageFull {
            pod,
            place,
            limit: exceeded.limit,
        },
        (place, _) => Event::Notice {
            pod,
            instance: match &place {
                Some(StoragePlace::Instance(instance)) => Some(*instance),
                _ => None,
            },
            warning: true,
            reason: "StorageLimitReached".to_owned(),
            message: format!(
                "{}: as many files as its size limit of {} bytes allows, one for each {} bytes: \
                 no more can be made; raise the limit or make fewer",
                match &place {
                    Some(StoragePlace::Volume(name)) => format!("volume {name:?}"),
                    _ => "the container's own files".to_owned(),
                },
                exceeded.limit,
                volume::BYTES_PER_ENTRY,
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_volume_or_the_instance() {
        let container = LimitedPlace::Container(scratch_name("my-app", InstanceId(7)));
        let volume = LimitedPlace::Volume("data".to_owned());
        for (place, resource, wanted) in [
            (
                &volume,
                LimitedResource::Bytes,
                Some(StoragePlace::Volume("data".to_owned())),
            ),
            (
                &container,
                LimitedResource::Bytes,
                Some(StoragePlace::Instance(InstanceId(7))),
            ),
            (&volume, LimitedResource::Entries, None),
            (&container, LimitedResource::Entries, None),
        ] {
            let exceeded = LimitExceeded {
                place: place.clone(),
                resource,
                limit: 10,
                used: 10,
            };
            let full = match refusal(PodId(1), exceeded) {
                Event::StorageFull { place, .. } => Some(place),
                _ => None,
            };
            assert_eq!(full, wanted, "{place:?} {resource:?}");
        }
    }
}
