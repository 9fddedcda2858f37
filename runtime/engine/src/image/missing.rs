//! Imports that nobody provides: named before anything starts, with what would provide them.

use std::borrow::Cow;

use crate::wasi::{config, keyvalue, logging, p1};

/// The interfaces of WASI 0.2 that components get from us.
const WASI_0_2: [(&str, &[&str]); 7] = [
    ("wasi:cli/", CLI),
    ("wasi:clocks/", &["monotonic-clock", "wall-clock"]),
    ("wasi:filesystem/", &["preopens", "types"]),
    ("wasi:http/", &["outgoing-handler", "types"]),
    ("wasi:io/", &["error", "poll", "streams"]),
    ("wasi:random/", RANDOM),
    (
        "wasi:sockets/",
        &[
            "instance-network",
            "ip-name-lookup",
            "network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
    ),
];

/// Those of WASI 0.3; the ones that are called `types` may hold nothing but types.
const WASI_0_3: [(&str, &[&str]); 7] = [
    ("wasi:cli/", CLI),
    ("wasi:cli/", &["types"]),
    (
        "wasi:clocks/",
        &["monotonic-clock", "system-clock", "types"],
    ),
    ("wasi:filesystem/", &["preopens", "types"]),
    ("wasi:http/", &["client", "types"]),
    ("wasi:random/", RANDOM),
    ("wasi:sockets/", &["ip-name-lookup", "types"]),
];

/// Of `wasi:cli`, in both.
const CLI: &[&str] = &[
    "environment",
    "exit",
    "stderr",
    "stdin",
    "stdout",
    "terminal-input",
    "terminal-output",
    "terminal-stderr",
    "terminal-stdin",
    "terminal-stdout",
];

/// Of `wasi:random`, in both.
const RANDOM: &[&str] = &["insecure", "insecure-seed", "random"];

/// The package of our own.
const OWN: [(&str, &[&str]); 1] = [(
    "wasmpod:pod/",
    &["identity", "lifecycle", "lifecycle-async"],
)];

/// Packages that somebody may want, and what to do instead.
const KNOWN: [(&str, &str); 8] = [
    (
        "wasi:config/",
        "it is another draft of wasi:config than those provided, store@0.2.0-rc.1, store@0.2.0-draft and runtime@0.2.0-draft: build it for one of those",
    ),
    (
        "wasi:keyvalue/watcher",
        "nobody is called when a key changes: read the key when it is needed",
    ),
    (
        "wasi:keyvalue/",
        "it is another draft of wasi:keyvalue than those provided, store, atomics and batch of 0.2.0-draft and 0.2.0-draft2: build it for one of those",
    ),
    (
        "wasi:logging/",
        "it is another draft of wasi:logging than those provided, logging without a version and logging@0.1.0-draft: build it for one of those",
    ),
    ("wasi:nn/", "no machine learning is offered to guests"),
    (
        "wasi:tls/",
        "guests speak TLS with a library of their own, or over wasi:http/outgoing-handler",
    ),
    (
        "wasi:blobstore/",
        "keep data in files of a volume, or call a store over wasi:http/outgoing-handler",
    ),
    (
        "wasmcloud:",
        "it is an interface of another host's: build the component for plain WASI 0.2",
    ),
];

/// Modules that core modules import from, and what to do instead.
const MODULES: [(&str, &str); 8] = [
    (
        "wasi_unstable",
        "it is of before WASI preview 1: build it with tools that know wasi_snapshot_preview1",
    ),
    (
        "wasi_ephemeral_nn",
        "no machine learning is offered to guests",
    ),
    ("wasi_nn", "no machine learning is offered to guests"),
    (
        "wasi",
        "guests have no threads: build it without, for example for wasm32-wasip1",
    ),
    (
        "gojs",
        "it is built for JavaScript: build it with GOOS=wasip1",
    ),
    ("wbg", FOR_JAVASCRIPT),
    ("__wbindgen_placeholder__", FOR_JAVASCRIPT),
    (
        "env",
        "link everything that it calls, without --allow-undefined, and build it for WASI, not for a host of its own",
    ),
];

/// What to do about a module made with wasm-bindgen.
const FOR_JAVASCRIPT: &str =
    "it is built for JavaScript: build it for wasm32-wasip1 or wasm32-wasip2, without wasm-bindgen";

/// The most imports that are told: the first few say what the rest would.
const TOLD: usize = 5;

/// The longest name that is told whole, in bytes: that of an import may be as long as a file.
const NAME: usize = 256;

/// What to do about an import of a component that nobody provides; nothing where somebody does.
pub fn remedy(import: &str) -> Option<&'static str> {
    (!is_provided(import)).then(|| remedy_for(import))
}

