//! A pod as whoever asked for it sees it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use model::pod::Identity;
use model::status::PodStatus;
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};

use crate::exec::{Exec, ExecError, ExecRequest};
use crate::worker::Message;

/// A pod that was given to a node. Dropping it does not stop the pod.
#[derive(Clone)]
pub struct PodHandle {
    pub(crate) identity: Arc<Identity>,
    pub(crate) worker: UnboundedSender<Message>,
    pub(crate) report: watch::Receiver<Arc<Report>>,
}

/// What is known of a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its status, hostIPs filled in.
    pub status: PodStatus,
    /// What its containers used: init containers, then the others.
    pub usage: Vec<ContainerUsage>,
    /// Of a pod that is over, why containers of it never ran.
    pub hindrances: Vec<Hindrance>,
    /// Nothing lives any more, the sandbox is gone, and nothing will change.
    pub over: bool,
}

/// What a pod has a container for, and so what its end means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// One of `spec.containers`: its end is the pod's.
    #[default]
    Main,
    /// Runs before them, and fails the pod where it fails.
    Init,
    /// Runs beside them, and ends with them, however.
    Sidecar,
}

/// What the ended instances of a container used in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    /// The container.
    pub container: String,
    /// What the pod has it for.
    pub role: Role,
    /// Time on a CPU.
    pub cpu: Duration,
    /// The most memory of any of them, in bytes.
    pub memory_peak: u64,
    /// Bytes received from sockets.
    pub received: u64,
    /// Bytes sent to sockets.
    pub sent: u64,
}

/// Why a container never ran: the status has only kubelet's ContainerStatusUnknown for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hindrance {
    /// The container.
    pub container: String,
    /// ErrImagePull, CreateContainerConfigError, FailedMount ….
    pub reason: String,
    /// Sentence.
    pub message: String,
}

/// A Kubernetes Event about a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodEvent {
    /// The pod.
    pub pod: Arc<Identity>,
    /// The container it is about, if one.
    pub container: Option<String>,
    /// `involvedObject.fieldPath`, for example `spec.containers{web}`.
    pub field_path: Option<String>,
    /// Warning rather than Normal.
    pub warning: bool,
    /// CamelCase reason.
    pub reason: String,
    /// Sentence.
    pub message: String,
    /// When.
    pub time: SystemTime,
}

// === impl PodHandle ===

impl PodHandle {
    /// Who it is.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// What is known of it, as it changes.
    pub fn report(&self) -> watch::Receiver<Arc<Report>> {
        self.report.clone()
    }

    /// Deletes it: it ends within `grace`, its own grace period where absent. A later call can
    /// only shorten that.
    pub fn stop(&self, grace: Option<Duration>) {
        self.tell(Message::Stop(grace));
    }

    /// Ends it at once: no hooks, no SIGTERM.
    pub fn kill(&self) {
        self.tell(Message::Kill);
    }

    /// Its last report, once it is over.
    pub async fn ended(&self) -> Arc<Report> {
        let mut report = self.report.clone();
        let last = report
            .wait_for(|report| report.over)
            .await
            .map(|report| Arc::clone(&report));
        // A worker that is gone has left its last report.
        last.unwrap_or_else(|_| Arc::clone(&self.report.borrow()))
    }

    /// Runs a command in one of its containers.
    ///
    /// # Errors
    /// See [`ExecError`].
    pub async fn exec(&self, request: ExecRequest) -> Result<Exec, ExecError> {
        self.ask(|reply| Message::Exec(Box::new(request), reply))
            .await
    }

    /// Gives input to a container made with `stdin: true`; `None` ends it.
    ///
    /// # Errors
    /// When the container does not run or takes no input.
    pub async fn input(&self, container: &str, chunk: Option<Bytes>) -> Result<(), ExecError> {
        self.ask(|reply| Message::Input(Box::new((container.to_owned(), chunk)), reply))
            .await
    }

    /// Opens a connection to one of its ports: port-forward.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(&self, port: u16) -> Result<UnixStream, ExecError> {
        self.ask(|reply| Message::Connect(port, reply)).await
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<T, ExecError>>) -> Message,
    ) -> Result<T, ExecError> {
        let (reply, answer) = oneshot::channel();
        self.tell(message(reply));
        answer.await.unwrap_or_else(|_| {
            Err(ExecError::NotRunning(format!(
                "pod {} has ended",
                self.identity.key()
            )))
        })
    }

    fn tell(&self, message: Message) {
        // A pod that is over needs to be told nothing.
        let _ = self.worker.send(message);
    }
}
