//! Reading manifests: YAML or JSON text, one document or many, into objects.
//!
//! ```text
//! text ─reader─> trees with positions ─kinds─> one tree per object ─typed─> objects, or errors
//! ```
//!
//! It goes as far as the schema table goes: fields, shapes, what must be there. Defaults and
//! validation come after it and are the same for objects that arrive in other ways. Nothing is
//! fetched and no file is opened here.

use std::sync::Arc;

use crate::error::{MAX_COLLECTED, ManifestError, tidied};
use crate::object::Object;
use crate::path::FieldPath;
use crate::source::{Mark, Origin, Source};

pub(crate) mod kinds;
pub(crate) mod reader;
pub(crate) mod scalar;
pub(crate) mod suggest;
pub(crate) mod tree;
pub(crate) mod typed;

#[cfg(test)]
mod tests;

/// The largest text: a request to an API server may have 3 MiB, and a file may hold a few of those.
pub const MAX_TEXT: usize = 16 << 20;

/// What a text holds, right or wrong.
#[derive(Default)]
pub(crate) struct Parsed {
    /// The objects whose values have the right shapes, even where other faults were found.
    pub(crate) objects: Vec<Object>,
    pub(crate) errors: Vec<ManifestError>,
}

/// The objects of a manifest, in order, with the items of lists (`kind: List`) taken out of them.
///
/// `source` is what errors call the text: a file's name, or `<stdin>`.
///
/// # Errors
///
/// Every fault of the text, up to [`MAX_ERRORS`](crate::error::MAX_ERRORS): syntax, repeated keys,
/// unknown kinds and fields, wrong shapes, missing required fields, limits.
pub fn parse(text: impl AsRef<[u8]>, source: &str) -> Result<Vec<Object>, Vec<ManifestError>> {
    let Parsed { objects, errors } = parse_all(text.as_ref(), source);
    if errors.is_empty() {
        return Ok(objects);
    }
    Err(tidied(errors))
}

/// As [`parse`], but returns what could be read beside the errors.
pub(crate) fn parse_all(text: &[u8], source: &str) -> Parsed {
    let refused = |message: String| {
        let source = Arc::new(Source {
            name: source.to_owned(),
            text: String::new(),
        });
        Parsed {
            errors: vec![ManifestError::of_source(&source, message)],
            ..Parsed::default()
        }
    };
    if text.len() > MAX_TEXT {
        let mib = MAX_TEXT >> 20;
        return refused(format!(
            "larger than {mib} MiB; split it into several files"
        ));
    }
    let text = match std::str::from_utf8(text) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(error) => {
            let byte = error.valid_up_to();
            return refused(format!("not UTF-8 text (byte {byte}); save it as UTF-8"));
        }
    };
    let source = Arc::new(Source {
        name: source.to_owned(),
        text,
    });
    let (trees, stopped) = reader::documents(&source);
    let mut parsed = Parsed::default();
    for tree in trees {
        if parsed.errors.len() >= MAX_COLLECTED {
            break;
        }
        kinds::objects(tree, &source, &mut parsed);
    }
    parsed.errors.extend(stopped);
    if parsed.objects.is_empty() && parsed.errors.is_empty() {
        let message = "there is no object in it; a manifest has apiVersion, kind and metadata";
        parsed
            .errors
            .push(ManifestError::of_source(&source, message));
    }
    parsed
}

/// An error at a place, about the object as a whole or one of its top fields.
fn error_at(source: &Arc<Source>, mark: Mark, field: &[&str], message: String) -> ManifestError {
    ManifestError::at(source, mark, &FieldPath::of_fields(field), message)
}

/// The object made of a tree that has been read.
fn object_of(typed: &mut typed::Typed, node: tree::Node, source: &Arc<Source>) -> Option<Object> {
    let origin = Origin {
        source: Arc::clone(source),
        node,
    };
    Object::read(std::mem::take(&mut typed.value), origin)
}
