//! An error of a manifest, printed the way a compiler prints one.
//!
//! ```text
//! pod.yaml:12:7: error: spec.containers[0].imgae: unknown field; did you mean "image"?
//!    12 |     imgae: file:web.wasm
//!       |     ^^^^^
//! ```
//!
//! An object made by code has no source; its errors name the object instead of a place.

use std::fmt;
use std::sync::Arc;

use crate::findings::{Cause, FieldError};
use crate::path::FieldPath;
use crate::source::{Mark, Origin, Position, Source};

/// How many errors of one manifest are told: more than a screenful help nobody.
pub const MAX_ERRORS: usize = 20;

/// How many errors of one text are collected before the rest is only known to exist.
pub(crate) const MAX_COLLECTED: usize = 1000;

/// Something wrong with a manifest or an object: where, which field, what, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub struct ManifestError {
    /// Kind and name, where there is no place in a text to point to.
    object: String,
    place: Option<(Arc<Source>, Option<Mark>)>,
    field: String,
    cause: Option<Cause>,
    message: String,
    /// It hinders nothing.
    is_warning: bool,
}

// === impl ManifestError ===

impl ManifestError {
    /// The name of the file it is in, `<stdin>`, or empty for an object made by code.
    pub fn source_name(&self) -> &str {
        self.place.as_ref().map_or("", |(source, _)| &source.name)
    }

    /// Where in the file it is, where that is known.
    pub fn position(&self) -> Option<Position> {
        let (_, mark) = self.place.as_ref()?;
        mark.map(|mark| mark.position)
    }

    /// The path of the field, empty if it is about the whole.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The cause, where it is one that Kubernetes' validation knows.
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// What is wrong and what to do, without place and field.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same as a warning, which hinders nothing.
    pub(crate) fn into_warning(self) -> Self {
        Self {
            is_warning: true,
            ..self
        }
    }

    /// An error about a text as a whole.
    pub(crate) fn of_source(source: &Arc<Source>, message: impl Into<String>) -> Self {
        Self::new(Some((Arc::clone(source), None)), "", message)
    }

    /// An error at a place of a text.
    pub(crate) fn at(
        source: &Arc<Source>,
        mark: Mark,
        field: &FieldPath,
        message: impl Into<String>,
    ) -> Self {
        let place = (Arc::clone(source), Some(mark));
        Self::new(Some(place), &field.to_string(), message)
    }

    /// A finding about an object, at the place where the field was written.
    pub(crate) fn of_finding(origin: Option<&Origin>, object: &str, error: &FieldError) -> Self {
        let place = origin.map(|origin| {
            let mark = origin.locate(&error.path);
            (Arc::clone(&origin.source), Some(mark))
        });
        Self {
            object: object.to_owned(),
            cause: Some(error.cause),
            ..Self::new(place, &error.path.to_string(), error.message())
        }
    }

    fn new(
        place: Option<(Arc<Source>, Option<Mark>)>,
        field: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            object: String::new(),
            place,
            field: field.to_owned(),
            cause: None,
            message: message.into(),
            is_warning: false,
        }
    }

    /// What two reports of the same fault have in common.
    fn fault(&self) -> (Option<Position>, &str, &str) {
        (self.position(), &self.field, &self.message)
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.position()) {
            (Some((source, _)), Some(Position { line, column })) => {
                write!(f, "{}:{line}:{column}: ", source.name)?;
            }
            (Some((source, _)), None) => write!(f, "{}: ", source.name)?,
            (None, _) => {}
        }
        f.write_str(if self.is_warning {
            "warning: "
        } else {
            "error: "
        })?;
        let named = self.place.is_none() && !self.object.is_empty();
        let object = if named { self.object.as_str() } else { "" };
        for part in [object, &self.field]
            .into_iter()
            .filter(|part| !part.is_empty())
        {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.place {
            Some((source, Some(mark))) => write_line(f, source, *mark),
            _ => Ok(()),
        }
    }
}

/// The most of a line that is shown; a JSON file may be a single line of any length.
const SHOWN: usize = 120;

/// The source line, and under it carets. Control characters are blanked: they come from outside
/// and this goes to a terminal.
fn write_line(f: &mut fmt::Formatter<'_>, source: &Source, mark: Mark) -> fmt::Result {
    let Some(line) = source.line(mark.position.line) else {
        return Ok(());
    };
    let column = usize::try_from(mark.position.column).unwrap_or(1).max(1) - 1;
    let skipped = if column < SHOWN {
        0
    } else {
        column - SHOWN / 2
    };
    let shown: String = line
        .chars()
        .skip(skipped)
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let width = usize::try_from(mark.width).unwrap_or(1);
    let room = shown
        .chars()
        .count()
        .saturating_sub(column - skipped)
        .max(1);
    let number = mark.position.line.to_string();
    let margin = " ".repeat(number.len());
    let (indent, carets) = (
        " ".repeat(column - skipped),
        "^".repeat(width.clamp(1, room)),
    );
    write!(
        f,
        "\n  {number} | {}\n  {margin} | {indent}{carets}",
        shown.trim_end()
    )
}

/// Sorted by place, each fault once, and no more than [`MAX_ERRORS`].
pub(crate) fn tidied(mut errors: Vec<ManifestError>) -> Vec<ManifestError> {
    errors.sort_by_key(|error| (error.position().is_none(), error.position()));
    errors.dedup_by(|later, earlier| later.fault() == earlier.fault());
    let found = errors.len();
    let hidden = found.saturating_sub(MAX_ERRORS);
    if hidden > 0 {
        errors.truncate(MAX_ERRORS);
        let place = errors.last().and_then(|last| last.place.clone());
        let more = if found < MAX_COLLECTED {
            ""
        } else {
            "more than "
        };
        let rest = format!("{more}{hidden} further errors are not shown; mend these first");
        errors.push(ManifestError::new(
            place.map(|(source, _)| (source, None)),
            "",
            rest,
        ));
    }
    errors
}
