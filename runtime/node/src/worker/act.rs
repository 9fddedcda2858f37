//! Carrying out what the lifecycle decides: actions become orders.

use std::sync::Arc;

use model::lifecycle::{Action, Event, Place, Retry};
use model::runtime::{Exit, InstanceId, RuntimeError, Signal, Update};

use super::{Bond, Message, Worker};
use crate::files;
use crate::handle::PodEvent;
use crate::images::{ImageNews, ImageWant, PreparedImage};
use crate::outlet::Outlet;
use crate::sandbox;

/// The longest termination message of a container, in bytes: Kubernetes' bound.
const TERMINATION_MESSAGE: usize = 4 << 10;

/// The longest termination messages of a pod in all, in bytes: Kubernetes' bound.
const TERMINATION_MESSAGES: usize = 12 << 10;

impl Worker {
    /// Carries one action out.
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::MakeSandbox => self.make_sandbox(),
            Action::RemoveSandbox => self.remove_sandbox(),
            Action::PullImage {
                container,
                instance,
            } => self.pull(container, instance),
            Action::Launch {
                container,
                instance,
                attempt,
            } => self.launch(container, instance, attempt),
            Action::RunHook {
                container,
                instance,
                hook,
            } => self.run_hook(container, instance, hook),
            Action::Probe {
                container,
                instance,
                kind,
            } => self.probe(container, instance, kind),
            Action::Signal { instance, signal } => self.signal(instance, signal),
            Action::Forget { instance } => self.forget(instance),
            Action::Tell(notice) => self.tell(
                notice.container,
                notice.warning,
                &notice.reason,
                notice.message,
            ),
            Action::Report => self.is_changed = true,
        }
    }

    /// Writes a Kubernetes Event.
    pub(super) fn tell(&self, place: Option<Place>, warning: bool, reason: &str, message: String) {
        let sink = self.shared.config.sink.as_ref();
        if sink.is_none() && self.shared.events.receiver_count() == 0 {
            return;
        }
        let container = place.and_then(|place| place.of(&self.pod));
        let event = PodEvent {
            pod: Arc::clone(&self.identity),
            container: container.map(|container| container.name.clone()),
            field_path: place.map(|place| place.field_path(&self.pod)),
            warning,
            reason: reason.to_owned(),
            message,
            time: self.shared.config.clock.now().wall,
        };
        if let Some(sink) = sink {
            sink.event(&event);
        }
        // Without readers it is lost, as Events are.
        let _ = self.shared.events.send(Arc::new(event));
    }

    /// The pod host is gone, and the pod with it. Several orders may tell so; the first counts.
    pub(super) fn lost(&mut self, sandbox: u32, message: String) {
        if self.sandbox != sandbox {
            return;
        }
        tracing::warn!(why = message, "the pod's sandbox is lost");
        self.sandbox += 1;
        self.step(Event::SandboxLost { message });
        if self.state.is_over() {
            // Else what it left behind goes before the next one is made.
            self.remove_sandbox();
        }
    }

    /// Keeps an image for its attempt's launch.
    pub(super) fn image_is_here(&mut self, instance: InstanceId, image: PreparedImage) {
        let event = Event::ImageReady {
            instance,
            image_id: image.image_id.clone(),
            fetched: image.fetched,
        };
        // Most pods have one at a time.
        self.images.reserve_exact(1);
        self.images.push((instance, image));
        self.step(event);
    }

    /// The Event of something that happened on an image's way, in kubelet's words.
    pub(super) fn tell_news(&self, place: Place, news: ImageNews) {
        match news {
            // The lifecycle hears of it, and tells.
            ImageNews::Pulling => {}
            ImageNews::NoSecrets(names) => {
                let message = format!(
                    "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                    names.join(", ")
                );
                self.tell(None, true, "FailedToRetrieveImagePullSecret", message);
            }
            ImageNews::LeftOut { reason, message } => {
                self.tell(Some(place), true, reason, message);
            }
        }
    }

    /// Ends a log, and finds the termination message: the file's, else the last of the log where
    /// the container wants that and has failed.
    pub(super) fn read_last_words(&mut self, place: Place, instance: InstanceId, exit: Exit) {
        let outlet = self.shared.router.close(instance);
        let Some(container) = place.of(&self.pod) else {
            return;
        };
        let containers = self.pod.init_containers.len() + self.pod.containers.len();
        let limit = TERMINATION_MESSAGE.min(TERMINATION_MESSAGES / containers.max(1));
        let from_log = container.termination_message_from_logs && exit.code != 0;
        let file = sandbox::has_termination_log(container)
            .then(|| sandbox::termination_log(&container.name));
        let (runtime, pod) = (Arc::clone(&self.shared.runtime), self.id);
        self.orders.give(Bond::None, async move {
            let log = match outlet.as_deref() {
                Some(Outlet::Log(log)) => Some(log),
                _ => None,
            };
            if let Some(log) = log {
                log.finish().await;
            }
            let mut message = String::new();
            if let Some(file) = file {
                // Gone with its pod host, where it cannot be read.
                let words = runtime.read_file(pod, file, limit as u64).await;
                message = String::from_utf8_lossy(&words.unwrap_or_default()).into_owned();
            }
            if let Some(log) = log.filter(|_| from_log && message.is_empty()) {
                message = log.tail(limit);
            }
            Message::lifecycle(Event::Exited {
                instance,
                exit,
                message,
            })
        });
    }

    /// Gives up a command's number and remains.
    pub(super) fn remove(&mut self, instance: InstanceId) {
        let runtime = Arc::clone(&self.shared.runtime);
        self.orders.give(Bond::Pod, async move {
            if let Err(error) = runtime.remove(instance).await {
                tracing::debug!(?instance, %error, "the remains of an instance were not removed");
            }
            Message::Done(None)
        });
    }

    /// Writes the files of the pod's volumes anew from their objects.
    pub(super) fn refresh_volumes(&mut self) {
        let facts = sandbox::facts(&self.pod, &self.shared.config, &[]);
        let objects = self.shared.objects.as_ref();
        let files: Vec<_> = files::from_objects(&self.pod)
            .filter_map(|volume| {
                // One that is missing now leaves the old files, as in kubelet.
                let files = files::of(volume, &facts, objects).ok()?;
                Some((volume.name.clone(), files))
            })
            .collect();
        for (volume, files) in files {
            let (runtime, pod) = (Arc::clone(&self.shared.runtime), self.id);
            self.orders.give(Bond::Pod, async move {
                if let Err(error) = runtime.update(pod, Update::Files { volume, files }).await {
                    // A pod that is not made yet gets them when it is.
                    tracing::debug!(%error, "a volume was not updated");
                }
                Message::Done(None)
            });
        }
    }

    fn make_sandbox(&mut self) {
        let (config, objects) = (&self.shared.config, self.shared.objects.as_ref());
        let sandbox = match sandbox::of(&self.pod, self.id, config, objects) {
            Ok(sandbox) => sandbox,
            Err(error) => {
                let event = failed("FailedMount", error.to_string(), Retry::OnChange);
                return self.step(event);
            }
        };
        let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(&self.pod));
        let is_again = self.sandbox > 0;
        self.orders.give(Bond::None, async move {
            let id = sandbox.id;
            let made = async {
                if is_again {
                    shared.runtime.remove_pod(id).await?;
                }
                let created = shared.runtime.create_pod(sandbox).await?;
                let etc = sandbox::etc(&pod, &shared.config, &created.addresses);
                let more = shared.runtime.update(id, Update::AddVolumes(etc));
                more.await.map(|()| created.addresses)
            };
            Message::lifecycle(match made.await {
                Ok(addresses) => Event::SandboxReady { addresses },
                Err(RuntimeError::Mount(why)) => failed("FailedMount", why, Retry::Later),
                Err(error) => failed(
                    "FailedCreatePodSandBox",
                    format!("Failed to create pod sandbox: {error}"),
                    Retry::Later,
                ),
            })
        });
    }

    fn remove_sandbox(&mut self) {
        let (runtime, pod) = (Arc::clone(&self.shared.runtime), self.id);
        self.orders.give(Bond::None, async move {
            match runtime.remove_pod(pod).await {
                Ok(()) => Message::Done(None),
                Err(error) => Message::NotRemoved(error.to_string()),
            }
        });
    }

    fn pull(&mut self, place: Place, instance: InstanceId) {
        let Some(container) = place.of(&self.pod) else {
            return;
        };
        self.places.insert(instance, place);
        let queue = self.queue.clone();
        let told = move |news| {
            let message = match news {
                ImageNews::Pulling => Message::lifecycle(Event::ImagePulling { instance }),
                other => Message::News(place, Box::new(other)),
            };
            if let Some(queue) = queue.upgrade() {
                // A worker that is gone needs to be told nothing.
                let _ = queue.send(message);
            }
        };
        let want = ImageWant {
            reference: container.image.clone(),
            program: self.program_want(place),
            policy: container.pull_policy,
            namespace: self.identity.namespace.clone(),
            pull_secrets: self.pod.image_pull_secrets.clone(),
            told: Some(Box::new(told)),
        };
        let images = Arc::clone(&self.shared.images);
        self.orders.give(Bond::Instance(instance), async move {
            match images.prepare(want).await {
                Ok(image) => Message::Image(instance, Box::new(image)),
                Err(error) => Message::lifecycle(Event::ImageFailed {
                    instance,
                    reason: error.reason,
                    message: error.message,
                }),
            }
        });
    }

    fn signal(&mut self, instance: InstanceId, signal: Signal) {
        let (runtime, sandbox) = (Arc::clone(&self.shared.runtime), self.sandbox);
        self.orders.give(Bond::Pod, async move {
            match runtime.signal(instance, signal).await {
                Err(RuntimeError::Gone(why)) => Message::Lost(sandbox, why),
                Err(error) => {
                    // It has ended meanwhile, which is told by itself.
                    tracing::debug!(?instance, ?signal, %error, "the signal reached nobody");
                    Message::Done(None)
                }
                Ok(()) => Message::Done(None),
            }
        });
    }

    /// Gives up what goes on for an attempt or instance.
    fn forget(&mut self, instance: InstanceId) {
        self.orders.forget(instance);
        self.images.retain(|(of, _)| *of != instance);
        self.places.remove(&instance);
        self.shared.router.close(instance);
        if !self.state.is_over() {
            // Else its pod goes, and it with it.
            self.remove(instance);
        }
    }
}

fn failed(reason: &str, message: String, retry: Retry) -> Event {
    Event::SandboxFailed {
        reason: reason.to_owned(),
        message,
        retry,
    }
}
