//! `wasmpod run`: pods in the foreground, without a server.
//!
//! ```text
//! manifests ─> api::Workload ─> node (a worker per pod) ─> pod host (task or children)
//!                                 └─ logs, events, reports ─> Printer ─> terminal or JSON lines
//! ```
//!
//! It ends when every container that is not a sidecar has ended for good, or on Ctrl-C: the first
//! asks the pods to stop, the second ends them. When whoever reads its output has gone, it stops as
//! on Ctrl-C, with the exit code of a program that SIGPIPE ends: `wasmpod run … | head` is over when
//! head is.

mod from_bytes;
mod json;
mod load;
mod placement;
pub(crate) use placement::toolbox;
mod printer;
mod summary;
mod terminal;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use host::CodeStore;
use node::{ManifestObjects, Node, PodHandle, Router};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};

use crate::data_dir::DataDir;
use crate::images::{FileImages, Files};
use crate::options::{Common, Run};
use crate::output::Output;
use load::Loaded;
use printer::Printer;
use summary::Summary;

/// Threads for everything but guests: sockets, probes, logs.
const THREADS: usize = 2;

/// How long file calls, and readers in a hurry, may hold the process back after everything else has
/// ended.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// Runs it.
///
/// # Errors
/// What is wrong with the command line, the manifests or this machine; nothing has run then.
pub(crate) fn run(common: &Common, options: Run) -> anyhow::Result<ExitCode> {
    let data = DataDir::find(common.data_dir.as_deref())?;
    let loaded = load::load(&options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let code = runtime.block_on(to_the_end(&data, &options, loaded));
    runtime.shutdown_timeout(LAST_CALLS);
    code
}

async fn to_the_end(data: &DataDir, options: &Run, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let printer = Arc::new(Printer::new(options, Output::start()?));
    let router = Arc::new(Router::new());
    let code = Arc::new(CodeStore::new(data.code(), placement::compiler()?));
    let files = Arc::new(Files::new(code));
    let mut memory = placement::Memory::none();
    let runtime = placement::start(
        options.placement,
        data,
        Arc::clone(&router),
        Arc::clone(&files),
        &mut memory,
    )?;
    let node = Node::new(
        runtime,
        router,
        Arc::new(FileImages::new(files, loaded.images)),
        Arc::new(ManifestObjects::new(&loaded.workload)),
        placement::node_config(
            data,
            Arc::clone(&printer) as Arc<dyn node::LogSink>,
            options.image.is_none(),
        ),
    );
    let events = tokio::spawn(printer::events(Arc::clone(&printer), node.events()));
    let mut signals = Signals::listen()?;
    let mut pods = Vec::new();
    let mut ends = JoinSet::new();
    for admitted in &loaded.workload.pods {
        let handle = node.run_pod(admitted.pod.clone());
        ends.spawn(printer::statuses(
            Arc::clone(&printer),
            admitted.object.clone(),
            handle.clone(),
        ));
        pods.push(handle);
    }
    if let Some(pod) = pods.first().filter(|_| loaded.stdin) {
        tokio::spawn(forward_stdin(pod.clone(), loaded.container.clone()));
    }
    let asked = until_all_end(&pods, ends, &mut signals, printer.output()).await;
    let summary = summary::of(&pods, asked);
    drop(node);
    tokio::select! {
        () = last_words(&printer, &summary, events) => {}
        // Nobody reads them. What there is to end has ended, so one signal is enough.
        _ = signals.next() => {}
        () = tokio::time::sleep(LAST_CALLS), if printer.output().is_in_a_hurry() => {}
    }
    Ok(ExitCode::from(summary.exit_code))
}

/// Waits until every pod has ended; says what asked for it, if something did.
async fn until_all_end(
    pods: &[PodHandle],
    mut ends: JoinSet<()>,
    signals: &mut Signals,
    output: &Output,
) -> Option<SignalKind> {
    let mut asked = None;
    loop {
        let signal = tokio::select! {
            ended = ends.join_next() => match ended {
                Some(_) => continue,
                None => return asked,
            },
            signal = signals.next() => signal,
            () = output.unread(), if asked.is_none() => SignalKind::pipe(),
        };
        if asked.is_some() {
            // Guests that wait for a reader cannot end before what they wrote is taken.
            output.hurry();
        }
        stop(pods, asked.is_some());
        asked.get_or_insert(signal);
    }
}

/// Prints what is left to be said, and waits until it is written.
async fn last_words(printer: &Printer, summary: &Summary, events: JoinHandle<()>) {
    // Ends with the node: every event has been printed then.
    let _ = events.await;
    printer.summary(summary).await;
    printer.output().finish().await;
}

/// The signals that end a run.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

// === impl Signals ===

impl Signals {
    /// Listens from now on.
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next one that comes.
    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.hangup.recv() => SignalKind::hangup(),
        }
    }
}

/// The first time asks the pods to stop, each within its grace period; the second ends them.
fn stop(pods: &[PodHandle], again: bool) {
    for pod in pods {
        if again {
            pod.kill();
        } else {
            pod.stop(None);
        }
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
        containers.any(|c| matches!(c.state, model::status::ContainerState::Running { .. }))
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
