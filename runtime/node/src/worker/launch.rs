//! From a container of the spec to a running instance.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use model::container::Container;
use model::lifecycle::{Event, LaunchFailure, Place};
use model::runtime::{InstanceId, InstanceSpec, Limits, MountSpec, RuntimeError, Update};
use model::security;

use super::{Bond, Message, Worker};
use crate::environment::Environment;
use crate::files;
use crate::images::{PreparedImage, ProgramWant};
use crate::outlet::{Log, Outlet};
use crate::sandbox;

/// The weight of a container without a cpu request, in thousandths of a core: what the scheduler
/// counts for it.
const DEFAULT_WEIGHT: u32 = 100;

/// The least weight: what kubelet gives a container that asks for none.
const LEAST_WEIGHT: u32 = 2;

impl Worker {
    /// Makes an instance and lets it run.
    pub(super) fn launch(&mut self, place: Place, instance: InstanceId, attempt: u32) {
        let pod = Arc::clone(&self.pod);
        let found = self.images.iter().position(|(of, _)| *of == instance);
        let (Some(container), Some(found)) = (place.of(&pod), found) else {
            let failure = LaunchFailure::Create("its image is gone".to_owned());
            return self.step(Event::LaunchFailed { instance, failure });
        };
        let (_, image) = self.images.swap_remove(found);
        let spec = match self.judged_spec(place, container, instance, &image) {
            Ok(spec) => spec,
            Err(failure) => return self.step(Event::LaunchFailed { instance, failure }),
        };
        let log = Log::new(
            Arc::clone(&self.identity),
            &container.name,
            attempt,
            container.termination_message_from_logs,
            self.log_file(container, attempt),
            &self.shared.config,
        );
        self.shared
            .router
            .open(instance, Outlet::Log(Box::new(log)));
        if attempt == 0 {
            self.tell_working_dir(place, container);
        }
        let again = attempt > 0 && sandbox::has_termination_log(container);
        let reset = again.then(|| sandbox::termination_log(&container.name));
        let (runtime, pod) = (Arc::clone(&self.shared.runtime), self.id);
        let sandbox = self.sandbox;
        self.orders.give(Bond::Instance(instance), async move {
            let failed = |failure| Message::lifecycle(Event::LaunchFailed { instance, failure });
            if let Some(volume) = reset
                && let Err(error) = runtime.update(pod, Update::ResetFile(volume)).await
            {
                return not_created(instance, sandbox, error);
            }
            match runtime.create(spec).await {
                Ok(()) => {}
                Err(RuntimeError::CannotRun(why)) => return failed(LaunchFailure::Start(why)),
                Err(error) => return not_created(instance, sandbox, error),
            }
            match runtime.start(instance).await {
                Ok(()) => Message::lifecycle(Event::Launched { instance }),
                Err(RuntimeError::Gone(why)) => Message::Lost(sandbox, why),
                Err(error) => failed(LaunchFailure::Start(error.to_string())),
            }
        });
    }

    /// What the container at a place says of its program. A reference of its environment that cannot
    /// be resolved is told when the instance is made; here it is as if it were not there.
    pub(super) fn program_want(&self, place: Place) -> Box<dyn Fn() -> ProgramWant + Send + Sync> {
        let (pod, shared) = (Arc::clone(&self.pod), Arc::clone(&self.shared));
        let addresses = self.addresses().to_vec();
        Box::new(move || {
            let Some(container) = place.of(&pod) else {
                return ProgramWant::default();
            };
            let facts = sandbox::facts(&pod, &shared.config, &addresses);
            let environment = Environment::of(container, &facts, shared.objects.as_ref());
            let environment = environment.unwrap_or_default();
            let first = |words: &[String]| words.first().map(|word| environment.expand(word));
            ProgramWant {
                command: first(&container.command),
                argument: first(&container.args),
                path: environment.get("PATH").map(str::to_owned),
                working_dir: container.working_dir.clone(),
            }
        })
    }

    /// The instance of a container, or why there is none, in kubelet's order: what its configuration
    /// lacks, which may come yet; whom its image names, when it is created; its program, when it is
    /// started.
    fn judged_spec(
        &self,
        place: Place,
        container: &Container,
        instance: InstanceId,
        image: &PreparedImage,
    ) -> Result<InstanceSpec, LaunchFailure> {
        let spec = self.instance_spec(place, container, instance, image);
        let spec = spec.map_err(LaunchFailure::Config)?;
        security::check_image_user(container, image.user.as_ref())
            .map_err(LaunchFailure::Create)?;
        match &image.broken {
            Some(why) => Err(LaunchFailure::Start(why.clone())),
            None => Ok(spec),
        }
    }

