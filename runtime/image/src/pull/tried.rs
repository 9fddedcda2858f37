//! What went wrong with one server after the other: the last is the registry itself, and what it
//! said counts, but whoever set a mirror up wants to know of that too.

use super::PullError;
use crate::registry::Session;

/// See the module.
#[derive(Default)]
pub(super) struct Tried {
    others: Vec<String>,
    last: Option<(String, PullError)>,
}

// === impl Tried ===

impl Tried {
    /// Takes what went wrong with one more.
    pub(super) fn add(&mut self, session: &Session, error: impl Into<PullError>) {
        let error = (session.server(), error.into());
        if let Some((server, before)) = self.last.replace(error) {
            let text = named(&server, &before);
            if !self.others.contains(&text) {
                self.others.push(text);
            }
        }
    }

    /// All of it; `none` where nobody was asked.
    pub(super) fn error(self, none: impl FnOnce() -> PullError) -> PullError {
        let Some((server, last)) = self.last else {
            return none();
        };
        let text = named(&server, &last);
        let mut others = self.others;
        others.retain(|other| *other != text);
        match others.is_empty() {
            true => last,
            false => PullError::Everywhere {
                last: Box::new(last),
                before: others.join("; "),
            },
        }
    }
}

/// An error with the server that it is of, where it does not say so.
fn named(server: &str, error: &PullError) -> String {
    let text = error.to_string();
    match text.contains(server) {
        true => text,
        false => format!("{server}: {text}"),
    }
}
