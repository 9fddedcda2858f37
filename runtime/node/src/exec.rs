//! A command in a running container.

use std::sync::Arc;

use bytes::Bytes;
use model::Runtime;
use model::runtime::{ExecSpec, Exit, InstanceId, RuntimeError, Stream};
use tokio::sync::mpsc::{self, WeakUnboundedSender};
use tokio::sync::oneshot;

use crate::outlet::{ExecOutlet, Outlet};
use crate::router::Router;
use crate::worker::Message;

/// Chunks of a command's output that wait for their reader.
const CHUNKS: usize = 16;

/// How much of a probe's or hook's output is kept, in bytes: kubelet's bound.
const SHOWN: usize = 10 << 10;

/// What is to run.
#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    /// In which container; the first one where absent.
    pub container: Option<String>,
    /// argv.
    pub command: Vec<String>,
    /// Whether it has standard input.
    pub stdin: bool,
    /// Whether its output is a terminal to it.
    pub tty: bool,
}

/// A command under way. Dropping it ends the command.
pub struct Exec {
    /// Its output, in order; ends with it.
    pub output: mpsc::Receiver<(Stream, Bytes)>,
    ended: oneshot::Receiver<Exit>,
    runtime: Arc<dyn Runtime>,
    number: Number,
}

/// How a command ended, and the first of its output.
pub(crate) struct Finished {
    pub(crate) exit: Exit,
    pub(crate) output: String,
}

/// Why there is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    /// No such container, or it does not run.
    #[error("{0}")]
    NotRunning(String),
    /// The runtime refuses; a command that is not found is exit code 127.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// The number of a command under way: given back when dropped, which ends what still runs.
struct Number {
    instance: InstanceId,
    router: Arc<Router>,
    worker: WeakUnboundedSender<Message>,
}

/// Begins a command.
pub(crate) async fn start(
    runtime: &Arc<dyn Runtime>,
    router: &Arc<Router>,
    worker: WeakUnboundedSender<Message>,
    spec: ExecSpec,
) -> Result<Exec, RuntimeError> {
    let number = Number {
        instance: spec.id,
        router: Arc::clone(router),
        worker,
    };
    let (sender, output) = mpsc::channel(CHUNKS);
    let (end, ended) = oneshot::channel();
    router.open(spec.id, Outlet::Exec(ExecOutlet::new(sender, end)));
    runtime.exec(spec).await?;
    Ok(Exec {
        output,
        ended,
        runtime: Arc::clone(runtime),
        number,
    })
}

// === impl Exec ===

impl Exec {
    /// Gives input; `None` ends it.
    ///
    /// # Errors
    /// When the command takes none, or no more.
    pub async fn input(&self, chunk: Option<Bytes>) -> Result<(), ExecError> {
        let instance = self.number.instance;
        Ok(self.runtime.input(instance, chunk).await?)
    }

    /// How it ended, once it has. Output that was not read is dropped.
    pub async fn exit(&mut self) -> Exit {
        self.output.close();
        let gone = || Exit {
            code: 137,
            reason: "Error".to_owned(),
            message: "the pod is gone".to_owned(),
        };
        (&mut self.ended).await.unwrap_or_else(|_| gone())
    }

    /// Reads it to its end.
    pub(crate) async fn finished(mut self) -> Finished {
        let mut shown: Vec<u8> = Vec::new();
        while let Some((_, bytes)) = self.output.recv().await {
            let room = SHOWN.saturating_sub(shown.len()).min(bytes.len());
            shown.extend_from_slice(bytes.get(..room).unwrap_or_default());
        }
        Finished {
            exit: self.exit().await,
            output: String::from_utf8_lossy(&shown).into_owned(),
        }
    }
}

// === impl Number ===

impl Drop for Number {
    fn drop(&mut self) {
        self.router.close(self.instance);
        if let Some(worker) = self.worker.upgrade() {
            // The worker removes it from the runtime; one that is over has removed the whole pod.
            let _ = worker.send(Message::Done(Some(self.instance)));
        }
    }
}
