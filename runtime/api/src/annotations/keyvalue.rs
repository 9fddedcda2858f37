//! The annotation that says which key-value buckets lie on volumes.

use std::collections::HashSet;

use crate::cursor::At;
use crate::findings::Findings;

/// The most buckets that one pod names.
const MOST: usize = 64;

/// The most bytes of a name.
const NAME: usize = 256;

/// The most bytes of a path, as Linux takes them.
const PATH: usize = 4095;

/// Checks every `name=path` of it.
pub(super) fn check(value: &At<'_, '_>, spec: &At<'_, '_>, found: &mut Findings) {
    let mounts = mounts(spec);
    let mut names = HashSet::new();
    for (index, pair) in value.text().split(',').map(str::trim).enumerate() {
        if index >= MOST {
            return found.invalid(value, "may name at most 64 buckets");
        }
        let Some((name, path)) = pair.split_once('=') else {
            found.invalid_part(
                value,
                pair,
                "must be a bucket's name and its path, for example sessions=/data/sessions",
            );
            continue;
        };
        let (name, path) = (name.trim(), path.trim());
        if name.len() > NAME || name.starts_with('/') {
            found.invalid_part(
                value,
                pair,
                "the name must have at most 256 bytes, and no slash at its beginning: such a name is a path already",
            );
        } else if !names.insert(name) {
            found.duplicate_of(value, name);
        }
        if let Some(detail) = wrong_path(path, &mounts) {
            found.invalid_part(value, pair, detail);
        }
    }
}

/// What is wrong with a bucket's path.
fn wrong_path(path: &str, mounts: &[&str]) -> Option<&'static str> {
    if !path.starts_with('/') {
        return Some("the path must be absolute");
    }
    if path.len() > PATH {
        return Some("the path must have at most 4095 bytes");
    }
    if path.split('/').any(|name| name == "..") {
        return Some("the path must not contain '..'");
    }
    if path.contains('\0') {
        return Some("the path must not contain a NUL");
    }
    let is_mounted = mounts.iter().any(|mount| is_below(path, mount));
    (!is_mounted).then_some(
        "must lie on a volume that a container of the pod mounts: add a volumeMount whose mountPath it begins with",
    )
}

/// Where the containers of a pod mount volumes.
fn mounts<'v>(spec: &At<'v, '_>) -> Vec<&'v str> {
    let mut paths = Vec::new();
    for list in ["initContainers", "containers"] {
        for container in spec.field(list).items() {
            for mount in container.field("volumeMounts").items() {
                paths.push(mount.field("mountPath").text());
            }
        }
    }
    paths
}

/// Whether a path lies at or below another, by its names.
fn is_below(path: &str, above: &str) -> bool {
    let names = |path: &'_ str| -> Vec<String> {
        let names = path.split('/').filter(|name| !matches!(*name, "" | "."));
        names.map(str::to_owned).collect()
    };
    names(path).starts_with(&names(above))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pairs_are_names_and_paths_on_mounts() {
        let spec = json!({
            "initContainers": [{"volumeMounts": [{"mountPath": "/early"}]}],
            "containers": [{}, {"volumeMounts": [{"mountPath": "/data/"}, {"mountPath": "/a/b"}]}],
        });
        let many = vec!["a=/data"; MOST + 1].join(",");
        for (text, expected) in [
            ("default=/data/kv", None),
            ("default=/data, sessions = /a/b/c ,=/early", None),
            ("a=/data/../data", Some("'..'")),
            ("a=data", Some("absolute")),
            ("a=", Some("absolute")),
            ("a", Some("sessions=/data/sessions")),
            ("", Some("sessions=/data/sessions")),
            ("/a=/data", Some("a path already")),
            ("a=/database", Some("volumeMount")),
            ("a=/a", Some("volumeMount")),
            ("a=/", Some("volumeMount")),
            ("a=/data,a=/a/b", Some("Duplicate")),
            ("a=/data/\0", Some("NUL")),
            (&many, Some("at most 64")),
        ] {
            let value = json!(text);
            let mut found = Findings::default();
            check(&At::top(&value), &At::top(&spec), &mut found);
            let told: Vec<String> = found.into_errors().iter().map(|e| e.message()).collect();
            match expected {
                None => assert!(told.is_empty(), "{text}: {told:?}"),
                Some(detail) => assert!(told.join("\n").contains(detail), "{text}: {told:?}"),
            }
        }
    }
}
