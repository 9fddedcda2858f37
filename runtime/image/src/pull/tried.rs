//! What went wrong with one server after the other: what the registry itself said counts, whenever it
//! was asked, else what the last one said; but whoever set a mirror up wants to know of that too.

use super::PullError;
use crate::registry::Session;

/// See the module.
#[derive(Default)]
pub(super) struct Tried {
    others: Vec<String>,
    counts: Option<Failed>,
}

/// One of them.
struct Failed {
    server: String,
    is_mirror: bool,
    error: PullError,
}

// === impl Tried ===

impl Tried {
    /// Takes what went wrong with one more.
    pub(super) fn add(&mut self, session: &Session, error: impl Into<PullError>) {
        let failed = Failed {
            server: session.server(),
            is_mirror: session.is_mirror(),
            error: error.into(),
        };
        let is_less = |before: &Failed| failed.is_mirror && !before.is_mirror;
        let other = match self.counts.as_ref().is_some_and(is_less) {
            true => Some(failed),
            false => self.counts.replace(failed),
        };
        let text = other.map(|other| other.named());
        self.others
            .extend(text.filter(|text| !self.others.contains(text)));
    }

    /// All of it; `none` where nobody was asked.
    pub(super) fn error(self, none: impl FnOnce() -> PullError) -> PullError {
        let Some(counts) = self.counts else {
            return none();
        };
        let text = counts.named();
        let mut others = self.others;
        others.retain(|other| *other != text);
        match others.is_empty() {
            true => counts.error,
            false => PullError::Everywhere {
                counts: Box::new(counts.error),
                others: others.join("; "),
            },
        }
    }
}

// === impl Failed ===

impl Failed {
    /// The error with the server that it is of, where it does not say so.
    fn named(&self) -> String {
        let (server, text) = (&self.server, self.error.to_string());
        match text.contains(server) {
            true => text,
            false => format!("{server}: {text}"),
        }
    }
}
