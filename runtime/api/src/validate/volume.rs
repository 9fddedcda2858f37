//! Validation of volumes and of the mounts that refer to them.

use std::collections::HashSet;

use super::{environment, names};
use crate::cursor::At;
use crate::downward;
use crate::findings::Findings;

/// The names of a pod's volumes.
pub(crate) type Volumes<'v> = HashSet<&'v str>;

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Checks `volumes` and returns their names.
pub(crate) fn check<'v>(volumes: &At<'v, '_>, found: &mut Findings) -> Volumes<'v> {
    let mut seen = Volumes::new();
    for volume in volumes.items() {
        let name = volume.field("name");
        match name.some_text() {
            Some(text) => found.complain(&name, names::label(text)),
            None => found.required(&name, ""),
        }
        if !seen.insert(name.text()) {
            found.duplicate(&name);
        }
        source(&volume, found);
    }
    seen
}

/// Exactly one source, and that well formed.
fn source(volume: &At<'_, '_>, found: &mut Findings) {
    let mut given = 0;
    for at in volume
        .fields()
        .filter(|at| !at.is_field("name") && at.is_set())
    {
        given += 1;
        if given > 1 {
            found.forbidden(&at, "may not specify more than 1 volume type");
        }
    }
    if given == 0 {
        return found.required(volume, "must specify a volume type");
    }
    empty_dir(&volume.field("emptyDir"), found);
    host_path(&volume.field("hostPath"), found);
    for (kind, name) in [("configMap", "name"), ("secret", "secretName")] {
        let at = volume.field(kind);
        if at.is_set() {
            environment::object_name(&at.field(name), found);
            mode(&at.field("defaultMode"), found);
            items(&at.field("items"), found);
        }
    }
    let downward = volume.field("downwardAPI");
    mode(&downward.field("defaultMode"), found);
    for file in downward.field("items").items() {
        downward_file(&file, found);
    }
    projected(&volume.field("projected"), found);
}

fn empty_dir(at: &At<'_, '_>, found: &mut Findings) {
    let limit = at.field("sizeLimit");
    if limit.quantity().is_some_and(|limit| limit.is_negative()) {
        found.forbidden(&limit, "SizeLimit field must be a valid resource quantity");
    }
}

fn host_path(at: &At<'_, '_>, found: &mut Findings) {
    let path = at.field("path");
    if !at.is_set() {
        return;
    }
    match path.some_text() {
        Some(_) => no_backsteps(&path, found),
        None => found.required(&path, ""),
    }
}

/// Keys as files.
fn items(items: &At<'_, '_>, found: &mut Findings) {
    for item in items.items() {
        let key = item.field("key");
        if key.text().is_empty() {
            found.required(&key, "");
        }
        file(&item, found);
    }
}

fn downward_file(at: &At<'_, '_>, found: &mut Findings) {
    file(at, found);
    let (field, resource) = (at.field("fieldRef"), at.field("resourceFieldRef"));
    match (field.is_set(), resource.is_set()) {
        (true, true) => found.invalid_part(
            at,
            "resource",
            "fieldRef and resourceFieldRef can not be specified simultaneously",
        ),
        (true, false) => environment::field_ref(&field, downward::VOLUME_FIELDS, found),
        (false, true) => environment::resource_field_ref(&resource, true, found),
        (false, false) => found.required(at, "one of fieldRef and resourceFieldRef is required"),
    }
}

/// A file in a volume: a path of its own and a mode.
fn file(at: &At<'_, '_>, found: &mut Findings) {
    let path = at.field("path");
    match path.some_text() {
        Some(text) => {
            descending(&path, found);
            // As a whole element it has been told of already.
            if text.starts_with("..") && text.split('/').next() != Some("..") {
                found.invalid(&path, "must not start with '..'");
            }
        }
        None => found.required(&path, ""),
    }
    mode(&at.field("mode"), found);
}

fn projected(at: &At<'_, '_>, found: &mut Findings) {
    mode(&at.field("defaultMode"), found);
    let mut paths = HashSet::new();
    for source in at.field("sources").items() {
        for kind in ["configMap", "secret"] {
            let object = source.field(kind);
            if object.is_set() {
                environment::object_name(&object.field("name"), found);
                items(&object.field("items"), found);
                unique_paths(&object.field("items"), &mut paths, found);
            }
        }
        let downward = source.field("downwardAPI");
        for file in downward.field("items").items() {
            downward_file(&file, found);
        }
        unique_paths(&downward.field("items"), &mut paths, found);
        token(&source.field("serviceAccountToken"), found);
        if source
            .value()
            .as_object()
            .is_some_and(|kinds| kinds.len() > 1)
        {
            found.forbidden(
                &source,
                "may not specify more than 1 volume type per source",
            );
        }
    }
}

fn unique_paths<'v>(items: &At<'v, '_>, paths: &mut HashSet<&'v str>, found: &mut Findings) {
    for item in items.items() {
        let path = item.field("path");
        if !path.text().is_empty() && !paths.insert(path.text()) {
            found.invalid(&path, "conflicting duplicate paths");
        }
    }
}

fn token(at: &At<'_, '_>, found: &mut Findings) {
    if !at.is_set() {
        return;
    }
    let expiration = at.field("expirationSeconds");
    match expiration.integer() {
        Some(..600) => found.invalid(
            &expiration,
            "may not specify a duration less than 10 minutes",
        ),
        Some(4_294_967_297..) => {
            found.invalid(
                &expiration,
                "may not specify a duration larger than 2^32 seconds",
            );
        }
        _ => {}
    }
    file(at, found);
}

/// Checks a container's mounts.
pub(crate) fn mounts(container: &At<'_, '_>, volumes: &Volumes<'_>, found: &mut Findings) {
    let mut paths = HashSet::new();
    for mount in container.field("volumeMounts").items() {
        let (name, path) = (mount.field("name"), mount.field("mountPath"));
        match name.some_text() {
            Some(text) if !volumes.contains(text) => found.not_found(&name),
            Some(_) => {}
            None => found.required(&name, ""),
        }
        match path.some_text() {
            Some(text) if !paths.insert(text) => found.invalid(&path, "must be unique"),
            Some(_) => {}
            None => found.required(&path, ""),
        }
        let (sub_path, expression) = (mount.field("subPath"), mount.field("subPathExpr"));
        descending(&sub_path, found);
        descending(&expression, found);
        if sub_path.some_text().is_some() && expression.some_text().is_some() {
            found.invalid(
                &expression,
                "subPathExpr and subPath are mutually exclusive",
            );
        }
    }
}

/// A path that stays below where it begins.
fn descending(at: &At<'_, '_>, found: &mut Findings) {
    if at.text().starts_with('/') {
        found.invalid(at, "must be a relative path");
    }
    no_backsteps(at, found);
}

fn no_backsteps(at: &At<'_, '_>, found: &mut Findings) {
    if at.text().split('/').any(|element| element == "..") {
        found.invalid(at, "must not contain '..'");
    }
}

fn mode(at: &At<'_, '_>, found: &mut Findings) {
    if at
        .integer()
        .is_some_and(|mode| !(0..=0o777).contains(&mode))
    {
        found.invalid(at, MODE);
    }
}
