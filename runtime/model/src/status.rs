//! A pod's status as kubelet reports it: phase, conditions, container states and reasons.

use std::net::IpAddr;
use std::time::SystemTime;

use crate::pod::QosClass;

/// `status` of a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodStatus {
    /// `phase`.
    pub phase: Phase,
    /// `reason`: DeadlineExceeded, Evicted …; empty where there is none.
    pub reason: String,
    /// `message` that goes with the reason.
    pub message: String,
    /// `conditions`, in kubelet's order.
    pub conditions: Vec<Condition>,
    /// `podIPs`; the first is `podIP`.
    pub pod_ips: Vec<IpAddr>,
    /// `hostIPs`; the first is `hostIP`.
    pub host_ips: Vec<IpAddr>,
    /// `startTime`: when the node accepted the pod.
    pub start_time: Option<SystemTime>,
    /// `qosClass`.
    pub qos: QosClass,
    /// `initContainerStatuses`, in the order of the spec.
    pub init_containers: Vec<ContainerStatus>,
    /// `containerStatuses`, in the order of the spec.
    pub containers: Vec<ContainerStatus>,
}

/// `phase`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Accepted; not every container has started once.
    #[default]
    Pending,
    /// Bound, all containers made, at least one runs or will restart.
    Running,
    /// All containers ended with 0 and none will restart.
    Succeeded,
    /// All containers ended, at least one in failure, and none will restart.
    Failed,
}

/// One of `conditions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `type`: PodScheduled, Initialized, ContainersReady, Ready, PodReadyToStartContainers ….
    pub kind: String,
    /// `status`: `true` for "True".
    pub status: bool,
    /// `reason`, empty where there is none.
    pub reason: String,
    /// `message`, empty where there is none.
    pub message: String,
    /// `lastTransitionTime`: changes only when `status` does.
    pub since: SystemTime,
}

/// One of `containerStatuses`.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerStatus {
    /// `name`.
    pub name: String,
    /// `state`.
    pub state: ContainerState,
    /// `lastState`: how the instance before ended.
    pub last_state: Option<Terminated>,
    /// `ready`.
    pub ready: bool,
    /// `started`.
    pub started: bool,
    /// `restartCount`.
    pub restart_count: u32,
    /// `image`, as the spec names it.
    pub image: String,
    /// `imageID`, empty until it is known.
    pub image_id: String,
    /// `containerID`, `wasmpod://…`, empty until there is one.
    pub container_id: String,
}

/// `state` of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Not running, and why.
    Waiting {
        /// ContainerCreating, PodInitializing, CrashLoopBackOff, ErrImagePull ….
        reason: String,
        /// What a person needs to know beyond it.
        message: String,
    },
    /// Running.
    Running {
        /// `startedAt`.
        since: SystemTime,
    },
    /// Ended.
    Terminated(Terminated),
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminated {
    /// `exitCode`, 0 to 255; 128 + signal where one ended it.
    pub exit_code: i32,
    /// `signal`, where one ended it.
    pub signal: Option<i32>,
    /// Completed, Error, OOMKilled, ContainerCannotRun, StartError, DeadlineExceeded ….
    pub reason: String,
    /// The termination message, or what went wrong.
    pub message: String,
    /// `startedAt`.
    pub started_at: SystemTime,
    /// `finishedAt`.
    pub finished_at: SystemTime,
    /// `containerID` of the instance.
    pub container_id: String,
}

// === impl Phase ===

impl Phase {
    /// As `status.phase` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    /// Whether nothing will happen to the pod any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}
