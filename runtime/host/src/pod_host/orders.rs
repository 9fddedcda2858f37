//! The orders of pods and instances, carried out.
//!
//! An instance is known to its owner before its pod has it, and forgotten after: whichever of two
//! orders comes first, one about a pod that has gone leaves nothing behind.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use engine::{Account, Instance, Program, instance};
use model::runtime::{
    Connection, Event, InstanceId, InstanceSpec, PodCreated, PodId, PodSandbox, RuntimeError,
    Signal, Update, VolumeSource, WasmImage,
};
use net::{HostTarget, SwitchError};
use tokio::net::UnixStream;
use volume::PodVolumes;

use super::Inner;
use crate::pod::{Pod, Run};
use crate::{network, working_dir};

// === impl Inner ===

impl Inner {
    pub(super) fn create_pod(
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

    pub(super) async fn remove_pod(&self, id: PodId) -> Result<(), RuntimeError> {
        let removed = self
            .pods
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        let Some(pod) = removed else { return Ok(()) };
        for run in pod.take_all() {
            self.disown(run.spec.id);
            run.listens.notify_one();
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

    pub(super) fn create(&self, spec: InstanceSpec) -> Result<(), RuntimeError> {
        let pod = self.pod(spec.pod)?;
        let image = self.image_of(&pod, &spec)?;
        let account = Arc::new(Account::new(spec.limits));
        let files = pod.mount_table(&spec, &account)?;
        self.admit(&pod, Run::new(spec, image, account, files))
    }

    /// The same where its files have to be looked at first, which may take long.
    pub(super) async fn create_aside(&self, spec: InstanceSpec) -> Result<(), RuntimeError> {
        let pod = self.pod(spec.pod)?;
        let image = self.image_of(&pod, &spec)?;
        let owner = Arc::clone(&pod);
        let looking = blocking(move || {
            let account = Arc::new(Account::new(spec.limits));
            let files = owner.mount_table(&spec, &account)?;
            Ok(Run::new(spec, image, account, files))
        });
        self.admit(&pod, looking.await?)
    }

    fn image_of(&self, pod: &Pod, spec: &InstanceSpec) -> Result<Arc<engine::Image>, RuntimeError> {
        self.image(&spec.image).map_err(|why| {
            let (key, container) = (pod.key(), &spec.container);
            RuntimeError::CannotRun(format!("{key}, container {container}: {why}"))
        })
    }

    /// Gives an instance to its pod, unless the pod is going or has one of that number. Known to
    /// the owner first: the order that takes all instances out of the pod then finds it either
    /// here or not at all.
    pub(super) fn admit(&self, pod: &Arc<Pod>, run: Run) -> Result<(), RuntimeError> {
        let id = run.spec.id;
        let earlier = self.own(id, Arc::clone(pod));
        pod.add(run).inspect_err(|_| match earlier {
            Some(earlier) => drop(self.own(id, earlier)),
            None => drop(self.disown(id)),
        })
    }

    pub(super) fn image(&self, image: &WasmImage) -> Result<Arc<engine::Image>, String> {
        self.engine
            .image(&image.digest, &image.code)
            .map_err(|e| e.to_string())
    }

    pub(super) fn start(&self, id: InstanceId) -> Result<(), RuntimeError> {
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
            declared: run.spec.declared_env,
            buckets: pod.buckets.clone(),
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

    /// Waits until an http server listens, and tells where; or until nobody needs to know: whoever
    /// hears that it has ended removes it.
    pub(super) async fn listens(&self, run: &Run, port: u16) {
        run.listens.notified().await;
        let spec = &run.spec;
        let Ok(pod) = self.owner(spec.id) else {
            return;
        };
        // Its doors are open by now, or have failed.
        let Some(own) = pod.net.addresses().first().copied() else {
            return;
        };
        self.sink.event_now(Event::Notice {
            pod: pod.id,
            instance: Some(spec.id),
            warning: false,
            reason: "Listening".to_owned(),
            message: listens_at(SocketAddr::new(own, port), pod.net.moved_door(port)),
        });
    }

    pub(super) fn signal(&self, id: InstanceId, signal: Signal) -> Result<(), RuntimeError> {
        let run = self.instance(id)?;
        let Some(instance) = run.instance.get() else {
            return Err(RuntimeError::NotFound(format!(
                "instance {} has not started",
                id.0
            )));
        };
        match signal {
            Signal::Term(left) => instance.terminate(left),
            Signal::Kill => instance.kill(instance::signalled(9)),
        }
        Ok(())
    }

    /// Makes the working directory of an instance where it is missing.
    pub(super) async fn make_working_dir(&self, id: InstanceId) -> Result<(), RuntimeError> {
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

    pub(super) async fn input(
        &self,
        id: InstanceId,
        chunk: Option<Bytes>,
    ) -> Result<(), RuntimeError> {
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

    pub(super) async fn update(&self, pod: PodId, update: Update) -> Result<(), RuntimeError> {
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

    pub(super) async fn read_file(
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

    pub(super) async fn remove(&self, id: InstanceId) -> Result<(), RuntimeError> {
        let Some(pod) = self.disown(id) else {
            return Ok(());
        };
        let Some(run) = pod.forget(id) else {
            return Ok(());
        };
        run.listens.notify_one();
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
    pub(super) fn connect(&self, pod: PodId, port: u16) -> Result<Connection, RuntimeError> {
        let pair = network::stream_pair();
        let (near, far) = pair.map_err(|e| RuntimeError::Exhausted(e.to_string()))?;
        self.join(pod, port, far)?;
        Ok(Connection(near))
    }

    pub(super) fn join(&self, pod: PodId, port: u16, socket: OwnedFd) -> Result<(), RuntimeError> {
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
}

/// Where an http server is: at its pod's address, and who comes from outside the pod network finds
/// it elsewhere if its door has moved.
fn listens_at(own: SocketAddr, moved: Option<SocketAddr>) -> String {
    let inside = format!("The http server listens at http://{own}");
    match moved {
        Some(moved) => format!("{inside}; from outside the pod network at http://{moved}"),
        None => inside,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_door_is_told_beside_the_address_of_the_pod() {
        let at = |port| SocketAddr::from(([127, 80, 0, 2], port));
        for (moved, told) in [
            (None, "The http server listens at http://127.80.0.2:80"),
            (
                Some(at(20_080)),
                "The http server listens at http://127.80.0.2:80; from outside the pod network at \
                 http://127.80.0.2:20080",
            ),
        ] {
            assert_eq!(listens_at(at(80), moved), told);
        }
    }
}
