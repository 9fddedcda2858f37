//! Which kind a document is of, and the flattening of lists.
//!
//! A kind of a group that Kubernetes does not have itself is a custom resource: it is kept as it
//! is, since its fields are known to a server only.

use std::sync::Arc;

use super::tree::{Data, Entry, Node};
use super::{Parsed, error_at, object_of, suggest, typed};
use crate::error::{MAX_COLLECTED, ManifestError};
use crate::schema;
use crate::source::Source;

/// Adds the objects of a document.
pub(crate) fn objects(node: Node, source: &Arc<Source>, parsed: &mut Parsed) {
    if !matches!(node.data, Data::Map(_)) {
        let found = node.data.described();
        let message =
            format!("a manifest is a mapping with apiVersion, kind and metadata; found {found}");
        parsed
            .errors
            .push(error_at(source, node.mark, &[], message));
        return;
    }
    let Some((version, kind)) = names(&node, source, parsed) else {
        return;
    };
    if is_list(&node, &kind) {
        return items(node, &version, &kind, source, parsed);
    }
    let mut typed = match schema::kind(&version, &kind) {
        Some(ty) => typed::read(&node, ty, source),
        None if is_custom(&version) => typed::read_untyped(&node, source),
        None => return parsed.errors.push(unknown(&node, &version, &kind, source)),
    };
    if typed.is_sound {
        parsed.objects.extend(object_of(&mut typed, node, source));
    }
    parsed.errors.append(&mut typed.errors);
}

/// What `apiVersion` and `kind` say, or errors about their absence.
fn names(node: &Node, source: &Arc<Source>, parsed: &mut Parsed) -> Option<(String, String)> {
    let mut read = |field: &'static str, example: &str| {
        let text = node.text(field).filter(|text| !text.is_empty());
        if text.is_none() {
            let message = match node.get(field).filter(|value| !value.is_null()) {
                Some(value) => format!(
                    "expected a string such as {example}, found {}",
                    value.data.described()
                ),
                None => format!("Required value: for example {example}"),
            };
            let mark = node.get(field).map_or(node.mark, |value| value.mark);
            parsed
                .errors
                .push(error_at(source, mark, &[field], message));
        }
        text.map(str::to_owned)
    };
    let version = read("apiVersion", "v1");
    let kind = read("kind", "Pod");
    Some((version?, kind?))
}

/// Whether it is a list of objects rather than an object.
fn is_list(node: &Node, kind: &str) -> bool {
    kind.ends_with("List")
        && matches!(
            node.get("items"),
            Some(Node {
                data: Data::List(_),
                ..
            })
        )
}

/// Adds the items of a list. Those of a typed list (PodList) need not repeat their kind.
fn items(node: Node, version: &str, kind: &str, source: &Arc<Source>, parsed: &mut Parsed) {
    let Data::Map(entries) = node.data else {
        return;
    };
    let typed = kind.strip_suffix("List").filter(|kind| !kind.is_empty());
    let items = entries.into_iter().rev().find(|entry| entry.key == "items");
    let Some(Data::List(items)) = items.map(|entry| entry.value.data) else {
        return;
    };
    for mut item in items {
        if parsed.errors.len() >= MAX_COLLECTED {
            return;
        }
        if let (Some(kind), Data::Map(fields)) = (typed, &mut item.data) {
            for (key, value) in [("apiVersion", version), ("kind", kind)] {
                if fields.iter().all(|entry| entry.key != key) {
                    fields.push(Entry {
                        key: key.to_owned(),
                        mark: item.mark,
                        value: Node {
                            mark: item.mark,
                            data: Data::String(value.to_owned()),
                        },
                    });
                }
            }
        }
        objects(item, source, parsed);
    }
}

/// Whether a version belongs to a group that Kubernetes does not have itself.
fn is_custom(version: &str) -> bool {
    let group_of = |version: &'_ str| version.split_once('/').map(|(group, _)| group.to_owned());
    let Some(group) = group_of(version).filter(|group| group.contains('.')) else {
        return false;
    };
    !schema::kinds().any(|(known, _)| group_of(known).as_ref() == Some(&group))
}

/// Why there is no such kind, and what may have been meant.
fn unknown(node: &Node, version: &str, kind: &str, source: &Arc<Source>) -> ManifestError {
    let (field, message) = explain(version, kind);
    let mark = node.get(field).map_or(node.mark, |value| value.mark);
    error_at(source, mark, &[field], message)
}

/// The field that is wrong, and why.
fn explain(version: &str, kind: &str) -> (&'static str, String) {
    let of_kind = || {
        schema::kinds()
            .filter(|(_, known)| *known == kind)
            .map(|(version, _)| version)
    };
    if let Some(first) = of_kind().next() {
        let group = version.split('/').next();
        let best = of_kind()
            .find(|known| known.split('/').next() == group)
            .unwrap_or(first);
        return (
            "apiVersion",
            format!("there is no {kind} in {version:?}; write {best}"),
        );
    }
    let of_version = schema::kinds()
        .filter(|(known, _)| *known == version)
        .map(|(_, kind)| kind);
    if let Some(near) = suggest::nearest(kind, of_version, (kind.len() / 3).clamp(1, 3)) {
        return (
            "kind",
            format!("unknown kind {kind:?} of {version}; did you mean {near:?}?"),
        );
    }
    let hint = suggest::nearest(kind, schema::kinds().map(|(_, kind)| kind), 2)
        .and_then(|near| schema::kinds().find(|(_, known)| *known == near))
        .map_or_else(String::new, |(version, kind)| {
            format!("; did you mean {kind} of {version}?")
        });
    if schema::kinds().any(|(known, _)| known == version) {
        return ("kind", format!("unknown kind {kind:?} of {version}{hint}"));
    }
    ("apiVersion", format!("unknown version {version:?}{hint}"))
}
