//! What a person sees while an image is on its way: one line that changes on a terminal, a few
//! lines elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use image::progress::Step;

use super::size;

/// How often the line changes at the most.
const PACE: Duration = Duration::from_millis(100);

/// Shows progress on standard error. Clones show the same.
#[derive(Clone)]
pub(super) struct Shown(Option<Arc<Mutex<State>>>);

struct State {
    on_terminal: bool,
    /// Bytes to be had, and those that are here.
    total: u64,
    here: u64,
    last: Option<Instant>,
    /// Whether a line stands there that is not ended.
    is_open: bool,
}

// === impl Shown ===

impl Shown {
    /// Shows what goes on, or nothing.
    pub(super) fn start(is_wanted: bool) -> Self {
        Self(is_wanted.then(|| {
            Arc::new(Mutex::new(State {
                on_terminal: std::io::stderr().is_terminal(),
                total: 0,
                here: 0,
                last: None,
                is_open: false,
            }))
        }))
    }

    /// Shows one step.
    pub(super) fn step(&self, step: &Step) {
        if let Some(state) = &self.0 {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.step(step);
        }
    }

    /// Ends the line.
    pub(super) fn end(&self) {
        if let Some(state) = &self.0 {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.clear();
        }
    }
}

// === impl State ===

impl State {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Resolved {
                digest,
                size: total,
            } => {
                self.total = *total;
                self.line(&format!("{digest}: {}", size(*total)));
            }
            Step::Present(_, bytes) => self.here += bytes,
            Step::Begun { from, .. } => self.here += from,
            Step::Advanced(_, bytes) => {
                self.here += bytes;
                self.turn();
            }
            Step::Hashing(digest) => {
                self.line(&format!("{digest}: is here, hashing it"));
            }
            Step::Waiting(digest) => {
                self.line(&format!("{digest}: somebody else fetches it, waiting"));
            }
            Step::Retrying { after, why } => {
                self.line(&format!("{why}; trying again in {} s", after.as_secs_f32()));
            }
            Step::Done(digest) => {
                if !self.on_terminal {
                    self.line(&format!("{digest}: done"));
                }
            }
            Step::Unpacking(number, count) => {
                self.line(&format!("unpacking layer {number} of {count}"));
            }
        }
    }

    /// A line that stays.
    fn line(&mut self, text: &str) {
        self.clear();
        let text = crate::run::escaped(text.as_bytes());
        // Where nobody sees it, nothing is lost.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// The line that changes.
    fn turn(&mut self) {
        let now = Instant::now();
        let is_due = self
            .last
            .is_none_or(|last| now.duration_since(last) >= PACE);
        if !self.on_terminal || !is_due {
            return;
        }
        self.last = Some(now);
        self.is_open = true;
        let text = format!(
            "{} of {}",
            size(self.here.min(self.total)),
            size(self.total)
        );
        let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_open) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
