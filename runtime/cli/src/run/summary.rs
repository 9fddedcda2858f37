//! How a run came out: the exit code, and what every container did and used.
//!
//! A container that never ran shows why. (Its status says ContainerStatusUnknown and 137, as
//! kubelet's does, which helps nobody who looks at a table.) One that was last seen running ended
//! with the process that it was in, unheard.

use std::time::Duration;

use model::status::{ContainerState, ContainerStatus, Phase, PodStatus};
use node::{Hindrance, PodHandle, Role};
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

/// Why nothing else is known of a container that was last seen running.
const UNHEARD: &str = "Killed: its pod host did not answer before the end of the run";

/// The name of a pod as `run` prints it.
pub(crate) fn short_name(identity: &model::pod::Identity) -> String {
    if identity.namespace == "default" {
        identity.name.clone()
    } else {
        identity.key()
    }
}

/// What a container's row says of its state: in a word, as an exit code, and as a sentence.
fn shown(container: &ContainerStatus, hindrances: &[Hindrance]) -> (String, Option<i32>, String) {
    let mut hindrances = hindrances.iter();
    if let Some(why) = hindrances.find(|why| why.container == container.name) {
        return (why.reason.clone(), None, why.message.clone());
    }
    match &container.state {
        ContainerState::Waiting { reason, message } => (reason.clone(), None, message.clone()),
        ContainerState::Running { .. } => (
            "ContainerStatusUnknown".to_owned(),
            Some(137),
            UNHEARD.to_owned(),
        ),
        ContainerState::Terminated(end) => {
            (end.reason.clone(), Some(end.exit_code), end.message.clone())
        }
    }
}

/// Whether a container's exit code may be the run's. A sidecar is ended by wasmpod: its code says
/// nothing of the pod. An init container that failed and was run anew is forgiven.
fn counts(role: Role, phase: Phase) -> bool {
    match role {
        Role::Main => true,
        Role::Init => phase == Phase::Failed,
        Role::Sidecar => false,
    }
}

/// The phase of a pod that has ended, whether its end was heard of or not.
fn phase_at_end(status: &PodStatus) -> Phase {
    match status.phase {
        Phase::Running => Phase::Failed,
        phase => phase,
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
            phase: phase_at_end(status),
            reason: status.reason.clone(),
            message: status.message.clone(),
            containers: Vec::new(),
        };
        for container in status.init_containers.iter().chain(&status.containers) {
            let usage = report
                .usage
                .iter()
                .find(|usage| usage.container == container.name);
            let (state, code, message) = shown(container, &report.hindrances);
            if exit_code == 0 && counts(usage.map_or(Role::Main, |usage| usage.role), status.phase)
            {
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
            // Failed as a whole, by its deadline or for want of an image, and no container did.
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use model::status::Terminated;

    use super::*;

    #[test]
    fn a_container_that_never_ran_shows_why() {
        let unknown = ContainerState::Terminated(Terminated {
            exit_code: 137,
            signal: None,
            reason: "ContainerStatusUnknown".to_owned(),
            message: "The container could not be located".to_owned(),
            started_at: SystemTime::UNIX_EPOCH,
            finished_at: SystemTime::UNIX_EPOCH,
            container_id: String::new(),
        });
        let hindrance = |container: &str| Hindrance {
            container: container.to_owned(),
            reason: "ErrImagePull".to_owned(),
            message: "no such file".to_owned(),
        };
        let waiting = ContainerState::Waiting {
            reason: "PodInitializing".to_owned(),
            message: String::new(),
        };
        let running = ContainerState::Running {
            since: SystemTime::UNIX_EPOCH,
        };
        let cases = [
            (&running, "other", ("ContainerStatusUnknown", Some(137))),
            (&unknown, "other", ("ContainerStatusUnknown", Some(137))),
            (&unknown, "c", ("ErrImagePull", None)),
            (&waiting, "other", ("PodInitializing", None)),
            (&waiting, "c", ("ErrImagePull", None)),
        ];
        for (state, hindered, wanted) in cases {
            let container = ContainerStatus {
                name: "c".to_owned(),
                state: state.clone(),
                last_state: None,
                ready: false,
                started: false,
                restart_count: 0,
                image: String::new(),
                image_id: String::new(),
                container_id: String::new(),
            };
            let (word, code, _) = shown(&container, &[hindrance(hindered)]);
            assert_eq!((word.as_str(), code), wanted, "{hindered}");
        }
    }
}
