//! `wasmpod run`: pods in the foreground, without a server.
//!
//! ```text
//! manifests ─> api::Workload ─> node (a worker per pod) ─> pod host (task or children)
//!                                 └─ logs, events, reports ─> Printer ─> terminal or JSON lines
//! ```
//!
//! It ends when every container that is not a sidecar has ended for good, or on Ctrl-C: the first
//! asks the pods to stop, the second ends them. The one container of `run IMAGE` does not wait for
//! an image that cannot be had, and is not tried again where it is refused: the run ends with 125
//! then. When whoever reads its output has gone,
//! it stops as on Ctrl-C, with the exit code of a program that SIGPIPE ends: `wasmpod run … | head`
//! is over when head is.

mod beginning;
mod ending;
mod from_bytes;
mod json;
mod load;
mod placement;
pub(crate) use placement::toolbox;
mod printer;
mod summary;
mod terminal;
pub(crate) use terminal::escaped;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use host::CodeStore;
use image::Store;
use model::status::ContainerState;
use node::{ManifestObjects, Node, Objects, PodHandle, Router};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::FAILURE;
use crate::claim::{self, Claim};
use crate::data_dir::DataDir;
use crate::images::{Files, RunImages};
use crate::machine;
use crate::options::{Common, Run};
use crate::output::Output;
use crate::registry_images::RegistryImages;
use crate::used::Used;
use beginning::Pods;
use ending::{Signals, until_all_end};
use load::Loaded;
use printer::Printer;
use summary::Summary;

/// Threads for everything but guests: sockets, probes, logs.
const THREADS: usize = 2;

/// How long file calls, and readers in a hurry, may hold the process back after everything else has
/// ended.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// Why a container waits that a runtime refuses, and that nothing but another order makes.
const REFUSALS: [&str; 2] = ["CreateContainerError", "CreateContainerConfigError"];

/// Exit code where all went well but what was printed was not all written: EX_IOERR of sysexits.h,
/// so that a script does not take half of the output for the whole.
const LOST_OUTPUT: u8 = 74;

/// Runs it.
///
/// # Errors
/// What is wrong with the command line, the manifests or this machine; nothing has run then.
pub(crate) fn run(common: &Common, mut options: Run) -> anyhow::Result<ExitCode> {
    let data = DataDir::find(common.data_dir.as_deref())?;
    let named = match options.image.as_deref() {
        Some(image) if !load::is_file(image) => crate::image::name_of_digest(image, &data)?,
        _ => None,
    };
    options.image = named.or(options.image);
    machine::raise_descriptors();
    let loaded = load::load(&options)?;
    data.prepare()?;
    let compiler = placement::compiler()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let (store, used) = (Store::open(&data.content())?, Used::default());
    let code = runtime.block_on(to_the_end(&data, compiler, &options, loaded, &store, &used));
    // The lease ends with the tasks that have it.
    runtime.shutdown_timeout(LAST_CALLS);
    used.collect(&store);
    code
}

async fn to_the_end(
    data: &DataDir,
    compiler: PathBuf,
    options: &Run,
    loaded: Loaded,
    store: &Store,
    used: &Used,
) -> anyhow::Result<ExitCode> {
    let printer = Arc::new(Printer::new(options, Output::start()?));
    let router = Arc::new(Router::new());
    let files = Arc::new(Files::new(Arc::new(CodeStore::new(data.code(), compiler))));
    let pods = loaded.workload.pods.iter();
    let claim = Claim::take(data, pods.map(|pod| pod.object.uid()))?;
    let mut memory = placement::Memory::none();
    let runtime = placement::start(
        placement::of(options, &loaded.workload),
        data,
        Arc::clone(&router),
        Arc::clone(&files),
        &mut memory,
        &claim,
    )?;
    let (failed, mut failures) = mpsc::unbounded_channel();
    let objects: Arc<dyn Objects> = Arc::new(ManifestObjects::new(&loaded.workload));
    let mut images = images(store.clone(), used.clone(), files, loaded.images, &objects);
    if options.image.is_some() {
        images = images.telling(failed.clone());
    }
    let node = Node::new(
        runtime,
        router,
        Arc::new(images),
        objects,
        placement::node_config(
            data,
            Arc::clone(&printer) as Arc<dyn node::LogSink>,
            options.image.is_none(),
        ),
    );
    let mut signals = Signals::listen()?;
    collect_dead_runs(data);
    let mut pods = Pods::new(&node, &printer, loaded.workload.pods);
    pods.begin_next();
    if let Some(pod) = pods.begun().first().filter(|_| loaded.stdin) {
        tokio::spawn(forward_stdin(pod.clone(), loaded.container.clone()));
        tokio::spawn(tell_refusal(pod.clone(), failed));
    }
    let end = until_all_end(&mut pods, &mut signals, &mut failures, printer.output()).await;
    let mut summary = summary::of(pods.begun(), end.asked);
    if end.failed.is_some() {
        summary.exit_code = FAILURE;
    }
    drop(pods);
    drop(node);
    tokio::select! {
        () = last_words(&printer, &summary, end.failed) => {}
        // Nobody reads them. What there is to end has ended, so one signal is enough.
        _ = signals.next() => {}
        () = tokio::time::sleep_until(end.until.unwrap_or_else(Instant::now)), if end.until.is_some() => {}
    }
    Ok(ExitCode::from(whole_or_not(&printer, summary.exit_code)))
}

