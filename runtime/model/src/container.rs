//! One container of a pod, as its author wrote it.

use std::time::Duration;

use crate::pod::RestartPolicy;
use crate::probe::{Handler, Probe};
use crate::quantity::Quantity;
use crate::volume::Mount;

/// A container: an image, how to run it, and what it may use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Container {
    /// `name`, a DNS label, unique in its pod.
    pub name: String,
    /// `image`: `registry/name:tag`, `name@sha256:…`, or `file:path.wasm`.
    pub image: String,
    /// `imagePullPolicy`.
    pub pull_policy: PullPolicy,
    /// `command`: replaces the image's entry point. `$(VAR)` is not expanded yet.
    pub command: Vec<String>,
    /// `args`: replaces the image's command. `$(VAR)` is not expanded yet.
    pub args: Vec<String>,
    /// `workingDir`, cleaned.
    pub working_dir: Option<String>,
    /// `envFrom`, in order; `env` wins over it.
    pub env_from: Vec<EnvFrom>,
    /// `env`, in order; the later wins.
    pub env: Vec<EnvVar>,
    /// `ports`.
    pub ports: Vec<Port>,
    /// `resources`.
    pub resources: Resources,
    /// `volumeMounts`.
    pub mounts: Vec<Mount>,
    /// `livenessProbe`.
    pub liveness: Option<Probe>,
    /// `readinessProbe`.
    pub readiness: Option<Probe>,
    /// `startupProbe`.
    pub startup: Option<Probe>,
    /// `lifecycle.postStart`.
    pub post_start: Option<Handler>,
    /// `lifecycle.preStop`.
    pub pre_stop: Option<Handler>,
    /// `restartPolicy` of the container itself: `Always` on an init container makes it a sidecar.
    pub restart_policy: Option<RestartPolicy>,
    /// `securityContext`, the pod's already folded in.
    pub security: SecurityContext,
    /// `terminationMessagePath`.
    pub termination_message_path: String,
    /// `terminationMessagePolicy`: `true` for FallbackToLogsOnError.
    pub termination_message_from_logs: bool,
    /// `stdin`.
    pub stdin: bool,
    /// `stdinOnce`.
    pub stdin_once: bool,
    /// `tty`.
    pub tty: bool,
}

/// `imagePullPolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Ask the registry at every start.
    Always,
    /// Never ask the registry.
    Never,
    /// Ask when the image is not here.
    #[default]
    IfNotPresent,
}

/// One entry of `env`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub value: EnvValue,
}

/// Where an environment variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// `value`; `$(VAR)` is not expanded yet.
    Literal(String),
    /// `valueFrom.configMapKeyRef`.
    ConfigMapKey(KeyRef),
    /// `valueFrom.secretKeyRef`.
    SecretKey(KeyRef),
    /// `valueFrom.fieldRef.fieldPath`, for example `metadata.name`.
    Field(String),
    /// `valueFrom.resourceFieldRef`.
    Resource(ResourceField),
}

/// A key of a ConfigMap or Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRef {
    /// The object's name, in the pod's namespace.
    pub name: String,
    /// The key in it.
    pub key: String,
    /// Whether its absence is no error.
    pub optional: bool,
}

/// `resourceFieldRef`: a container's request or limit as a number, rounded up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceField {
    /// The container; its own where absent.
    pub container: Option<String>,
    /// For example `limits.memory`.
    pub resource: String,
    /// The unit, `1` where not given.
    pub divisor: Quantity,
}

/// One entry of `envFrom`: every key of an object as a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFrom {
    /// Put before every key.
    pub prefix: String,
    /// The object.
    pub source: EnvFromSource,
    /// Whether its absence is no error.
    pub optional: bool,
}

/// The object of an [`EnvFrom`], by name in the pod's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvFromSource {
    /// A ConfigMap.
    ConfigMap(String),
    /// A Secret.
    Secret(String),
}

/// One entry of `ports`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// `name`, where given.
    pub name: Option<String>,
    /// `containerPort`, 1 to 65535.
    pub container_port: u16,
    /// `hostPort`, where given.
    pub host_port: Option<u16>,
    /// `hostIP`, where given.
    pub host_ip: Option<std::net::IpAddr>,
    /// `protocol`.
    pub protocol: Protocol,
}

/// The TCP port of an http server whose container declares none: what the tools of the field use.
pub const HTTP_PORT: u16 = 8080;

/// A transport protocol.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
pub enum Protocol {
    /// TCP, the default.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// `resources`: what a container asks for and what it may not exceed.
///
/// Requests default to limits, as in Kubernetes; `api` has filled that in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// `requests.cpu`.
    pub cpu_request: Option<Quantity>,
    /// `limits.cpu`.
    pub cpu_limit: Option<Quantity>,
    /// `requests.memory`.
    pub memory_request: Option<Quantity>,
    /// `limits.memory`.
    pub memory_limit: Option<Quantity>,
    /// `requests.ephemeral-storage`.
    pub storage_request: Option<Quantity>,
    /// `limits.ephemeral-storage`.
    pub storage_limit: Option<Quantity>,
}

/// The fields of `securityContext` that a wasm container can honour.
///
/// `api` refuses aloud what it cannot honour, so nothing is dropped on the way here; what users and
/// groups mean for a guest is in [`crate::security`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityContext {
    /// `runAsUser`.
    pub run_as_user: Option<u32>,
    /// `runAsGroup`.
    pub run_as_group: Option<u32>,
    /// `runAsNonRoot`.
    pub run_as_non_root: Option<bool>,
    /// `readOnlyRootFilesystem`.
    pub read_only_root: bool,
    /// `fsGroup`, of the pod.
    pub fs_group: Option<u32>,
}

/// Where an http server listens whose container declares these ports, by name, number and protocol: at
/// the first of TCP, else at [`HTTP_PORT`].
pub fn http_port(declared: &[(String, u16, Protocol)]) -> u16 {
    let mut declared = declared.iter();
    let first = declared.find(|(_, _, protocol)| *protocol == Protocol::Tcp);
    first.map_or(HTTP_PORT, |(_, port, _)| *port)
}

// === impl Container ===

impl Container {
    /// Whether this init container is a sidecar: started before, kept running, stopped after.
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy == Some(RestartPolicy::Always)
    }
}

impl Resources {
    /// Whether nothing is asked for and nothing limited (of cpu and memory).
    pub fn is_empty(&self) -> bool {
        self.cpu_request.is_none()
            && self.cpu_limit.is_none()
            && self.memory_request.is_none()
            && self.memory_limit.is_none()
    }

    /// Whether cpu and memory are both limited and requested alike.
    pub fn is_guaranteed(&self) -> bool {
        self.cpu_limit.is_some()
            && self.memory_limit.is_some()
            && self.cpu_request == self.cpu_limit
            && self.memory_request == self.memory_limit
    }
}

/// The default of `terminationMessagePath`.
pub const TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";

/// The default of `terminationGracePeriodSeconds`.
pub const GRACE_PERIOD: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_server_listens_at_the_first_port_of_tcp_or_the_usual_one() {
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        for (declared, port) in [
            (&[(53, udp), (80, tcp), (81, tcp)][..], 80),
            (&[(53, udp)], HTTP_PORT),
            (&[], HTTP_PORT),
        ] {
            let named = declared
                .iter()
                .map(|(port, protocol)| (String::new(), *port, *protocol));
            let declared: Vec<_> = named.collect();
            assert_eq!(http_port(&declared), port, "{declared:?}");
        }
    }
}
