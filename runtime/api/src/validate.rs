//! Validation: whether an object makes sense, by Kubernetes' rules and in its words.
//!
//! It works on objects that have been through defaulting, however they came to be, and looks at
//! one object alone. Paths and texts are those of the API server; where its path names a whole
//! list although one entry is wrong, the entry is named here. What Kubernetes allows and wasmpod
//! cannot honour is not told here but when an object becomes a pod (`convert`).

use serde_json::Value;

use crate::cursor::At;
use crate::error::{ManifestError, tidied};
use crate::findings::{FieldError, Findings};
use crate::object::Object;
use crate::schema::{self, Shape, Type};

mod config;
mod container;
mod environment;
mod metadata;
pub(crate) mod names;
mod network;
mod pod;
mod probe;
mod resources;
mod security;
mod volume;

#[cfg(test)]
mod tests;

/// Validates an object.
///
/// # Errors
///
/// Everything that is wrong with it, each at the place where the field was written.
pub fn object(object: &Object) -> Result<(), Vec<ManifestError>> {
    let findings = findings(object);
    if findings.is_empty() {
        return Ok(());
    }
    Err(tidied(object.errors(&findings)))
}

/// Everything that is wrong with an object, field by field.
pub fn findings(object: &Object) -> Vec<FieldError> {
    let mut found = Findings::default();
    let top = object.top();
    metadata::check(&top.field("metadata"), &mut found);
    if let Some(ty) = schema::kind(object.api_version(), object.kind()) {
        enumerations(&top, ty, &mut found);
        match ty.name() {
            "core/v1.Pod" => pod::check(&top, &mut found),
            "core/v1.ConfigMap" => config::config_map(&top, &mut found),
            "core/v1.Secret" => config::secret(&top, &mut found),
            _ => {}
        }
    }
    found.into_errors()
}

/// Checks every field whose values the schema table enumerates.
fn enumerations(at: &At<'_, '_>, ty: Type, found: &mut Findings) {
    for field in ty.enumerated() {
        let value = at.field(field.name);
        let mut supported = field.enumeration().into_iter().flatten();
        if let Some(text) = value.value().as_str()
            && !supported.any(|one| one == text)
        {
            let all: Vec<&str> = field.enumeration().into_iter().flatten().collect();
            match text {
                "" => found.required(&value, ""),
                _ => found.not_supported(&value, &all),
            }
        }
    }
    let fields = at.value().as_object();
    for (key, value) in fields.into_iter().flatten() {
        if holds_objects(value)
            && let Some(field) = ty.field(key)
        {
            enumerations_in(&at.field(field.name), field.shape, found);
        }
    }
}

fn enumerations_in(at: &At<'_, '_>, shape: Shape, found: &mut Findings) {
    match shape {
        Shape::Object(name) => {
            if let Some(ty) = schema::named(name) {
                enumerations(at, ty, found);
            }
        }
        Shape::List(entry) => {
            at.items()
                .for_each(|item| enumerations_in(&item, Shape::of(entry), found));
        }
        Shape::Map(entry) => {
            at.entries()
                .for_each(|(_, value)| enumerations_in(&value, Shape::of(entry), found));
        }
        _ => {}
    }
}

/// Whether there can be an enumerated field inside: not in a list or map of plain values.
fn holds_objects(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => items.iter().any(Value::is_object),
        _ => false,
    }
}
