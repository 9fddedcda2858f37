//! What comes from others: under licenses that fit ours, from the registry only, none of those
//! that were weighed and found wanting.

use serde_json::Value;

use super::{assert_none, tree};

/// Licenses that may stand beside Apache-2.0 in one program.
const LICENSES: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that may not be in the tree, however they come, and why.
const BANNED: [(&str, &str); 10] = [
    (
        "aws-lc-sys",
        "a second provider of cryptography beside ring panics at run time",
    ),
    ("backoff", "unmaintained"),
    ("cgroups-rs", "brings a D-Bus client that nobody calls"),
    ("native-tls", "rustls is our only TLS"),
    (
        "oci-distribution",
        "renamed to oci-client; the old name lacks a security fix",
    ),
    ("openssl-sys", "rustls is our only TLS"),
    ("serde_yaml", "deprecated; serde-saphyr reads YAML"),
    ("serde_yml", "unsound"),
    ("winch-codegen", "sandbox escapes in 2026"),
    ("zbus", "a D-Bus client that nobody calls"),
];

/// Crates of which a second version costs minutes of building or a second table of types.
const SINGLE: [&str; 9] = [
    "cranelift-codegen",
    "hyper",
    "k8s-openapi",
    "rustix",
    "rustls",
    "tokio",
    "wasmparser",
    "wasmtime",
    "wasmtime-wasi",
];

/// Every crate of the lock file, for every platform.
fn packages() -> anyhow::Result<Vec<Value>> {
    let metadata: Value =
        serde_json::from_str(&tree::cargo(&["metadata", "--format-version", "1"])?)?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    anyhow::ensure!(
        packages.len() > 50,
        "cargo tells of {} crates only",
        packages.len()
    );
    Ok(packages)
}

/// Whether a license expression leaves us a choice among those above.
fn is_fitting(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], "");
    expression.replace('/', " OR ").split(" AND ").all(|part| {
        part.split(" OR ")
            .any(|license| LICENSES.contains(&license.trim()))
    })
}

#[test]
fn licenses_fit() -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for package in packages()? {
        let license = package["license"].as_str().unwrap_or("none told");
        if !is_fitting(license) {
            violations.push(format!("{}: {license}", package["name"]));
        }
    }
    assert_none("licenses", &violations);
    Ok(())
}

#[test]
fn crates_come_from_the_registry() -> anyhow::Result<()> {
    let violations: Vec<String> = packages()?
        .iter()
        .filter(|package| {
            package["source"]
                .as_str()
                .is_some_and(|s| !s.starts_with("registry+"))
        })
        .map(|package| format!("{}: {}", package["name"], package["source"]))
        .collect();
    assert_none("sources", &violations);
    Ok(())
}

#[test]
fn crates_that_were_found_wanting_stay_out() -> anyhow::Result<()> {
    let packages = packages()?;
    let mut violations = Vec::new();
    for (name, why) in BANNED {
        if packages.iter().any(|package| package["name"] == name) {
            violations.push(format!(
                "{name}: {why}; `cargo tree -i {name}` tells who brings it"
            ));
        }
    }
    for name in SINGLE {
        let versions: Vec<&Value> = packages
            .iter()
            .filter(|package| package["name"] == name)
            .map(|p| &p["version"])
            .collect();
        if versions.len() > 1 {
            violations.push(format!("{name}: several versions, {versions:?}"));
        }
    }
    assert_none("dependencies", &violations);
    Ok(())
}

#[test]
fn a_license_fits_when_one_of_its_choices_does() {
    let cases = [
        ("MIT OR Apache-2.0", true),
        ("MIT/Apache-2.0", true),
        ("MIT OR LGPL-2.1-or-later", true),
        ("(Apache-2.0 OR MIT) AND BSD-3-Clause", true),
        ("GPL-3.0", false),
        ("MIT AND GPL-3.0", false),
        ("none told", false),
    ];
    for (expression, wanted) in cases {
        assert_eq!(is_fitting(expression), wanted, "{expression}");
    }
}
