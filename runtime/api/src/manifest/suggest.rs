//! What somebody may have meant by a field or kind that does not exist.
//!
//! In this order: a name one slip away, the same name at a place nearby (wrong indentation is the
//! commonest fault of all), a name a few slips away, a name of which this is a part.

use crate::path::{FieldPath, Segment};
use crate::schema::{self, Shape, Type};

/// The sentence after `unknown field`, with its separator.
pub(crate) fn for_field(key: &str, path: &FieldPath, top: Type, here: Type) -> String {
    let names: Vec<&str> = here.fields().map(|field| field.name).collect();
    if let Some(name) = nearest(key, names.iter().copied(), 1) {
        return format!("; did you mean {name:?}?");
    }
    if let Some(place) = place(key, path, top) {
        return format!("; it belongs in {place}");
    }
    let slips = (key.len() / 3).min(3);
    let similar = nearest(key, names.iter().copied(), slips).or_else(|| overlapping(key, &names));
    match similar {
        Some(name) => format!("; did you mean {name:?}?"),
        None if names.is_empty() => format!("; {} has no fields", here.short_name()),
        None if names.len() <= 8 => format!("; {} has {}", here.short_name(), names.join(", ")),
        None => format!(
            "; {} has no such field: remove it, or mind the indentation",
            here.short_name()
        ),
    }
}

/// The name that is at most so many slips away, upper and lower case alike.
pub(crate) fn nearest<'n>(
    wanted: &str,
    names: impl Iterator<Item = &'n str>,
    slips: usize,
) -> Option<&'n str> {
    let wanted = wanted.to_lowercase();
    names
        .map(|name| (strsim::osa_distance(&wanted, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= slips)
        .min()
        .map(|(_, name)| name)
}

/// A name that begins with the word, or that the word begins with.
fn overlapping<'n>(key: &str, names: &[&'n str]) -> Option<&'n str> {
    const SHORTEST: usize = 3;
    let long = |text: &str| text.len() >= SHORTEST;
    let overlaps = |name: &&&str| {
        (long(key) && name.starts_with(key)) || (long(name) && key.starts_with(**name))
    };
    names.iter().find(overlaps).copied()
}

/// A place near `path` that has a field of this name: below it, around it, or beside it.
fn place(key: &str, path: &FieldPath, top: Type) -> Option<String> {
    let mut around = types_along(path, top);
    let (own_path, own) = around.pop()?;
    below(key, &own_path, own).or_else(|| {
        around
            .iter()
            .rev()
            .find_map(|(path, ancestor)| match ancestor.field(key) {
                Some(_) => Some(named_place(path)),
                None => below(key, path, *ancestor),
            })
    })
}

/// An object directly below that has a field of this name.
fn below(key: &str, path: &str, ty: Type) -> Option<String> {
    let dot = if path.is_empty() { "" } else { "." };
    ty.fields().find_map(|field| {
        let (inner, brackets) = match field.shape {
            Shape::Object(inner) => (inner, ""),
            Shape::List(inner) => (inner, "[]"),
            _ => return None,
        };
        schema::named(inner)?.field(key)?;
        Some(format!("{path}{dot}{}{brackets}", field.name))
    })
}

fn named_place(path: &str) -> String {
    if path.is_empty() {
        return "the object itself, outside spec and metadata".to_owned();
    }
    path.to_owned()
}

fn path_of(segments: &[Segment]) -> String {
    FieldPath::of(segments.to_vec()).to_string()
}

/// The types that a path goes through, outermost first, with the path of each.
fn types_along(path: &FieldPath, top: Type) -> Vec<(String, Type)> {
    let mut found = vec![(String::new(), top)];
    let (mut shape, mut walked) = (Shape::Object(top.name()), Vec::new());
    for segment in path.segments() {
        walked.push(segment.clone());
        shape = match (segment, shape) {
            (Segment::Field(name), Shape::Object(ty)) => {
                match schema::named(ty).and_then(|ty| ty.field(name)) {
                    Some(field) => field.shape,
                    None => break,
                }
            }
            (_, Shape::List(inner) | Shape::Map(inner)) => Shape::of(inner),
            _ => break,
        };
        if let Shape::Object(name) = shape
            && let Some(ty) = schema::named(name)
        {
            found.push((path_of(&walked), ty));
        }
    }
    found
}
