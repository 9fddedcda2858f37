//! When each probe of an instance is asked, and what its answers mean.
//!
//! ```text
//!  Up ──initialDelay──> due ──ask──> asked ──answer──> due again one period after it was due
//!                                                └─ as many alike as the threshold: a verdict
//! ```
//!
//! The startup probe gates the others. Failing it, or the liveness probe, ends the instance with
//! the probe's own grace. The timeout of one probe is kept by whoever asks it.
//!
//! Startup and liveness are asked at the ticks of a clock that a container has through all its
//! restarts, as kubelet's worker has: a restarted container is asked at the first tick after its
//! initial delay. (The clock begins with the container's first start, so that one is asked at once;
//! in a state that was recovered it begins after a part of the period that differs from probe to
//! probe, so that an agent that starts anew does not ask all of them together.) Readiness is asked
//! at once, as kubelet does for a container that it has just found running or started.
//!
//! Under kubelet a program has been up for a while at its first tick, because the clock began when
//! the pod came. Here it is asked within a millisecond, so a failure within its [`HEAD_START`] is
//! held against nobody: the probe is asked again at the end of that.
//!
//! Unlike kubelet's, counts do not go over to the next instance: it has answered nothing yet.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
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

/// What a program is given to open its port before it is judged by that.
const HEAD_START: Duration = Duration::from_secs(1);

const KINDS: [ProbeKind; 3] = [
    ProbeKind::Startup,
    ProbeKind::Liveness,
    ProbeKind::Readiness,
];

/// From when on the periods of a container's probes are counted, through all its instances.
#[derive(Debug, Clone, Default)]
pub(super) struct ProbeClock(Vec<(ProbeKind, Tick)>);

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
    pub(super) fn all(
        spec: &Container,
        clock: &mut ProbeClock,
        since: Tick,
        now: Tick,
    ) -> Vec<Self> {
        let prober = |kind: ProbeKind| {
            Some(Self {
                kind,
                due: clock.first_due(kind, kind.of(spec)?, since, now),
                asked: false,
                last: false,
                run: 0,
            })
        };
        KINDS.into_iter().filter_map(prober).collect()
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
        self.asked = false;
        let missed = now.since(self.due).as_nanos() / period.as_nanos();
        let periods = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
        self.due = self.due.after(period.saturating_mul(periods));
    }

    /// Takes a failure for too early, if it is: it is not counted, and asked again soon.
    fn is_too_early(&mut self, since: Tick, now: Tick) -> bool {
        let soon = since.after(HEAD_START);
        let is_early = now < soon;
        if is_early {
            self.due = soon;
        }
        is_early
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

// === impl ProbeClock ===

impl ProbeClock {
    /// The clock of a container that an agent before this one has looked after.
    pub(super) fn recovered(spec: &Container, uid: &str, now: Tick) -> Self {
        let begin = |kind: ProbeKind| {
            let period = period(kind.of(spec)?);
            let mut hasher = DefaultHasher::new();
            (uid, &spec.name, kind).hash(&mut hasher);
            let part = hasher.finish() % u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
            Some((kind, now.after(Duration::from_nanos(part))))
        };
        Self(KINDS.into_iter().filter_map(begin).collect())
    }

    /// When a probe is due that has not been asked of this instance, or was gated until now.
    /// `initialDelaySeconds` count from the instance's start.
    fn first_due(&mut self, kind: ProbeKind, probe: &Probe, since: Tick, now: Tick) -> Tick {
        let earliest = since.after(probe.initial_delay).max(now);
        if kind == ProbeKind::Readiness {
            return earliest;
        }
        let Some((_, first)) = self.0.iter().find(|(of, _)| *of == kind) else {
            self.0.push((kind, earliest));
            return earliest;
        };
        let period = period(probe);
        let periods = earliest
            .since(*first)
            .as_nanos()
            .div_ceil(period.as_nanos());
        first.after(period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX)))
    }
}

fn period(probe: &Probe) -> Duration {
    probe.period.max(LEAST_PERIOD)
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
        let since = live.since;
        let Some(prober) = live.probes.iter_mut().find(|prober| prober.kind == kind) else {
            return;
        };
        if !prober.asked {
            return;
        }
        prober.schedule(period(probe), pass.now.tick);
        if !prober.is_wanted(passed, stopping) {
            return;
        }
        let good = match outcome {
            ProbeOutcome::Success => true,
            ProbeOutcome::Warning(text) => {
                pass.tell(Notice::probe_warned(place, kind, &text));
                true
            }
            ProbeOutcome::Failure(_) if prober.is_too_early(since, pass.now.tick) => return,
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
        let mut clock = std::mem::take(&mut self.probe_clock);
        if let Some(live) = self.live_mut() {
            live.startup_passed = true;
            let since = live.since;
            for prober in &mut live.probes {
                if let Some(probe) = prober.kind.of(spec) {
                    prober.due = clock.first_due(prober.kind, probe, since, now);
                }
            }
        }
        self.probe_clock = clock;
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
