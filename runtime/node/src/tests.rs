//! Pods under a node whose runtime only pretends: what is ordered, when, and what is told.
//!
//! Time is paused and goes on by itself when nobody has anything to do, so the times are exact.

mod asking;
mod ending;
mod fake;
mod filling;
mod output;
mod recovery;
mod running;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use model::Pod;
use model::container::Container;
use model::pod::{Identity, RestartPolicy};
use model::runtime::WasmImage;
use model::security::{ImageUser, UserName};
use model::status::{ContainerState, ContainerStatus};
use tokio::sync::broadcast;

use crate::*;
use fake::{Fake, Program};

/// A node with a pretended runtime.
struct World {
    node: Node,
    fake: Arc<Fake>,
    objects: Arc<Shelf>,
    events: broadcast::Receiver<Arc<PodEvent>>,
}

/// Objects that tests put there.
#[derive(Default)]
struct Shelf {
    config_maps: Mutex<BTreeMap<String, Data>>,
}

/// Images that are all here, but for those whose name begins with `slow` or `none`;
/// of others the name says what is odd about them.
struct Gallery;

// === impl World ===

impl World {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let router = Arc::new(Router::new());
        let fake = Arc::new(Fake::new(Arc::clone(&router)));
        let objects = Arc::new(Shelf::default());
        let node = Node::new(
            Arc::clone(&fake) as Arc<dyn model::Runtime>,
            router,
            Arc::new(Gallery),
            Arc::clone(&objects) as Arc<dyn Objects>,
            config,
        );
        let events = node.events();
        Self {
            node,
            fake,
            objects,
            events,
        }
    }

    /// Every Event told so far: reason, container, message.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            let container = event.container.as_deref().unwrap_or("-");
            told.push(format!("{} {container}: {}", event.reason, event.message));
        }
        told
    }
}

// === impl Shelf ===

impl Shelf {
    fn put(&self, name: &str, pairs: &[(&str, &str)]) {
        let data = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Bytes::from((*value).to_owned())));
        let mut config_maps = self.config_maps.lock().unwrap();
        config_maps.insert(name.to_owned(), Arc::new(data.collect()));
    }
}

impl Objects for Shelf {
    fn config_map(&self, _: &str, name: &str) -> Option<Data> {
        self.config_maps.lock().unwrap().get(name).cloned()
    }

    fn config_map_texts(&self, namespace: &str, name: &str) -> Option<Data> {
        self.config_map(namespace, name)
    }

    fn secret(&self, _: &str, _: &str) -> Option<Data> {
        None
    }

    fn secret_type(&self, _: &str, _: &str) -> Option<String> {
        None
    }
}

// === impl Gallery ===

impl Images for Gallery {
    fn prepare(
        &self,
        want: ImageWant,
    ) -> Pin<Box<dyn Future<Output = Result<PreparedImage, ImageError>> + Send + '_>> {
        Box::pin(async move {
            if want.reference.starts_with("none") {
                return Err(ImageError {
                    reason: "ErrImagePull".to_owned(),
                    message: "there is none".to_owned(),
                });
            }
            if want.reference.starts_with("slow") {
                want.tell(ImageNews::Pulling);
                std::future::pending::<()>().await;
            }
            if want.reference.starts_with("left") {
                want.tell(ImageNews::NoSecrets(want.pull_secrets.clone()));
                want.tell(ImageNews::LeftOut {
                    reason: "SkippedDevices",
                    message: "devices were left out".to_owned(),
                });
            }
            Ok(PreparedImage {
                image: WasmImage {
                    code: "/code".into(),
                    digest: "d".to_owned(),
                    root: None,
                },
                entrypoint: vec!["main.wasm".to_owned()],
                cmd: vec!["from-image".to_owned()],
                env: vec![("FROM".to_owned(), "image".to_owned())],
                working_dir: "/image".to_owned(),
                user: want.reference.starts_with("named").then(|| ImageUser {
                    name: UserName::Name("app".to_owned(), None),
                    unknown_group: None,
                }),
                image_id: format!("sha256:{}", want.reference),
                broken: want
                    .reference
                    .starts_with("broken")
                    .then(|| "it has no program".to_owned()),
                fetched: None,
            })
        })
    }
}

/// A pod of named containers: main ones, `i:name` for init containers, `s:name` for sidecars.
fn pod(policy: RestartPolicy, names: &[&str]) -> Pod {
    let mut pod = Pod {
        identity: Identity {
            namespace: "ns".to_owned(),
            name: "pod".to_owned(),
            uid: "uid".to_owned(),
        },
        hostname: "pod".to_owned(),
        restart_policy: policy,
        grace_period: Duration::from_secs(30),
        ..Pod::default()
    };
    for name in names {
        let (kind, name) = name.split_once(':').unwrap_or(("", name));
        let container = Container {
            name: name.to_owned(),
            image: format!("{name}:v1"),
            restart_policy: (kind == "s").then_some(RestartPolicy::Always),
            termination_message_path: model::container::TERMINATION_MESSAGE_PATH.to_owned(),
            ..Container::default()
        };
        if kind.is_empty() {
            pod.containers.push(container);
        } else {
            pod.init_containers.push(container);
        }
    }
    pod
}

/// The state of a container as `kubectl get pods` would say it, with the exit code.
fn state(status: &ContainerStatus) -> String {
    match &status.state {
        ContainerState::Waiting { reason, .. } => reason.clone(),
        ContainerState::Running { .. } => "Running".to_owned(),
        ContainerState::Terminated(ended) => format!("{}({})", ended.reason, ended.exit_code),
    }
}

/// Lets seconds pass, and everything happen that happens in them: time goes on when all wait.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Waits until the first container's state is this.
async fn until(handle: &PodHandle, expected: &str) {
    let mut reports = handle.report();
    let reached = reports.wait_for(|report| state(&report.status.containers[0]) == expected);
    reached.await.unwrap();
}

/// Waits until the pod is ready.
async fn ready(handle: &PodHandle) {
    let mut reports = handle.report();
    let ready = reports.wait_for(|report| {
        let mut conditions = report.status.conditions.iter();
        conditions.any(|condition| condition.kind == "Ready" && condition.status)
    });
    ready.await.unwrap();
}