/// What to do about the imports that a core module has from a module that nobody provides; nothing
/// where somebody does, though not every name may be one.
pub fn module_remedy(module: &str) -> Option<&'static str> {
    (module != p1::MODULE).then(|| {
        let known = MODULES.iter().find(|(known, _)| *known == module);
        known.map_or(
            "a module gets WASI preview 1 (wasi_snapshot_preview1) and nothing else: build it for wasm32-wasip1, or as a component",
            |(_, remedy)| remedy,
        )
    })
}

/// What a core module imports, by module and name, and nobody provides, where `unknown` is one such
/// import: of preview 1 itself that one is told, and of everything else all.
pub(super) fn told_of_module<'m>(
    imports: impl Iterator<Item = (&'m str, &'m str)>,
    unknown: (&str, &str),
) -> String {
    let missing: Vec<String> = imports
        .filter_map(|import| {
            let remedy = match module_remedy(import.0) {
                None if import == unknown => {
                    "WASI preview 1 has no such function: build it for wasm32-wasip1, not for a host's extensions of it"
                }
                remedy => remedy?,
            };
            Some(format!("{}::{} ({remedy})", short(import.0), short(import.1)))
        })
        .take(TOLD)
        .collect();
    format!(
        "the module imports what nobody provides: {}",
        missing.join("; ")
    )
}

/// What is missing of these imports, where something is.
pub(super) fn told(imports: &[String]) -> Option<String> {
    let missing: Vec<String> = imports
        .iter()
        .filter_map(|name| Some(format!("{} ({})", short(name), remedy(name)?)))
        .take(TOLD)
        .collect();
    if missing.is_empty() {
        return None;
    }
    Some(format!(
        "the component imports what nobody provides: {}",
        missing.join("; ")
    ))
}

fn is_provided(import: &str) -> bool {
    // A world's own functions and types have no version; they are missing too.
    let (name, version) = import.rsplit_once('@').unwrap_or((import, ""));
    let provided: &[(&str, &[&str])] = if name.starts_with("wasmpod:") {
        &OWN
    } else if version.contains('-') {
        &[]
    } else if version.starts_with("0.2.") {
        &WASI_0_2
    } else if version.starts_with("0.3.") {
        &WASI_0_3
    } else {
        &[]
    };
    let is_of = |(package, interfaces): &(&str, &[&str])| {
        let interface = name.strip_prefix(package);
        interface.is_some_and(|interface| interfaces.contains(&interface))
    };
    provided.iter().any(is_of) || is_asked_for(import)
}

/// A name as it is told.
fn short(name: &str) -> Cow<'_, str> {
    match name.split_at_checked(name.floor_char_boundary(NAME)) {
        Some((short, rest)) if !rest.is_empty() => format!("{short}…").into(),
        _ => name.into(),
    }
}

/// Whether it is one of those that are linked where they are imported.
fn is_asked_for(import: &str) -> bool {
    config::INTERFACES.contains(&import)
        || logging::INTERFACES.contains(&import)
        || keyvalue::provides(import)
}

