//! Variables of a container.

use model::container::{EnvFrom, EnvFromSource, EnvValue, EnvVar, KeyRef, ResourceField};

use super::{refusals, some};
use crate::cursor::At;
use crate::findings::Findings;

/// One entry of `env`.
pub(crate) fn variable(at: &At<'_, '_>, found: &mut Findings) -> EnvVar {
    let from = at.field("valueFrom");
    refusals::value_from(&from, found);
    EnvVar {
        name: at.field("name").text().to_owned(),
        value: value_from(&from)
            .unwrap_or_else(|| EnvValue::Literal(at.field("value").text().to_owned())),
    }
}

/// One entry of `envFrom`.
pub(crate) fn source(at: &At<'_, '_>) -> Option<EnvFrom> {
    let (map, secret) = (at.field("configMapRef"), at.field("secretRef"));
    let (reference, source) = if map.is_set() {
        (
            map,
            EnvFromSource::ConfigMap(map.field("name").text().to_owned()),
        )
    } else if secret.is_set() {
        (
            secret,
            EnvFromSource::Secret(secret.field("name").text().to_owned()),
        )
    } else {
        return None;
    };
    Some(EnvFrom {
        prefix: at.field("prefix").text().to_owned(),
        source,
        optional: reference.field("optional").is_true(),
    })
}

/// A `resourceFieldRef`.
pub(crate) fn resource_field(at: &At<'_, '_>) -> ResourceField {
    ResourceField {
        container: some(&at.field("containerName")),
        resource: at.field("resource").text().to_owned(),
        divisor: at.field("divisor").quantity().unwrap_or_default(),
    }
}

fn value_from(from: &At<'_, '_>) -> Option<EnvValue> {
    let (map, secret) = (from.field("configMapKeyRef"), from.field("secretKeyRef"));
    let (field, resource) = (from.field("fieldRef"), from.field("resourceFieldRef"));
    Some(if map.is_set() {
        EnvValue::ConfigMapKey(key(&map))
    } else if secret.is_set() {
        EnvValue::SecretKey(key(&secret))
    } else if field.is_set() {
        EnvValue::Field(field.field("fieldPath").text().to_owned())
    } else if resource.is_set() {
        EnvValue::Resource(resource_field(&resource))
    } else {
        return None;
    })
}

fn key(at: &At<'_, '_>) -> KeyRef {
    KeyRef {
        name: at.field("name").text().to_owned(),
        key: at.field("key").text().to_owned(),
        optional: at.field("optional").is_true(),
    }
}
