//! A live instance of a container: what is known of it beyond its slot.

use std::time::SystemTime;

use super::Tick;
use super::probes::Prober;
use super::slot::Waiting;
use super::stop::Stop;
use crate::container::Container;
use crate::runtime::InstanceId;

/// An instance that was ordered and whose end is not known yet.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) instance: InstanceId,
    pub(super) stand: Stand,
    /// When its entry point was called, for the status.
    pub(super) started_at: SystemTime,
    /// The same for deadlines.
    pub(super) since: Tick,
    /// Whether it has no startup probe, or one that has succeeded.
    pub(super) startup_passed: bool,
    /// The readiness probe's verdict; false until its first.
    pub(super) ready: bool,
    /// The guest's own opinion; true until it says otherwise.
    pub(super) healthy: bool,
    pub(super) probes: Vec<Prober>,
    /// How far its end has come, once that was decided.
    pub(super) stop: Option<Stop>,
    /// Why it was stopped, where its container shows that until it runs again.
    pub(super) failure: Option<Waiting>,
}

/// How far an instance has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// Ordered.
    Launching,
    /// Runs, beside its postStart hook.
    PostStart,
    /// Runs, and shows as running.
    Up,
}

// === impl Live ===

impl Live {
    /// One that has just been ordered.
    pub(super) fn launching(instance: InstanceId, now: super::Now) -> Self {
        Self {
            instance,
            stand: Stand::Launching,
            started_at: now.wall,
            since: now.tick,
            startup_passed: false,
            ready: false,
            healthy: true,
            probes: Vec::new(),
            stop: None,
            failure: None,
        }
    }

    /// Whether its entry point has been called.
    pub(super) fn is_running(&self) -> bool {
        self.stand != Stand::Launching
    }

    /// Whether it shows as running: kubelet reports a container after its postStart hook.
    pub(super) fn is_up(&self) -> bool {
        self.stand == Stand::Up
    }

    /// `started`.
    pub(super) fn is_started(&self) -> bool {
        self.is_up() && self.startup_passed
    }

    /// `ready`: started, its readiness probe succeeds if it has one, and the guest agrees.
    pub(super) fn is_ready(&self, spec: &Container) -> bool {
        self.is_started() && (self.ready || spec.readiness.is_none()) && self.healthy
    }
}
