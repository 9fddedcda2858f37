//! How a run came out: the exit code, and what every container did and used.

use std::time::Duration;

use model::status::{ContainerState, Phase};
use node::PodHandle;
use tokio::signal::unix::SignalKind;

/// The last word of a run.
pub(crate) struct Summary {
    /// The first non-zero one in order of pods and containers; 128 and the signal after one.
    pub(crate) exit_code: u8,
    pub(crate) pods: Vec<PodRow>,
}

/// One pod.
pub(crate) struct PodRow {
    /// `namespace/name`.
    pub(crate) key: String,
    /// `name`, or `namespace/name` outside `default`.
    pub(crate) name: String,
    pub(crate) phase: Phase,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) containers: Vec<ContainerRow>,
}

/// One container.
pub(crate) struct ContainerRow {
    pub(crate) name: String,
    /// Completed, Error, Running … as kubectl shows it.
    pub(crate) state: String,
    pub(crate) exit_code: Option<i32>,
    pub(crate) message: String,
    pub(crate) restarts: u32,
    pub(crate) cpu: Duration,
    pub(crate) memory_peak: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// The name of a pod as `run` prints it.
pub(crate) fn short_name(identity: &model::pod::Identity) -> String {
    if identity.namespace == "default" {
        identity.name.clone()
    } else {
        identity.key()
    }
}

/// The summary of pods that have ended.
pub(crate) fn of(pods: &[PodHandle], stopped_by: Option<SignalKind>) -> Summary {
    let mut exit_code = 0;
    let mut rows = Vec::new();
    for pod in pods {
        let report = pod.report().borrow().clone();
        let status = &report.status;
        let mut row = PodRow {
            key: pod.identity().key(),
            name: short_name(pod.identity()),
            phase: status.phase,
            reason: status.reason.clone(),
            message: status.message.clone(),
            containers: Vec::new(),
        };
        for container in status.init_containers.iter().chain(&status.containers) {
            let usage = report
                .usage
                .iter()
                .find(|usage| usage.container == container.name);
            let (state, code, message) = match &container.state {
                ContainerState::Waiting { reason, message } => {
                    (reason.clone(), None, message.clone())
                }
                ContainerState::Running { .. } => ("Running".to_owned(), None, String::new()),
                ContainerState::Terminated(end) => {
                    (end.reason.clone(), Some(end.exit_code), end.message.clone())
                }
            };
            let counts =
                usage.is_none_or(|usage| !usage.sidecar_or_init) || status.phase == Phase::Failed;
            if counts && exit_code == 0 {
                exit_code = code.unwrap_or_default();
            }
            row.containers.push(ContainerRow {
                name: container.name.clone(),
                state,
                exit_code: code,
                message,
                restarts: container.restart_count,
                cpu: usage.map_or(Duration::ZERO, |usage| usage.cpu),
                memory_peak: usage.map_or(0, |usage| usage.memory_peak),
                received: usage.map_or(0, |usage| usage.received),
                sent: usage.map_or(0, |usage| usage.sent),
            });
        }
        if exit_code == 0 && status.phase == Phase::Failed {
            // Failed as a whole, for example by its deadline, although no container did.
            exit_code = 1;
        }
        rows.push(row);
    }
    let exit_code = match stopped_by {
        Some(signal) => 128 + signal.as_raw_value(),
        None => exit_code,
    };
    let exit_code = u8::try_from(exit_code).unwrap_or(1);
    Summary {
        exit_code,
        pods: rows,
    }
}
