//! Validation of `env`, `envFrom` and the selectors of fields and resources, which volumes of the
//! downward API use as well.

use super::names;
use crate::cursor::At;
use crate::downward;
use crate::findings::Findings;

/// The sources of a variable's value.
const VALUE_SOURCES: [&str; 4] = [
    "fieldRef",
    "resourceFieldRef",
    "configMapKeyRef",
    "secretKeyRef",
];

/// Checks a container's variables.
pub(crate) fn check(container: &At<'_, '_>, found: &mut Findings) {
    for variable in container.field("env").items() {
        let name = variable.field("name");
        match name.some_text() {
            Some(text) => found.complain(&name, names::variable(text)),
            None => found.required(&name, ""),
        }
        let from = variable.field("valueFrom");
        if from.is_set() {
            value_from(&variable, &from, found);
        }
    }
    for source in container.field("envFrom").items() {
        env_from(&source, found);
    }
}

fn value_from(variable: &At<'_, '_>, from: &At<'_, '_>, found: &mut Findings) {
    let (field, resource) = (from.field("fieldRef"), from.field("resourceFieldRef"));
    if field.is_set() {
        field_ref(&field, downward::ENV_FIELDS, found);
    }
    if resource.is_set() {
        resource_field_ref(&resource, false, found);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        let reference = from.field(name);
        if reference.is_set() {
            object_name(&reference.field("name"), found);
            let key = reference.field("key");
            match key.some_text() {
                Some(text) => found.complain(&key, names::config_key(text)),
                None => found.required(&key, ""),
            }
        }
    }
    // fileKeyRef is a source as well; it is refused later, with its reason.
    let given = VALUE_SOURCES
        .iter()
        .filter(|name| from.field(name).is_set())
        .count()
        + usize::from(from.field("fileKeyRef").is_set());
    let fault = match given {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        }
        _ if !variable.field("value").text().is_empty() => {
            "may not be specified when `value` is not empty"
        }
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    found.invalid_part(from, "", fault);
}

fn env_from(source: &At<'_, '_>, found: &mut Findings) {
    let prefix = source.field("prefix");
    found.complain(&prefix, names::variable(prefix.text()));
    let mut given = 0;
    for name in ["configMapRef", "secretRef"] {
        let reference = source.field(name);
        if reference.is_set() {
            given += 1;
            object_name(&reference.field("name"), found);
        }
    }
    match given {
        0 => found.invalid_part(
            source,
            "",
            "must specify one of: `configMapRef` or `secretRef`",
        ),
        1 => {}
        _ => found.invalid_part(
            source,
            "",
            "may not have more than one field specified at a time",
        ),
    }
}

/// The name of a ConfigMap or Secret.
pub(crate) fn object_name(name: &At<'_, '_>, found: &mut Findings) {
    match name.some_text() {
        Some(text) => found.complain(name, names::subdomain(text)),
        None => found.required(name, ""),
    }
}

/// A `fieldRef` that may name one of `fields`, or one label or annotation.
pub(crate) fn field_ref(reference: &At<'_, '_>, fields: &[&str], found: &mut Findings) {
    let version = reference.field("apiVersion");
    if version.text() != "v1" {
        return found.not_supported(&version, &["v1"]);
    }
    let path = reference.field("fieldPath");
    let Some(text) = path.some_text() else {
        return found.required(&path, "");
    };
    match downward::subscript(text) {
        Some(("metadata.labels", key)) => found.complain_about(&path, key, names::qualified(key)),
        Some(("metadata.annotations", key)) => {
            found.complain_about(&path, key, names::qualified(&key.to_lowercase()));
        }
        Some((map, _)) => found.invalid_part(&path, map, "does not support subscript"),
        None if fields.contains(&text) => {}
        None => found.not_supported(&path, fields),
    }
}

/// A `resourceFieldRef`; in a volume it must say of which container.
pub(crate) fn resource_field_ref(reference: &At<'_, '_>, in_volume: bool, found: &mut Findings) {
    let container = reference.field("containerName");
    if in_volume && container.text().is_empty() {
        return found.required(&container, "");
    }
    let resource = reference.field("resource");
    match resource.some_text() {
        Some(text) if downward::RESOURCES.contains(&text) => {}
        Some(_) => return found.not_supported(&resource, downward::RESOURCES),
        None => return found.required(&resource, ""),
    }
    divisor(resource.text(), &reference.field("divisor"), found);
}

/// The units that a resource may be shown in.
fn divisor(resource: &str, divisor: &At<'_, '_>, found: &mut Findings) {
    const BYTES: [&str; 13] = [
        "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
    ];
    const BYTES_ONLY: &str = "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the";
    let Some(quantity) = divisor.quantity().filter(|quantity| quantity.milli() != 0) else {
        return;
    };
    let is_one_of = |units: &[&str]| units.iter().any(|unit| unit.parse() == Ok(quantity));
    let fault = match resource.rsplit('.').next() {
        Some("cpu") if !is_one_of(&["1m", "1"]) => {
            "only divisor's values 1m and 1 are supported with the cpu resource".to_owned()
        }
        Some("memory") if !is_one_of(&BYTES) => format!("{BYTES_ONLY} memory resource"),
        Some("ephemeral-storage") if !is_one_of(&BYTES) => {
            format!("{BYTES_ONLY} local ephemeral storage resource")
        }
        _ => return,
    };
    found.invalid_part(divisor, resource, &fault);
}
