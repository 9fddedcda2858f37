//! The annotations by which a pod speaks to wasmpod itself.

use model::Pod;

use crate::cursor::At;
use crate::findings::Findings;
use crate::manifest::suggest;

mod keyvalue;

/// Whether containers are wasm or Linux, where the image does not tell: `wasm`, or `native`, which
/// nobody runs yet.
pub const RUNTIME: &str = "wasmpod.dev/runtime";
/// How many HTTP requests one instance serves before a fresh one takes over.
pub const HTTP_REUSE: &str = "wasmpod.dev/http-reuse";
/// Interfaces beyond WASI's own that guests import, or whole packages of them, by name, with a version
/// or without, separated by commas. The version is not looked at. Whoever imports them has them, named
/// here or not.
pub const CAPABILITIES: &str = "wasmpod.dev/capabilities";
/// Which key-value buckets lie on volumes: `name=path`, separated by commas.
pub const KEYVALUE: &str = "wasmpod.dev/keyvalue";
/// Which network a pod is on, once there is another than that of its run.
const NETWORK: &str = "wasmpod.dev/network";

const PREFIX: &str = "wasmpod.dev/";
/// Those that say something.
const ALL: [&str; 4] = [RUNTIME, HTTP_REUSE, CAPABILITIES, KEYVALUE];

/// The interfaces that [`CAPABILITIES`] may name.
const INTERFACES: [&str; 9] = [
    "wasi:config/runtime",
    "wasi:config/store",
    "wasi:keyvalue/atomics",
    "wasi:keyvalue/batch",
    "wasi:keyvalue/store",
    "wasi:logging/logging",
    "wasmpod:pod/identity",
    "wasmpod:pod/lifecycle",
    "wasmpod:pod/lifecycle-async",
];

/// Whether a pod asks for Linux containers.
pub fn is_native(pod: &Pod) -> bool {
    given(pod, RUNTIME) == Some("native")
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
            // Whoever cannot run native ones says so.
            RUNTIME if !["wasm", "native"].contains(&value.text()) => {
                found.not_supported(&value, &["wasm"]);
            }
            HTTP_REUSE if !value.text().parse::<u32>().is_ok_and(|most| most > 0) => {
                found.invalid(&value, "must be a number of requests, from 1 to 4294967295");
            }
            CAPABILITIES => {
                let names = value.text().split(',').map(str::trim);
                for name in names.filter(|name| !is_interface(name)) {
                    found.not_supported_part(&value, name, &INTERFACES);
                }
            }
            KEYVALUE => keyvalue::check(&value, spec, found),
            NETWORK => found.invalid(
                &value,
                "no value is supported yet: every pod is on the network of its run; remove it",
            ),
            RUNTIME | HTTP_REUSE => {}
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

/// Whether an interface of that name is there, or a package of interfaces.
fn is_interface(name: &str) -> bool {
    let (name, _version) = name.split_once('@').unwrap_or((name, ""));
    let is_named = |known: &&str| *known == name || known.split('/').next() == Some(name);
    INTERFACES.iter().any(is_named)
}
