//! The annotations by which a pod speaks to wasmpod itself.

use model::Pod;

use crate::cursor::At;
use crate::findings::Findings;
use crate::manifest::suggest;

mod keyvalue;

/// Whether containers are wasm or Linux, where the image does not tell: `wasm` or `native`.
pub const RUNTIME: &str = "wasmpod.dev/runtime";
/// How many HTTP requests one instance serves before a fresh one takes over.
pub const HTTP_REUSE: &str = "wasmpod.dev/http-reuse";
/// Interfaces beyond WASI that guests may import, by name, separated by commas.
pub const CAPABILITIES: &str = "wasmpod.dev/capabilities";
/// Which key-value buckets lie on volumes: `name=path`, separated by commas.
pub const KEYVALUE: &str = "wasmpod.dev/keyvalue";
/// `netns`: the pod gets a network namespace of the kernel.
pub const NETWORK: &str = "wasmpod.dev/network";

const PREFIX: &str = "wasmpod.dev/";
const ALL: [&str; 5] = [RUNTIME, HTTP_REUSE, CAPABILITIES, KEYVALUE, NETWORK];

/// Whether a pod asks for Linux containers.
pub fn is_native(pod: &Pod) -> bool {
    given(pod, RUNTIME) == Some("native")
}

/// Whether a pod asks for a network namespace.
pub fn wants_network_namespace(pod: &Pod) -> bool {
    given(pod, NETWORK) == Some("netns")
}

/// How many HTTP requests one instance may serve, where that is said.
pub fn http_reuse(pod: &Pod) -> Option<u32> {
    given(pod, HTTP_REUSE)?.parse().ok()
}

/// The interfaces that guests may import beyond WASI.
pub fn capabilities(pod: &Pod) -> impl Iterator<Item = &str> {
    let list = given(pod, CAPABILITIES).unwrap_or_default();
    list.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

fn given<'p>(pod: &'p Pod, key: &str) -> Option<&'p str> {
    pod.annotations.get(key).map(String::as_str)
}

/// Checks the values of those annotations, and that there is no other under our name.
pub(crate) fn check(annotations: &At<'_, '_>, spec: &At<'_, '_>, found: &mut Findings) {
    for (key, value) in annotations
        .entries()
        .filter(|(key, _)| key.starts_with(PREFIX))
    {
        match key {
            RUNTIME if !["wasm", "native"].contains(&value.text()) => {
                found.not_supported(&value, &["wasm", "native"]);
            }
            NETWORK if value.text() != "netns" => found.not_supported(&value, &["netns"]),
            HTTP_REUSE
                if value
                    .text()
                    .parse::<u32>()
                    .ok()
                    .filter(|n| *n > 0)
                    .is_none() =>
            {
                found.invalid(&value, "must be a number of requests, at least 1");
            }
            CAPABILITIES
                if !value
                    .text()
                    .split(',')
                    .all(|name| is_interface(name.trim())) =>
            {
                let detail = "must be names of interfaces separated by commas, for example wasi:keyvalue/store";
                found.invalid(&value, detail);
            }
            KEYVALUE => keyvalue::check(&value, spec, found),
            RUNTIME | NETWORK | HTTP_REUSE | CAPABILITIES => {}
            _ => {
                let near = suggest::nearest(key, ALL.into_iter(), 4);
                let hint = near.map_or_else(
                    || format!("; there are {}", ALL.join(", ")),
                    |near| format!("; did you mean {near:?}?"),
                );
                found.refused(&value, &format!("wasmpod has no such annotation{hint}"));
            }
        }
    }
}

/// A word of letters, digits and the marks of interface names.
fn is_interface(name: &str) -> bool {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-:/@.".contains(c);
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(known)
}
