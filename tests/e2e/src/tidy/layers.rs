//! Who may import whom: a crate reaches down, never sideways or up, and heavy libraries stay
//! behind the one crate that exists for them.
//!
//! Only what is compiled into the program counts; dev-dependencies are free.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{assert_none, tree};

/// Every crate of the program and the crates of the program that it may import, from the bottom
/// up. A crate that is not here may not exist: give it its place first.
const LAYERS: [(&str, &[&str]); 18] = [
    ("model", &[]),
    ("net", &["model"]),
    ("volume", &["model"]),
    ("image", &["model"]),
    ("native", &["model"]),
    ("api", &["model"]),
    ("store", &["model"]),
    ("engine", &["model", "net", "volume"]),
    ("client", &["model", "api"]),
    ("server", &["model", "api", "store", "client"]),
    ("host", &["model", "net", "volume", "engine"]),
    ("compile", &["model", "engine"]),
    ("control", &["model", "api", "client"]),
    // The pod host's messages are model's `Runtime`: the node agent links no engine.
    ("node", &["model", "api", "client", "image", "volume"]),
    (
        "cli",
        &[
            "model", "net", "volume", "image", "native", "api", "store", "engine", "client",
            "server", "host", "control", "node",
        ],
    ),
    (
        "shim",
        &[
            "model", "net", "volume", "image", "native", "engine", "host",
        ],
    ),
    // A guest: it runs inside pods and shares nothing with the program.
    ("toolbox", &[]),
    // The project's own commands, which must build within seconds.
    ("xtask", &[]),
];

/// Crates that may import anything of the program: they test and measure it.
const OBSERVERS: [&str; 3] = ["e2e", "fuzz", "isolation"];

/// Libraries that belong to one crate (or a few), by the start of their names.
const WALLS: [(&str, &[&str]); 11] = [
    ("wasmtime", &["engine"]),
    ("wiggle", &["engine"]),
    ("cranelift", &[]),
    ("cap-", &["volume"]),
    ("k8s-openapi", &["api"]),
    ("serde-saphyr", &["api"]),
    ("oci-client", &["image"]),
    ("runc", &["native"]),
    // Its numbers of system calls for the seccomp filter; calling any would be unsafe code.
    ("libc", &["native", "host"]),
    ("rusqlite", &["store"]),
    ("clap", &["cli", "compile", "shim", "isolation"]),
];

/// What model may import: it knows no runtime and no input or output.
const PURE: [&str; 7] = [
    "bytes",
    "futures-core",
    "http",
    "http-body",
    "serde",
    "serde_json",
    "thiserror",
];

/// A crate's compile-time dependencies.
fn dependencies() -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let metadata = tree::cargo(&["metadata", "--no-deps", "--format-version", "1"])?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let mut crates = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let imports = package["dependencies"].as_array().into_iter().flatten();
        let names = imports
            .filter(|import| import["kind"] != "dev")
            .filter_map(|import| import["name"].as_str().map(str::to_owned));
        let name = package["name"].as_str().unwrap_or_default();
        crates.insert(name.to_owned(), names.collect());
    }
    Ok(crates)
}

#[test]
fn crates_import_only_what_lies_below_them() -> anyhow::Result<()> {
    let crates = dependencies()?;
    let mut violations = Vec::new();
    for (name, imports) in &crates {
        if OBSERVERS.contains(&name.as_str()) {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| layer == name) else {
            violations.push(format!("{name}: has no place in the table of layers"));
            continue;
        };
        for import in imports.iter().filter(|import| crates.contains_key(*import)) {
            if !allowed.contains(&import.as_str()) {
                violations.push(format!(
                    "{name} imports {import}: what it needs from there is a trait or type of model"
                ));
            }
        }
    }
    assert_none("layers", &violations);
    Ok(())
}

#[test]
fn heavy_libraries_stay_behind_their_walls() -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for (name, imports) in &dependencies()? {
        for import in imports {
            let wall = WALLS.iter().find(|(start, _)| import.starts_with(start));
            if wall.is_some_and(|(_, owners)| !owners.contains(&name.as_str())) {
                violations.push(format!("{name} imports {import}, which is another crate's"));
            }
            if name == "model" && !PURE.contains(&import.as_str()) {
                violations.push(format!("model imports {import}: it stays pure"));
            }
        }
    }
    assert_none("walls", &violations);
    Ok(())
}

/// Whether a crate, built as it is shipped, contains a compiler for wasm.
fn has_compiler(package: &str) -> anyhow::Result<bool> {
    let tree = tree::cargo(&[
        "tree",
        "--package",
        package,
        "--edges",
        "normal",
        "--prefix",
        "none",
    ])?;
    Ok(tree
        .lines()
        .any(|line| line.starts_with("cranelift-codegen ") || line.starts_with("winch")))
}

#[test]
fn only_wasmpod_compile_contains_a_compiler() -> anyhow::Result<()> {
    let crates = dependencies()?;
    let mut violations = Vec::new();
    for name in ["cli", "engine", "host", "node", "shim"] {
        if crates.contains_key(name) && has_compiler(name)? {
            violations.push(format!(
                "{name} contains a compiler: `cargo tree -p {name} -i cranelift-codegen`"
            ));
        }
    }
    assert_none("no compiler beside guests", &violations);
    assert!(
        has_compiler("compile")?,
        "wasmpod-compile has lost its compiler, or this test its eyes"
    );
    Ok(())
}
