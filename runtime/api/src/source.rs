//! The text an object was read from, kept so that a later error can point into it.

use std::fmt;
use std::sync::Arc;

use crate::manifest::tree::Node;
use crate::path::FieldPath;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The character in the line, from 1.
    pub column: u32,
}

/// A text with the name people know it by.
pub(crate) struct Source {
    /// A file's name, or `<stdin>`.
    pub(crate) name: String,
    /// All of it.
    pub(crate) text: String,
}

/// The place of an object in its source.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) source: Arc<Source>,
    /// The object as written, with a position at every value.
    pub(crate) node: Node,
}

/// What a caret points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) position: Position,
    /// Characters to underline, at least one.
    pub(crate) width: u32,
}

// === impl Source ===

impl Source {
    /// A line, from 1, without its end.
    pub(crate) fn line(&self, number: u32) -> Option<&str> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.text.lines().nth(index)
    }
}

impl fmt::Debug for Source {
    /// The name only: the text may be megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

// === impl Origin ===

impl Origin {
    /// Where a field is, or the nearest thing around it that was written.
    pub(crate) fn locate(&self, path: &FieldPath) -> Mark {
        self.node.locate(path.segments())
    }
}
