//! Imports that nobody provides: named before anything starts, with what would provide them.

use crate::wasi::{config, keyvalue, logging};

/// The packages that components get from us, with the versions that they have here.
const PROVIDED: [&str; 7] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// The package of our own.
const OWN: &str = "wasmpod:pod/";

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

/// The most imports that are told: the first few say what the rest would.
const TOLD: usize = 5;

/// What to do about an import of a component that nobody provides; nothing where somebody does.
pub fn remedy(import: &str) -> Option<&'static str> {
    (!is_provided(import)).then(|| remedy_for(import))
}

/// What is missing of these imports, where something is.
pub(super) fn told(imports: &[String]) -> Option<String> {
    let missing: Vec<String> = imports
        .iter()
        .filter_map(|name| Some(format!("{name} ({})", remedy(name)?)))
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
    let is_ours = import.starts_with(OWN);
    let is_wasi = PROVIDED.iter().any(|package| import.starts_with(package));
    // A world's own functions and types have no version; they are missing too.
    let version = import.rsplit_once('@').map_or("", |(_, version)| version);
    let is_stable = !version.contains('-');
    is_ours || is_asked_for(import) || (is_wasi && is_stable && is_known(version))
}

fn is_known(version: &str) -> bool {
    version.starts_with("0.2.") || version.starts_with("0.3.")
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
    if import.starts_with("wasi:") {
        return "this version provides WASI 0.2 and 0.3: build it for one of those";
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
            ("shop:cart/prices@1.0.0", "wac plug"),
            ("log", "wac plug"),
        ] {
            let told = told(&["wasi:io/poll@0.2.3", import]).expect(import);
            assert!(told.contains(import) && told.contains(remedy), "{told}");
        }
    }
}
