//! When each probe of an instance is asked, and what its answers mean.
//!
//! ```text
//!  Up ──initialDelay──> due ──ask──> asked ──answer──> due again one period after it was due
//!                                                └─ as many alike as the threshold: a verdict
//! ```
//!
//! The startup probe gates the others. Failing it, or the liveness probe, ends the instance with
//! the probe's own grace. The timeout of one probe is kept by whoever asks it.

use std::time::Duration;

use super::instance::Live;
use super::slot::{Role, Slot};
use super::state::Pass;
use super::stop::Order;
use super::{Action, Notice, ProbeKind, ProbeOutcome, Tick};
use crate::container::Container;
use crate::probe::Probe;

/// The least period, should a probe come with none: a machine that asks all the time does nothing
/// else.
const LEAST_PERIOD: Duration = Duration::from_secs(1);

/// One probe of one instance.
#[derive(Debug, Clone)]
pub(super) struct Prober {
    kind: ProbeKind,
    /// When it is asked next, or was due when it is being asked.
    due: Tick,
    asked: bool,
    /// The answer before, and how many alike came in a row.
    last: bool,
    run: u32,
}

// === impl Prober ===

impl Prober {
    /// The probes of an instance that has just come up.
    pub(super) fn all(spec: &Container, since: Tick, now: Tick) -> Vec<Self> {
        [
            ProbeKind::Startup,
            ProbeKind::Liveness,
            ProbeKind::Readiness,
        ]
        .into_iter()
        .filter_map(|kind| {
            Some(Self {
                kind,
                due: first_due(kind.of(spec)?, since, now),
                asked: false,
                last: false,
                run: 0,
            })
        })
        .collect()
    }

    /// Whether its answers matter now. While an instance is being stopped only readiness does.
    fn is_wanted(&self, startup_passed: bool, stopping: bool) -> bool {
        match self.kind {
            ProbeKind::Startup => !startup_passed && !stopping,
            ProbeKind::Liveness => startup_passed && !stopping,
            ProbeKind::Readiness => startup_passed,
        }
    }

    /// Moves on to the next time after now: a probe that took long skips the times it missed.
    fn schedule(&mut self, period: Duration, now: Tick) {
        let period = period.max(LEAST_PERIOD);
        self.asked = false;
        let missed = now.since(self.due).as_nanos() / period.as_nanos();
        let periods = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
        self.due = self.due.after(period.saturating_mul(periods));
    }

    /// Counts an answer; the verdict, if its threshold is reached.
    fn count(&mut self, good: bool, probe: &Probe) -> Option<bool> {
        if self.run > 0 && self.last == good {
            self.run = self.run.saturating_add(1);
        } else {
            (self.last, self.run) = (good, 1);
        }
        let threshold = if good {
            probe.success_threshold
        } else {
            probe.failure_threshold
        };
        (self.run >= threshold).then_some(good)
    }
}

/// `initialDelaySeconds` count from the start; a probe that is gated for longer is due at once.
fn first_due(probe: &Probe, since: Tick, now: Tick) -> Tick {
    since.after(probe.initial_delay).max(now)
}

// === impl Live ===

impl Live {
    /// The next time that one of its probes is due.
    pub(super) fn next_probe(&self) -> Option<Tick> {
        let stopping = self.stop.is_some();
        self.probes
            .iter()
            .filter(|prober| !prober.asked && prober.is_wanted(self.startup_passed, stopping))
            .map(|prober| prober.due)
            .min()
    }
}

// === impl Slot ===

impl Slot {
    /// Asks the probes that are due.
    pub(super) fn ask_probes(&mut self, pass: &mut Pass) {
        let container = self.place;
        let Some(live) = self.live_mut() else {
            return;
        };
        let (instance, stopping) = (live.instance, live.stop.is_some());
        let passed = live.startup_passed;
        for prober in &mut live.probes {
            if prober.is_wanted(passed, stopping) && !prober.asked && prober.due <= pass.now.tick {
                prober.asked = true;
                pass.act(Action::Probe {
                    container,
                    instance,
                    kind: prober.kind,
                });
            }
        }
    }

    /// Hears what a probe answered.
    pub(super) fn probed(
        &mut self,
        spec: &Container,
        kind: ProbeKind,
        outcome: ProbeOutcome,
        pass: &mut Pass,
    ) {
        let place = self.place;
        let (Some(probe), Some(live)) = (kind.of(spec), self.live_mut()) else {
            return;
        };
        let (passed, stopping) = (live.startup_passed, live.stop.is_some());
        let Some(prober) = live.probes.iter_mut().find(|prober| prober.kind == kind) else {
            return;
        };
        if !prober.asked {
            return;
        }
        prober.schedule(probe.period, pass.now.tick);
        if !prober.is_wanted(passed, stopping) {
            return;
        }
        let good = match outcome {
            ProbeOutcome::Success => true,
            ProbeOutcome::Warning(text) => {
                pass.tell(Notice::probe_warned(place, kind, &text));
                true
            }
            ProbeOutcome::Failure(text) => {
                pass.tell(Notice::probe_failed(place, kind, &text));
                false
            }
            ProbeOutcome::Error(text) => {
                return pass.tell(Notice::probe_errored(place, kind, &text));
            }
        };
        if let Some(good) = prober.count(good, probe) {
            self.judge(spec, kind, good, pass);
        }
    }

    /// Draws the conclusion from a probe whose threshold is reached.
    fn judge(&mut self, spec: &Container, kind: ProbeKind, good: bool, pass: &mut Pass) {
        match (kind, good) {
            (ProbeKind::Startup, true) => self.startup_succeeded(spec, pass),
            (ProbeKind::Liveness, true) => {}
            (ProbeKind::Readiness, _) => {
                if let Some(live) = self.live_mut().filter(|live| live.ready != good) {
                    live.ready = good;
                    pass.touch();
                }
            }
            (ProbeKind::Startup | ProbeKind::Liveness, false) => self.unhealthy(spec, kind, pass),
        }
    }

    fn startup_succeeded(&mut self, spec: &Container, pass: &mut Pass) {
        let now = pass.now.tick;
        if let Some(live) = self.live_mut() {
            live.startup_passed = true;
            let since = live.since;
            for prober in &mut live.probes {
                if let Some(probe) = prober.kind.of(spec) {
                    prober.due = first_due(probe, since, now);
                }
            }
        }
        self.passed |= self.role == Role::Sidecar;
        pass.touch();
    }

    /// Ends an instance whose startup or liveness probe has failed for good.
    fn unhealthy(&mut self, spec: &Container, kind: ProbeKind, pass: &mut Pass) {
        let what = match kind {
            ProbeKind::Startup => "startup",
            _ => "liveness",
        };
        let name = &spec.name;
        let message = match self.role {
            Role::Sidecar => format!("Init container {name} failed {what} probe"),
            _ if self.restarts_after(spec, &pass.pod, 137) => {
                format!("Container {name} failed {what} probe, will be restarted")
            }
            _ => format!("Container {name} failed {what} probe"),
        };
        let own = kind.of(spec).and_then(|probe| probe.grace_period);
        let order = Order {
            grace: own.unwrap_or(pass.pod.grace_period),
            message,
            orderly: false,
        };
        self.stop(order, pass);
    }
}
