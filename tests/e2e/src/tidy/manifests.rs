//! Versions, lints and profiles stand in the root manifest of their workspace and nowhere else.

use toml::{Table, Value};

use super::{assert_none, tree};

/// The workspaces by the folder of their root manifest; the first is the program's.
const WORKSPACES: [&str; 4] = ["", "examples/", "tests/fuzz/drivers/", "tests/guests/"];

/// Sections of a manifest that name dependencies.
const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Every manifest that is not the root of a workspace, parsed.
fn members() -> anyhow::Result<Vec<(String, Table)>> {
    let mut members = Vec::new();
    for file in tree::files()? {
        let Some(folder) = file.path.strip_suffix("Cargo.toml") else {
            continue;
        };
        if !WORKSPACES.contains(&folder) {
            members.push((file.path.clone(), file.text.parse()?));
        }
    }
    Ok(members)
}

/// The dependency tables of a manifest, those of single targets among them.
fn dependency_tables(manifest: &Table) -> Vec<&Table> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let per_target = targets
        .into_iter()
        .flat_map(|targets| targets.values().filter_map(Value::as_table));
    std::iter::once(manifest)
        .chain(per_target)
        .flat_map(|table| {
            DEPENDENCIES
                .iter()
                .filter_map(|section| table.get(*section)?.as_table())
        })
        .collect()
}

/// `x.workspace = true`, alone or with features.
fn is_inherited(value: Option<&Value>) -> bool {
    value
        .and_then(|value| value.get("workspace"))
        .and_then(Value::as_bool)
        == Some(true)
}

#[test]
fn versions_stand_in_the_root_only() -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for (path, manifest) in members()? {
        for (name, value) in dependency_tables(&manifest).into_iter().flatten() {
            // A path inside a workspace of guests carries no version.
            if !is_inherited(Some(value)) && value.get("path").is_none() {
                violations.push(format!(
                    "{path}: {name} has a version: write `{name}.workspace = true`"
                ));
            }
        }
    }
    assert_none("dependency versions", &violations);
    Ok(())
}

#[test]
fn lints_and_profiles_stand_in_the_root_only() -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for (path, manifest) in members()? {
        if !is_inherited(manifest.get("lints")) {
            violations.push(format!("{path}: write `[lints]` and `workspace = true`"));
        }
        for section in ["profile", "patch", "replace"] {
            if manifest.contains_key(section) {
                violations.push(format!("{path}: `[{section}]` belongs in the root"));
            }
        }
    }
    assert_none("lints and profiles", &violations);
    Ok(())
}

#[test]
fn every_crate_is_described() -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for (path, manifest) in members()? {
        let description = manifest
            .get("package")
            .and_then(|package| package.get("description"));
        if path.starts_with("runtime/") && description.is_none() {
            violations.push(format!("{path}: has no description"));
        }
    }
    assert_none("descriptions", &violations);
    Ok(())
}
