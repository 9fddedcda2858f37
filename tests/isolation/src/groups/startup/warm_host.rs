//! A node in this process, put together as `wasmpod run` does, with images that are compiled
//! already. It runs one pod after the other.

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use api::Workload;
use bytes::Bytes;
use host::{CodeStore, Compiler, PodHost, PodHostConfig, Toolbox};
use model::Pod;
use model::runtime::{RuntimeError, WasmImage};
use node::{
    ImageError, ImageWant, Images, LogLine, LogSink, ManifestObjects, Node, PreparedImage, Router,
};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;

use super::clock::{self, Told};
use super::images::Image;

/// As many as `wasmpod run` has for everything but guests.
const THREADS: usize = 2;

/// The longest that a pod may take, on a machine that is busy with others.
const PATIENCE: Duration = Duration::from_secs(60);

/// The node and what it is heard through.
pub(super) struct WarmHost {
    node: Node,
    lines: UnboundedReceiver<(String, String)>,
    runtime: Runtime,
}

/// Images that are there: a name is looked up, the code found.
struct Ready {
    images: HashMap<String, Image>,
    code: Arc<CodeStore>,
}

/// Sends every line on, with its pod's name.
struct Ear(UnboundedSender<(String, String)>);

/// No pod of the bench runs exec.
struct NoCompiler;

// === impl WarmHost ===

impl WarmHost {
    /// What it runs in.
    ///
    /// # Errors
    /// When the system refuses threads.
    pub(super) fn runtime() -> anyhow::Result<Runtime> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .context("cannot start threads")
    }

    /// A node for the pods of this workload.
    ///
    /// # Errors
    /// When the system refuses threads or addresses.
    pub(super) fn start(
        runtime: Runtime,
        data: &Path,
        code: Arc<CodeStore>,
        images: HashMap<String, Image>,
        workload: &Workload,
    ) -> anyhow::Result<Self> {
        let router = Arc::new(Router::new());
        let pod_host = {
            // Made within the runtime, as the program does.
            let _within = runtime.enter();
            PodHost::start(PodHostConfig {
                keeps_files: false,
                memory_dir: None,
                range: net::PodRange::LOOPBACK,
                peers: None,
                steering: None,
                binder: None,
                runtime: runtime.handle().clone(),
                sink: Arc::clone(&router) as _,
                compiler: Arc::new(NoCompiler),
                toolbox: Toolbox::Absent,
                mappings: 65_530,
            })?
        };
        let (ear, lines) = mpsc::unbounded_channel();
        let config = node::Config {
            data_dir: data.to_owned(),
            sink: Some(Arc::new(Ear(ear))),
            ..node::Config::default()
        };
        let node = {
            let _within = runtime.enter();
            Node::new(
                Arc::new(pod_host),
                router,
                Arc::new(Ready { images, code }),
                Arc::new(ManifestObjects::new(workload)),
                config,
            )
        };
        Ok(Self {
            node,
            lines,
            runtime,
        })
    }

    /// Runs a pod to its end: microseconds from its order to the guest's `main`, and to where the
    /// guest had used its volumes.
    ///
    /// # Errors
    /// When the pod fails or does not end.
    pub(super) fn sample(&mut self, pod: Pod) -> anyhow::Result<(f64, f64)> {
        let Self {
            node,
            lines,
            runtime,
        } = self;
        runtime.block_on(async move {
            let name = pod.identity.name.clone();
            let start = clock::now()?;
            let handle = node.run_pod(pod);
            let told = tokio::select! {
                // A pod may have ended before its words are read here: these come first.
                biased;
                told = told(lines, &name) => told?,
                report = handle.ended() => {
                    bail!("pod {name} ended and told nothing: {:?}", report.status)
                }
                () = tokio::time::sleep(PATIENCE) => bail!("pod {name} tells nothing"),
            };
            let report = timeout(PATIENCE, handle.ended())
                .await
                .with_context(|| format!("pod {name} does not end"))?;
            if report.status.pod_ips.is_empty() {
                bail!("pod {name} had no address");
            }
            told.since(start)
        })
    }
}

/// What the guest of this pod told.
async fn told(lines: &mut UnboundedReceiver<(String, String)>, pod: &str) -> anyhow::Result<Told> {
    let mut told = Told::default();
    while !told.is_complete() {
        let (from, line) = lines.recv().await.context("the node is gone")?;
        if from != pod {
            bail!("pod {from} spoke while {pod} ran: {line}");
        }
        told.hear(&line);
    }
    Ok(told)
}

impl LogSink for Ear {
    fn line(&self, line: LogLine) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let text = String::from_utf8_lossy(&line.text).into_owned();
        // Nobody listens any more only when the bench is over.
        let _ = self.0.send((line.pod.name.clone(), text));
        Box::pin(std::future::ready(()))
    }
}

impl Images for Ready {
    fn prepare(
        &self,
        want: ImageWant,
    ) -> Pin<Box<dyn Future<Output = Result<PreparedImage, ImageError>> + Send + '_>> {
        Box::pin(async move {
            let refused = |message: String| ImageError {
                reason: "ErrImagePull".to_owned(),
                message,
            };
            let Some(image) = self.images.get(&want.reference) else {
                return Err(refused(format!("no image {}", want.reference)));
            };
            let code = self.code.code(&image.wasm, &image.digest).await;
            Ok(PreparedImage {
                image: WasmImage {
                    code: code.map_err(|error| refused(error.to_string()))?,
                    digest: image.digest.clone(),
                    root: None,
                },
                entrypoint: vec!["start".to_owned()],
                cmd: Vec::new(),
                env: Vec::new(),
                working_dir: "/".to_owned(),
                image_id: format!("sha256:{}", image.digest),
                user: None,
                broken: None,
                fetched: None,
            })
        })
    }
}

impl Compiler for NoCompiler {
    fn compile(
        &self,
        _: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<WasmImage, RuntimeError>> + Send + '_>> {
        let refused = RuntimeError::CannotRun("no pod of the bench runs exec".to_owned());
        Box::pin(std::future::ready(Err(refused)))
    }
}