/// The images of a run: files, and those of registries with whatever credentials there are.
fn images(
    store: Store,
    used: Used,
    files: Arc<Files>,
    paths: HashMap<String, PathBuf>,
    objects: &Arc<dyn Objects>,
) -> RunImages {
    let (secrets, wasm) = (Arc::clone(objects), Arc::clone(&files));
    let registries = RegistryImages::new(store, crate::image::client(), secrets, wasm, used);
    RunImages::new(files, paths, registries)
}

/// The exit code of a run that would end with this one: no success where output is lost.
fn whole_or_not(printer: &Printer, exit_code: u8) -> u8 {
    let Some(lost) = printer.output().lost() else {
        return exit_code;
    };
    crate::complain(&anyhow::anyhow!("output is lost: {lost}"));
    if exit_code == 0 {
        LOST_OUTPUT
    } else {
        exit_code
    }
}

/// Takes away what killed runs have left, beside what this one does.
fn collect_dead_runs(data: &DataDir) {
    let data = data.clone();
    tokio::task::spawn_blocking(move || claim::collect(&data));
}

/// Prints what is left to be said, and waits until it is written.
async fn last_words(printer: &Printer, summary: &Summary, failed: Option<String>) {
    printer.summary(summary, failed.as_deref()).await;
    printer.output().finish().await;
}

/// Tells there why the one container of a pod is refused, which would be tried again for ever.
async fn tell_refusal(pod: PodHandle, failed: mpsc::UnboundedSender<String>) {
    let refusal = |report: &node::Report| {
        let mut containers = report.status.containers.iter();
        containers.find_map(|container| match &container.state {
            ContainerState::Waiting { reason, message } if REFUSALS.contains(&&**reason) => {
                Some(message.clone())
            }
            _ => None,
        })
    };
    let mut reports = pod.report();
    let refused = reports.wait_for(|report| refusal(report).is_some()).await;
    // Without one the pod has ended.
    if let Some(why) = refused.ok().and_then(|report| refusal(&report)) {
        // Nobody who hears it means that the run is over.
        let _ = failed.send(why);
    }
}

/// Gives this process' standard input to the container, for as long as it takes it.
async fn forward_stdin(pod: PodHandle, container: String) {
    let (sender, mut chunks) = tokio::sync::mpsc::channel(1);
    // A thread of its own: a read from a terminal cannot be called off, and must hold nothing up.
    std::thread::spawn(move || {
        use std::io::Read as _;
        let mut buffer = vec![0; 16 << 10];
        while let Ok(read) = std::io::stdin().lock().read(&mut buffer) {
            let chunk = buffer.get(..read).filter(|chunk| !chunk.is_empty());
            let ends = chunk.is_none();
            if sender
                .blocking_send(chunk.map(bytes::Bytes::copy_from_slice))
                .is_err()
                || ends
            {
                return;
            }
        }
    });
    let mut report = pod.report();
    let runs = report.wait_for(|report| {
        let mut containers = report.status.containers.iter();
        containers.any(|c| matches!(c.state, ContainerState::Running { .. }))
    });
    if runs.await.is_err() {
        return;
    }
    while let Some(chunk) = chunks.recv().await {
        if pod.input(&container, chunk).await.is_err() {
            return;
        }
    }
}
