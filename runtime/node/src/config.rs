//! What a node is told when it is made.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use api::downward::Allocatable;
use model::lifecycle::{Now, Tick};
use model::runtime::Resolver;
use model::security::User;
use tokio::time::Instant;

use crate::logs::LogSink;

/// A node's settings.
#[derive(Clone)]
pub struct Config {
    /// Pods' files lie in `pods/<uid>` of it; the node itself makes nothing there.
    pub data_dir: PathBuf,
    /// `spec.nodeName` of its pods.
    pub node_name: String,
    /// `status.hostIPs` of its pods.
    pub host_ips: Vec<IpAddr>,
    /// Where logs are written as CRI does: `<ns>_<name>_<uid>/<container>/<attempt>.log`. Nowhere
    /// if absent.
    pub logs: Option<PathBuf>,
    /// Who gets every line of every container as well.
    pub sink: Option<Arc<dyn LogSink>>,
    /// What the node has for pods.
    pub allocatable: Allocatable,
    /// How names are resolved.
    pub dns: Dns,
    /// Whether containers get HOSTNAME, as container runtimes set it.
    pub hostname_variable: bool,
    /// Whom guests' files are opened as: the user that runs the pod host.
    pub user: User,
    /// What time it is.
    pub clock: Clock,
}

/// What dnsPolicy chooses from.
#[derive(Debug, Clone, Default)]
pub struct Dns {
    /// The node's own resolv.conf: dnsPolicy Default.
    pub node: Resolver,
    /// The cluster's DNS: dnsPolicy ClusterFirst. As Default where there is none.
    pub cluster: Option<IpAddr>,
    /// The cluster's domain, for example `cluster.local`.
    pub domain: String,
}

/// Time as the lifecycle takes it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    wall: SystemTime,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            node_name: "localhost".to_owned(),
            host_ips: Vec::new(),
            logs: None,
            sink: None,
            allocatable: Allocatable::default(),
            dns: Dns::default(),
            hostname_variable: true,
            user: User::default(),
            clock: Clock::system(),
        }
    }
}

// === impl Clock ===

impl Clock {
    /// The machine's time.
    pub fn system() -> Self {
        Self {
            start: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// Now.
    pub fn now(&self) -> Now {
        let elapsed = self.start.elapsed();
        Now {
            tick: Tick::from_start(elapsed),
            wall: self.wall + elapsed,
        }
    }

    /// When a deadline is.
    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        self.start + tick.elapsed()
    }
}