    /// The instance of a container, with everything filled in.
    ///
    /// # Errors
    /// A reference of its environment or mounts that cannot be resolved, or a user that it may not
    /// or cannot be: CreateContainerConfigError.
    fn instance_spec(
        &self,
        place: Place,
        container: &Container,
        instance: InstanceId,
        image: &PreparedImage,
    ) -> Result<InstanceSpec, String> {
        let config = &self.shared.config;
        let (own, of_image) = (&config.user, image.user.as_ref());
        security::check_non_root(&self.identity, container, of_image, own)?;
        if let Some(stranger) = security::stranger(&self.pod, container, of_image, own) {
            return Err(format!("{}: {}", stranger.field, stranger.message()));
        }
        let facts = sandbox::facts(&self.pod, config, self.addresses());
        let mut environment = Environment::of(container, &facts, self.shared.objects.as_ref())
            .map_err(|e| e.to_string())?;
        self.tell_skipped(place, &environment);
        // Kubernetes fills commands and paths in from what the pod declares, not from the image.
        let args = args(container, image, &environment);
        let mut mounts = own_mounts(container, &environment)?;
        mounts.extend(sandbox::etc_mounts(container));
        let declared_env = environment.variables.len();
        for (name, value) in &image.env {
            environment.set_default(name, value);
        }
        if config.hostname_variable {
            environment.set_default("HOSTNAME", &sandbox::hostname(&self.pod, &config.dns));
        }
        let working_dir = container.working_dir.as_ref().unwrap_or(&image.working_dir);
        if working_dir != "/" {
            // As shells set it: all that libraries which ignore WASI's initial-cwd can go by.
            environment.set_default("PWD", working_dir);
        }
        let ports = container.ports.iter().map(|port| {
            let name = port.name.clone().unwrap_or_default();
            (name, port.container_port, port.protocol)
        });
        Ok(InstanceSpec {
            id: instance,
            pod: self.id,
            container: container.name.clone(),
            image: image.image.clone(),
            args,
            env: environment.variables,
            declared_env,
            working_dir: working_dir.clone(),
            mounts,
            read_only_root: container.security.read_only_root,
            limits: limits(container),
            stdin: container.stdin,
            tty: container.tty,
            ports: ports.collect(),
            grace_period: self.pod.grace_period,
        })
    }

    /// The pod's addresses, once its sandbox is there.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        self.state.addresses()
    }

    /// `<logs>/<namespace>_<name>_<uid>/<container>/<attempt>.log`, where logs are kept.
    fn log_file(&self, container: &Container, attempt: u32) -> Option<PathBuf> {
        let logs = self.shared.config.logs.as_ref()?;
        let id = &*self.identity;
        let pod = format!("{}_{}_{}", id.namespace, id.name, id.uid);
        let name = format!("{attempt}.log");
        Some(logs.join(pod).join(&container.name).join(name))
    }

    /// Says how far a working directory reaches: relative paths are resolved in the guest, by
    /// libraries that do not ask for it.
    fn tell_working_dir(&self, place: Place, container: &Container) {
        let Some(path) = container.working_dir.as_ref().filter(|path| *path != "/") else {
            return;
        };
        let message = format!(
            "workingDir {path:?} is told to the guest (WASI's initial-cwd, and $PWD); programs \
             built with Rust's std or wasi-libc begin at / all the same: let them change to $PWD, \
             or use absolute paths"
        );
        self.tell(Some(place), false, "WorkingDirTold", message);
    }

    fn tell_skipped(&self, place: Place, environment: &Environment) {
        for skipped in &environment.skipped {
            let message = format!(
                "Keys [{}] from the EnvFrom {} {}/{} were skipped since they are considered invalid environment variable names.",
                skipped.variables.join(", "),
                skipped.kind,
                self.identity.namespace,
                skipped.name
            );
            self.tell(
                Some(place),
                true,
                "InvalidEnvironmentVariableNames",
                message,
            );
        }
    }
}

/// A runtime that does not know the pod has lost it; anything else is CreateContainerError.
fn not_created(instance: InstanceId, sandbox: u32, error: RuntimeError) -> Message {
    match error {
        RuntimeError::Gone(why) | RuntimeError::NotFound(why) => Message::Lost(sandbox, why),
        other => Message::lifecycle(Event::LaunchFailed {
            instance,
            failure: LaunchFailure::Create(other.to_string()),
        }),
    }
}

/// `volumeMounts`.
fn own_mounts(container: &Container, environment: &Environment) -> Result<Vec<MountSpec>, String> {
    let mount = |mount: &model::volume::Mount| {
        let sub_path = match &mount.sub_path_expr {
            Some(expression) => {
                let path = environment.expand_path(expression);
                Some(path.map_err(|e| e.to_string())?)
            }
            None => mount.sub_path.clone(),
        };
        Ok(MountSpec {
            volume: mount.volume.clone(),
            path: mount.path.clone(),
            sub_path,
            read_only: mount.read_only,
        })
    };
    container.mounts.iter().map(mount).collect()
}

/// `command` replaces the image's entry point and command, `args` the command alone.
fn args(container: &Container, image: &PreparedImage, environment: &Environment) -> Vec<String> {
    let expanded = |words: &[String]| -> Vec<String> {
        let expand = |word: &String| environment.expand(word);
        words.iter().map(expand).collect()
    };
    let mut args = if container.command.is_empty() {
        image.entrypoint.clone()
    } else {
        expanded(&container.command)
    };
    if !container.args.is_empty() {
        args.extend(expanded(&container.args));
    } else if container.command.is_empty() {
        args.extend(image.cmd.iter().cloned());
    }
    args
}

fn limits(container: &Container) -> Limits {
    let resources = &container.resources;
    let milli = |least: u32| {
        move |quantity: model::Quantity| {
            let milli = quantity.milli().max(i64::from(least));
            u32::try_from(milli).unwrap_or(u32::MAX)
        }
    };
    Limits {
        cpu_weight: resources
            .cpu_request
            .map_or(DEFAULT_WEIGHT, milli(LEAST_WEIGHT)),
        cpu_limit: resources.cpu_limit.map(milli(1)),
        memory: resources.memory_limit.map(model::Quantity::bytes),
        storage: files::of_size(resources.storage_limit),
    }
}
