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
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::LAST_CALLS;
use crate::output::Output;

/// How long after the longest grace period all pods have ended, unless one hangs.
const MARGIN: Duration = Duration::from_secs(3);

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
}

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

/// Waits until every pod has ended; says what asked for it, if something did. Once it was asked for
/// it waits no longer than a stop may take: the longest grace period, and a moment after the end of
/// all. What hangs then is given up, and ended with this process.
pub(super) async fn until_all_end(
    (pods, longest): (&[PodHandle], Duration),
    mut ends: JoinSet<()>,
    signals: &mut Signals,
    failures: &mut mpsc::UnboundedReceiver<String>,
    output: &Output,
) -> End {
    let mut end = End::default();
    let mut stage = Stage::Running;
    loop {
        let asked = end.asked.is_some();
        let signal = tokio::select! {
            ended = ends.join_next() => match ended {
                Some(_) => continue,
                None => {
                    end.until = stage.last_words();
                    return end;
                }
            },
            Some(why) = failures.recv() => {
                stage = stage.end_at_once(pods);
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
        if asked {
            // Guests that wait for a reader cannot end before what they wrote is taken.
            output.hurry();
            stage = stage.end_at_once(pods);
        } else if let Stage::Running = stage {
            pods.iter().for_each(|pod| pod.stop(None));
            stage = Stage::Stopping(Instant::now() + longest + MARGIN);
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
        })
    }

    /// The next one that comes.
    pub(super) async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.hangup.recv() => SignalKind::hangup(),
            _ = self.quit.recv() => SignalKind::quit(),
        }
    }
}