fn remedy_for(import: &str) -> &'static str {
    let known = KNOWN
        .iter()
        .find(|(package, _)| import.starts_with(package));
    if let Some((_, remedy)) = known {
        return remedy;
    }
    if import.starts_with("wasi:") && import.contains("@0.3.0-") {
        return "it is a draft of WASI 0.3: build it with tools that know the released 0.3.0";
    }
    let is_released = import.contains("@0.2.") || import.contains("@0.3.");
    if import.starts_with("wasi:") && !is_released {
        return "this version provides WASI 0.2 and 0.3: build it for one of those";
    }
    if import.starts_with("wasi:") {
        return "no such interface of WASI is provided here: leave it out, or compose it with a component that exports that, for example with `wac plug`";
    }
    "compose it with a component that exports that, for example with `wac plug`"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_a_remedy() {
        let told = |imports: &[&str]| {
            let imports: Vec<String> = imports.iter().map(|name| (*name).to_owned()).collect();
            told(&imports)
        };
        for provided in [
            "wasi:io/poll@0.2.3",
            "wasi:cli/stdout@0.3.0",
            "wasi:cli/types@0.3.0",
            "wasi:clocks/wall-clock@0.2.6",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:http/client@0.3.0",
            "wasmpod:pod/identity@0.1.0",
            "wasi:config/store@0.2.0-rc.1",
            "wasi:config/runtime@0.2.0-draft",
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:keyvalue/atomics@0.2.0-draft2",
            "wasi:logging/logging",
            "wasi:logging/logging@0.1.0-draft",
        ] {
            assert_eq!(told(&[provided]), None);
        }
        for (import, remedy) in [
            ("wasi:keyvalue/store@0.3.0", "0.2.0-draft2"),
            ("wasi:keyvalue/watcher@0.2.0-draft", "when a key changes"),
            ("wasi:config/store@0.3.0", "0.2.0-rc.1"),
            ("wasi:logging/logging@0.2.0", "0.1.0-draft"),
            ("wasi:cli/stdin@0.3.0-rc-2026-01-06", "released 0.3.0"),
            ("wasi:io/poll@0.1.0", "0.2 and 0.3"),
            ("wasi:cli/exot@0.2.6", "no such interface"),
            ("wasi:http/incoming-handler@0.2.0", "wac plug"),
            ("wasi:clocks/wall-clock@0.3.0", "no such interface"),
            ("wasmpod:pod/exot@0.1.0", "wac plug"),
            ("shop:cart/prices@1.0.0", "wac plug"),
            ("log", "wac plug"),
        ] {
            let told = told(&["wasi:io/poll@0.2.3", import]).expect(import);
            assert!(told.contains(import) && told.contains(remedy), "{told}");
        }
    }

    #[test]
    fn what_a_module_lacks_is_told_with_a_remedy() {
        let p1 = "wasi_snapshot_preview1";
        let cases = [
            (("wasi_unstable", "proc_exit"), "before WASI preview 1"),
            (("foo", "bar"), "nothing else"),
            (("env", "emscripten_sleep"), "--allow-undefined"),
            (("wasi", "thread-spawn"), "no threads"),
            ((p1, "sock_open"), "no such function"),
        ];
        for (unknown, remedy) in cases {
            let imports = [(p1, "fd_write"), unknown];
            let told = told_of_module(imports.into_iter(), unknown);
            let name = format!("{}::{}", unknown.0, unknown.1);
            assert!(told.contains(&name) && told.contains(remedy), "{told}");
            assert!(!told.contains("fd_write"), "{told}");
            assert_eq!(module_remedy(unknown.0).is_none(), unknown.0 == p1);
        }
        let long = "n".repeat(100_000);
        let imports = std::iter::repeat_n(("env", long.as_str()), 100);
        let told = told_of_module(imports, ("env", &long));
        assert!(told.len() < 4096, "{}", told.len());
    }
}
