//! Validation of `metadata`, the same for every kind.

use super::names;
use crate::cursor::At;
use crate::findings::Findings;

/// The most bytes that all annotations together may have.
const ANNOTATIONS_LIMIT: usize = 256 << 10;

/// Checks the metadata of an object in a namespace whose name is a DNS subdomain.
pub(crate) fn check(metadata: &At<'_, '_>, found: &mut Findings) {
    let (name, prefix) = (metadata.field("name"), metadata.field("generateName"));
    if prefix.some_text().is_some() {
        // What follows the prefix makes a dash at its end one inside a name.
        let text = prefix.text();
        let masked = text.strip_suffix('-').map(|text| format!("{text}a"));
        found.complain(&prefix, names::subdomain(masked.as_deref().unwrap_or(text)));
    }
    match name.some_text() {
        Some(text) => found.complain(&name, names::subdomain(text)),
        None => found.required(&name, "name or generateName is required"),
    }
    let namespace = metadata.field("namespace");
    if namespace.some_text().is_some() {
        found.complain(&namespace, names::label(namespace.text()));
    }
    labels(&metadata.field("labels"), found);
    annotations(&metadata.field("annotations"), found);
    for finalizer in metadata.field("finalizers").items() {
        found.complain(&finalizer, names::qualified(finalizer.text()));
    }
}

/// Checks labels, or what has their form: a node selector.
pub(crate) fn labels(labels: &At<'_, '_>, found: &mut Findings) {
    for (key, value) in labels.entries() {
        found.complain_about(labels, key, names::qualified(key));
        found.complain(&value, names::label_value(value.text()));
    }
}

fn annotations(annotations: &At<'_, '_>, found: &mut Findings) {
    let mut size = 0;
    for (key, value) in annotations.entries() {
        found.complain_about(annotations, key, names::qualified(&key.to_lowercase()));
        size += key.len() + value.text().len();
    }
    if size > ANNOTATIONS_LIMIT {
        found.too_long(annotations, ANNOTATIONS_LIMIT);
    }
}
