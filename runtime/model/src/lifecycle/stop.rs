//! How an instance is stopped: hook, own turn, TERM, KILL, within one grace period.
//!
//! ```text
//!  Launch ──it runs──> Hook ──done──> Turn ──its turn──> Term ──grace over──> Killed
//!     └─────────────────┴── the grace is over ──┘          2 s at least
//! ```
//!
//! The hook and TERM share the grace period, and TERM says what is left of it. Whoever gets TERM
//! has two seconds, even if nothing is left (kubelet's minimum). When a whole pod ends, a sidecar's
//! turn comes after the main containers and the sidecars that started later, or when the grace is
//! over.

use std::time::Duration;

use super::instance::Stand;
use super::slot::Slot;
use super::state::Pass;
use super::{Action, Hook, Notice, Tick};
use crate::container::Container;
use crate::runtime::Signal;

/// What is left of the grace period after TERM, at least.
pub const LEAST_GRACE: Duration = Duration::from_secs(2);

/// The order to stop an instance.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// How long it has.
    pub(super) grace: Duration,
    /// The message of the Killing Event.
    pub(super) message: String,
    /// Whether sidecars wait for their turn: when the pod as a whole ends.
    pub(super) orderly: bool,
}

/// How far the stop of an instance has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    /// The end of the grace period.
    deadline: Tick,
    orderly: bool,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Until the instance runs, if it is being launched.
    Launch,
    /// While its preStop hook runs.
    Hook,
    /// Until it is its turn.
    Turn,
    /// After TERM, until this time.
    Term(Tick),
    /// After KILL.
    Killed,
}

// === impl Stop ===

impl Stop {
    /// When something must happen if nothing else does.
    pub(super) fn deadline(&self) -> Option<Tick> {
        match self.stage {
            Stage::Launch | Stage::Hook | Stage::Turn => Some(self.deadline),
            Stage::Term(kill) => Some(kill),
            Stage::Killed => None,
        }
    }

    /// A later order: it can only make the time shorter. Answers what is left for an instance that
    /// has got TERM and has less now.
    fn hasten(&mut self, order: &Order, now: Tick) -> Option<Duration> {
        self.deadline = self.deadline.min(now.after(order.grace));
        self.orderly |= order.orderly;
        let left = order.grace.max(LEAST_GRACE);
        match &mut self.stage {
            Stage::Term(kill) if *kill > now.after(left) => {
                *kill = now.after(left);
                Some(left)
            }
            _ => None,
        }
    }
}

// === impl Slot ===

impl Slot {
    /// Decides that the live instance ends. `stop_further` does it.
    pub(super) fn stop(&mut self, order: Order, pass: &mut Pass) {
        let place = self.place;
        let Some(live) = self.live_mut() else {
            return;
        };
        match &mut live.stop {
            Some(stop) => {
                if let Some(left) = stop.hasten(&order, pass.now.tick) {
                    let (instance, signal) = (live.instance, Signal::Term(left));
                    pass.act(Action::Signal { instance, signal });
                }
            }
            None => {
                live.stop = Some(Stop {
                    deadline: pass.now.tick.after(order.grace),
                    orderly: order.orderly,
                    stage: Stage::Launch,
                });
                pass.tell(Notice::killing(place, order.message));
            }
        }
    }

    /// Ends the live instance at once.
    pub(super) fn kill(&mut self, pass: &mut Pass) {
        let place = self.place;
        let Some(live) = self.live_mut() else {
            return;
        };
        let stop = Stop {
            deadline: pass.now.tick,
            orderly: false,
            stage: Stage::Killed,
        };
        let earlier = live.stop.replace(stop);
        let instance = live.instance;
        if earlier.is_none() {
            let name = place.of(&pass.pod).map_or("", |spec| &spec.name);
            let message = format!("Stopping container {name}");
            pass.tell(Notice::killing(place, message));
        }
        if earlier.is_none_or(|stop| stop.stage != Stage::Killed) {
            pass.act(Action::Signal {
                instance,
                signal: Signal::Kill,
            });
        }
    }

    /// The preStop hook has ended, one way or the other.
    pub(super) fn pre_stop_ended(&mut self) {
        if let Some(stop) = self.live_mut().and_then(|live| live.stop.as_mut())
            && stop.stage == Stage::Hook
        {
            stop.stage = Stage::Turn;
        }
    }

    /// An instance that was to end before it ran does run now: a KILL from before is repeated,
    /// since there was nothing to kill then.
    pub(super) fn killed_before_it_ran(&self, pass: &mut Pass) {
        if let Some(live) = self.live()
            && live.stop.is_some_and(|stop| stop.stage == Stage::Killed)
        {
            pass.act(Action::Signal {
                instance: live.instance,
                signal: Signal::Kill,
            });
        }
    }

    /// Does what the stop of the live instance demands now. `turn`: whether those that have to end
    /// before it have.
    pub(super) fn stop_further(&mut self, spec: &Container, turn: bool, pass: &mut Pass) {
        let container = self.place;
        let Some(live) = self.live_mut() else {
            return;
        };
        let Some(mut stop) = live.stop else {
            return;
        };
        let (instance, now) = (live.instance, pass.now.tick);
        let in_time = now < stop.deadline;
        if stop.stage == Stage::Launch && live.stand != Stand::Launching {
            stop.stage = Stage::Turn;
            if spec.pre_stop.is_some() && in_time {
                stop.stage = Stage::Hook;
                pass.act(Action::RunHook {
                    container,
                    instance,
                    hook: Hook::PreStop,
                });
            }
        }
        if stop.stage == Stage::Hook && !in_time {
            stop.stage = Stage::Turn;
        }
        if stop.stage == Stage::Turn && (turn || !stop.orderly || !in_time) {
            let kill = stop.deadline.max(now.after(LEAST_GRACE));
            stop.stage = Stage::Term(kill);
            let signal = Signal::Term(kill.since(now));
            pass.act(Action::Signal { instance, signal });
        }
        let late = match stop.stage {
            Stage::Launch => !in_time,
            Stage::Term(kill) => kill <= now,
            Stage::Hook | Stage::Turn | Stage::Killed => false,
        };
        if late {
            stop.stage = Stage::Killed;
            let signal = Signal::Kill;
            pass.act(Action::Signal { instance, signal });
        }
        live.stop = Some(stop);
    }
}
