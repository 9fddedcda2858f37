//! How a run ends: by itself, because it is asked to, or because something hangs.
//!
//! ```text
//! running ──signal──> stopping ──signal, or the longest grace period──> killing ──a moment──> given up
//!    │                   │                                                 │
//!    └───────────────────┴──────────── every pod has ended ────────────────┴──> over
//! ```

use std::time::Duration;

use anyhow::Context as _;
use node::PodHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::LAST_CALLS;
use super::beginning::Pods;
use crate::output::Output;

/// How long after the longest grace period all pods have ended, unless one hangs.
const MARGIN: Duration = Duration::from_secs(3);

/// How soon after a signal the same one is not a second wish: `timeout` sends its signal to its child
/// and then to the group in which the child is, and nobody presses Ctrl-C twice as fast.
const SAME: Duration = Duration::from_millis(100);

/// Why all pods have ended, if not by themselves.
#[derive(Default)]
pub(super) struct End {
    /// The signal that asked for it.
    pub(super) asked: Option<SignalKind>,
    /// What the one container cannot run without.
    pub(super) failed: Option<String>,
    /// Until when its last words may be written; for ever where nobody asked for the end.
    pub(super) until: Option<Instant>,
}

/// The signals that end a run.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Ctrl-\\: a terminal's other way to end a program. It leaves no core here.
    quit: Signal,
    heard: Heard,
}

/// The signal that was heard last, and when.
#[derive(Default)]
struct Heard(Option<(SignalKind, Instant)>);

/// How far the end of a run is, and until when it may take.
#[derive(Clone, Copy)]
enum Stage {
    /// Nobody has asked for it.
    Running,
    /// Each pod stops within its grace period.
    Stopping(Instant),
    /// No pod has time any more.
    Killing(Instant),
}

/// Begins what pods wait, and waits until every one has ended; says what asked for it, if something
/// did. Once it was asked for no more are begun, and it waits no longer than a stop may take: the
/// longest grace period, and a moment after the end of all. What hangs then is given up, and ended
/// with this process.
pub(super) async fn until_all_end(
    pods: &mut Pods<'_>,
    signals: &mut Signals,
    failures: &mut mpsc::UnboundedReceiver<String>,
    output: &Output,
) -> End {
    let mut end = End::default();
    let mut stage = Stage::Running;
    loop {
        let asked = end.asked.is_some();
        let are_waiting = pods.are_waiting();
        let signal = tokio::select! {
            () = std::future::ready(()), if are_waiting => {
                pods.begin_next();
                continue;
            }
            is_one = pods.one_has_ended(), if !are_waiting => match is_one {
                true => continue,
                false => {
                    end.until = stage.last_words();
                    return end;
                }
            },
            Some(why) = failures.recv() => {
                pods.call_off();
                stage = stage.end_at_once(pods.begun());
                end.failed.get_or_insert(why);
                continue;
            }
            signal = signals.next() => signal,
            () = output.unread(), if !asked => SignalKind::pipe(),
            () = stage.overdue() => match stage {
                Stage::Killing(_) => {
                    end.until = stage.last_words();
                    return end;
                }
                _ => end.asked.unwrap_or(SignalKind::terminate()),
            },
        };
        pods.call_off();
        if asked {
            // Guests that wait for a reader cannot end before what they wrote is taken.
            output.hurry();
            stage = stage.end_at_once(pods.begun());
        } else if let Stage::Running = stage {
            pods.begun().iter().for_each(|pod| pod.stop(None));
            stage = Stage::Stopping(Instant::now() + pods.longest_grace() + MARGIN);
        }
        end.asked.get_or_insert(signal);
    }
}

// === impl Stage ===

impl Stage {
    /// Ends all pods now, unless that was done.
    fn end_at_once(self, pods: &[PodHandle]) -> Self {
        if let Self::Killing(_) = self {
            return self;
        }
        pods.iter().for_each(PodHandle::kill);
        Self::Killing(Instant::now() + LAST_CALLS)
    }

    /// Until when somebody may still read what is left to be said.
    fn last_words(self) -> Option<Instant> {
        match self {
            Self::Running => None,
            Self::Stopping(until) => Some(until),
            Self::Killing(_) => Some(Instant::now() + LAST_CALLS),
        }
    }

    /// Resolves when it takes too long.
    async fn overdue(self) {
        match self {
            Self::Running => std::future::pending().await,
            Self::Stopping(until) | Self::Killing(until) => {
                tokio::time::sleep_until(until).await;
            }
        }
    }
}

// === impl Signals ===

impl Signals {
    /// Listens from now on.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            quit: listen(SignalKind::quit())?,
            heard: Heard::default(),
        })
    }

    /// The next one that comes. One that comes twice at once is one.
    pub(super) async fn next(&mut self) -> SignalKind {
        loop {
            let signal = tokio::select! {
                _ = self.interrupt.recv() => SignalKind::interrupt(),
                _ = self.terminate.recv() => SignalKind::terminate(),
                _ = self.hangup.recv() => SignalKind::hangup(),
                _ = self.quit.recv() => SignalKind::quit(),
            };
            if self.heard.is_news(signal, Instant::now()) {
                return signal;
            }
        }
    }
}

// === impl Heard ===

impl Heard {
    /// Whether this signal says something that was not just heard.
    fn is_news(&mut self, signal: SignalKind, now: Instant) -> bool {
        let is_same = |(last, at)| last == signal && now.duration_since(at) < SAME;
        if self.0.is_some_and(is_same) {
            return false;
        }
        self.0 = Some((signal, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_comes_twice_at_once_is_one() {
        let (begin, mut heard) = (Instant::now(), Heard::default());
        for (signal, millis, is_news) in [
            (SignalKind::terminate(), 0, true),
            (SignalKind::terminate(), 0, false),
            // Another one is another wish, however soon.
            (SignalKind::interrupt(), 1, true),
            (SignalKind::interrupt(), 100, false),
            // Counted from the one that was heard: who keeps pressing is heard.
            (SignalKind::interrupt(), 101, true),
            (SignalKind::interrupt(), 5000, true),
        ] {
            let now = begin + Duration::from_millis(millis);
            assert_eq!(
                heard.is_news(signal, now),
                is_news,
                "{signal:?} after {millis} ms"
            );
        }
    }
}
