//! Probes and lifecycle handlers, with Kubernetes' defaults filled in.

use std::time::Duration;

/// A startup, readiness or liveness probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub handler: Handler,
    /// `initialDelaySeconds`, counted from the container's start; 0 by default.
    pub initial_delay: Duration,
    /// `timeoutSeconds`, 1 by default.
    pub timeout: Duration,
    /// `periodSeconds`, 10 by default.
    pub period: Duration,
    /// `successThreshold`, 1 by default.
    pub success_threshold: u32,
    /// `failureThreshold`, 3 by default.
    pub failure_threshold: u32,
    /// `terminationGracePeriodSeconds` of the probe: the grace of the kill that it causes.
    pub grace_period: Option<Duration>,
}

/// What a probe, a postStart or a preStop hook does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handler {
    /// A command inside the container; success is exit code 0.
    Exec(Vec<String>),
    /// An HTTP request; success is a status from 200 to 399.
    HttpGet(HttpGet),
    /// A TCP connection; success is that it opens.
    TcpSocket {
        /// `host`; the pod's address where absent.
        host: Option<String>,
        /// `port`.
        port: PortRef,
    },
    /// The gRPC health protocol; success is SERVING.
    Grpc {
        /// `port`.
        port: u16,
        /// `service`, empty for the server as a whole.
        service: String,
    },
    /// A pause; hooks only.
    Sleep(Duration),
}

/// `httpGet`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpGet {
    /// `scheme` is HTTPS; certificates are not verified, as in Kubernetes.
    pub https: bool,
    /// `host`; the pod's address where absent.
    pub host: Option<String>,
    /// `port`.
    pub port: PortRef,
    /// `path`, `/` by default.
    pub path: String,
    /// `httpHeaders`.
    pub headers: Vec<(String, String)>,
}

/// A port by number, or by the name of one of the container's ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortRef {
    /// Its number.
    Number(u16),
    /// Its name.
    Name(String),
}
