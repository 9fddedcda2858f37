//! A pod as its author wrote it, with every default filled in.
//!
//! `api` makes it from a Kubernetes object and validates it on the way, so a reader may rely on
//! what Kubernetes promises: names are DNS labels, mounts refer to volumes that exist, ports are
//! in range.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::container::{Container, SecurityContext};
use crate::volume::Volume;

/// One pod: containers that share an address, a port space, localhost and volumes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pod {
    /// Who it is.
    pub identity: Identity,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `spec.initContainers` in order, sidecars (restartPolicy Always) among them.
    pub init_containers: Vec<Container>,
    /// `spec.containers` in order; at least one.
    pub containers: Vec<Container>,
    /// `spec.volumes`.
    pub volumes: Vec<Volume>,
    /// `spec.restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`, 30 s by default.
    pub grace_period: Duration,
    /// `spec.activeDeadlineSeconds`, counted from the pod's start.
    pub active_deadline: Option<Duration>,
    /// `spec.hostname`, else the pod's name, cut to 63 bytes.
    pub hostname: String,
    /// `spec.subdomain`.
    pub subdomain: Option<String>,
    /// `spec.setHostnameAsFQDN`.
    pub hostname_as_fqdn: bool,
    /// `spec.hostAliases`: an address and its names, as further lines of /etc/hosts.
    pub host_aliases: Vec<(IpAddr, Vec<String>)>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.dnsPolicy`.
    pub dns_policy: DnsPolicy,
    /// `spec.dnsConfig`.
    pub dns_config: DnsConfig,
    /// `spec.securityContext`: what containers inherit unless they say otherwise.
    pub security: SecurityContext,
    /// `spec.nodeName`, where given.
    pub node_name: Option<String>,
    /// `spec.serviceAccountName`.
    pub service_account: String,
    /// `spec.runtimeClassName`.
    pub runtime_class: Option<String>,
    /// `spec.imagePullSecrets`: names of Secrets in the pod's namespace.
    pub image_pull_secrets: Vec<String>,
    /// `spec.readinessGates`: condition types that must be true as well.
    pub readiness_gates: Vec<String>,
}

/// Names that identify a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// `metadata.namespace`, `default` where not given.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

/// `spec.restartPolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Restart whatever the exit code.
    #[default]
    Always,
    /// Restart after a non-zero exit.
    OnFailure,
    /// Never restart.
    Never,
}

/// `spec.dnsPolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DnsPolicy {
    /// The cluster's names first, then the node's resolvers.
    #[default]
    ClusterFirst,
    /// As `ClusterFirst`, also for pods on the host's network.
    ClusterFirstWithHostNet,
    /// The node's resolv.conf.
    Default,
    /// Only what `dnsConfig` says.
    None,
}

/// `spec.dnsConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsConfig {
    /// Resolver addresses, at most three in all.
    pub nameservers: Vec<IpAddr>,
    /// Search domains, appended to those of the policy.
    pub searches: Vec<String>,
    /// Options with an optional value, for example `ndots` and `2`.
    pub options: Vec<(String, Option<String>)>,
}

/// The pod's quality of service class, computed from requests and limits (kubelet's rule).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    /// Every container has limits for cpu and memory, and requests equal to them.
    Guaranteed,
    /// Some container has a request or limit.
    Burstable,
    /// No container has any.
    BestEffort,
}

// === impl Pod ===

impl Pod {
    /// The pod's class of service.
    pub fn qos(&self) -> QosClass {
        let all = || self.init_containers.iter().chain(&self.containers);
        if all().all(|c| c.resources.is_empty()) {
            return QosClass::BestEffort;
        }
        if all().all(|c| c.resources.is_guaranteed()) {
            return QosClass::Guaranteed;
        }
        QosClass::Burstable
    }

    /// Every container in the order of its start: init containers, then the others.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }
}

impl QosClass {
    /// As `status.qosClass` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

impl Identity {
    /// `namespace/name`, as Kubernetes tools print it.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}
