//! `cargo xtask schema`: derives the table of Kubernetes kinds and fields that `api` is built on.
//!
//! The OpenAPI definitions come from a Python package, fetched with pip into a temporary directory
//! that is gone afterwards. Written are two text files in `runtime/api/schema`, sorted, without
//! descriptions, one line per kind and one per field, so that a change of version reads as a diff.
//! What the definitions lack (defaults, enumerations) is merged in from `additions.txt` there.
//!
//! ```text
//! kinds.txt   apps/v1 Deployment apps/v1.Deployment
//! types.txt   core/v1.ContainerPort
//!              containerPort int32 required
//!              protocol string enum=SCTP,TCP,UDP empty-default="TCP"
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// The package that carries the definitions; its version is its own, not that of Kubernetes.
const PACKAGE: &str = "kubernetes-validate==1.37.0";

/// The definitions of Kubernetes 1.36 in it.
const DEFINITIONS: &str =
    "kubernetes_validate/kubernetes-json-schema/v1.36.0-local/_definitions.json";

/// Where the table lies, from the top of the workspace.
const TABLE: &str = "runtime/api/schema";

/// Everything known of one type: flags of its own and its fields, each as a finished line.
#[derive(Default)]
struct Type {
    flags: Vec<String>,
    fields: BTreeMap<String, Vec<String>>,
}

/// A directory that is removed when it goes out of scope.
struct Scratch(PathBuf);

/// Fetches the package, derives the table and writes it.
pub(crate) fn run() -> anyhow::Result<()> {
    let table = crate_root().join(TABLE);
    let definitions = fetch()?;
    let additions = fs::read_to_string(table.join("additions.txt"))
        .with_context(|| format!("reading {TABLE}/additions.txt"))?;
    let (kinds, types) = derive(&definitions, &additions)?;
    for (name, text) in [("kinds.txt", kinds), ("types.txt", types)] {
        let path = table.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The top of the workspace, two levels above this crate.
fn crate_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The definitions, by their full name.
fn fetch() -> anyhow::Result<BTreeMap<String, Value>> {
    let scratch =
        Scratch(std::env::temp_dir().join(format!("wasmpod-schema-{}", std::process::id())));
    let target = scratch.0.join("package");
    // pip unpacks what it installs, so no other tool is needed.
    let status = Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-compile",
        ])
        .args([
            "--disable-pip-version-check",
            "--root-user-action",
            "ignore",
        ])
        .arg("--target")
        .arg(&target)
        .arg(PACKAGE)
        .status()
        .context("running python3 -m pip; install Python 3 with pip")?;
    ensure!(status.success(), "pip could not fetch {PACKAGE}");
    let text = fs::read(target.join(DEFINITIONS))
        .with_context(|| format!("{PACKAGE} has no {DEFINITIONS}"))?;
    let mut document: Value = serde_json::from_slice(&text).context("reading the definitions")?;
    let definitions = document
        .get_mut("$defs")
        .map(Value::take)
        .unwrap_or_default();
    serde_json::from_value(definitions).context("the definitions are not an object")
}

/// Both files, finished.
fn derive(
    definitions: &BTreeMap<String, Value>,
    additions: &str,
) -> anyhow::Result<(String, String)> {
    let mut kinds = BTreeSet::new();
    let mut types = BTreeMap::<String, Type>::new();
    for (full, definition) in definitions {
        if built_in(full).is_some() {
            continue;
        }
        let name = short(full)?;
        for kind in group_version_kinds(definition) {
            kinds.insert(format!("{kind} {name}"));
        }
        let derived = derive_type(definition).with_context(|| format!("in {full}"))?;
        ensure!(
            types.insert(name.clone(), derived).is_none(),
            "two types are called {name}"
        );
    }
    add(&mut types, additions)?;
    Ok((write_kinds(&kinds), write_types(&types)))
}

/// `v1 Pod`, `apps/v1 Deployment`: what `apiVersion` and `kind` of such an object say.
///
/// DeleteOptions and WatchEvent name every group there is; the first entry, the core group, will do.
fn group_version_kinds(definition: &Value) -> Vec<String> {
    let text = |entry: &Value, key: &str| {
        entry
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut found: Vec<String> = definition
        .get("x-kubernetes-group-version-kind")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|entry| {
            let (group, version) = (text(entry, "group"), text(entry, "version"));
            let slash = if group.is_empty() { "" } else { "/" };
            format!("{group}{slash}{version} {}", text(entry, "kind"))
        })
        .collect();
    if found.len() > 1 {
        found.retain(|kind| kind.starts_with("v1 "));
    }
    found
}

/// A type's flags and fields.
fn derive_type(definition: &Value) -> anyhow::Result<Type> {
    let mut derived = Type::default();
    if let Some(map) = definition
        .get("x-kubernetes-map-type")
        .and_then(Value::as_str)
    {
        derived.flags.push(format!("map={map}"));
    }
    let required: BTreeSet<&str> = strings(definition.get("required")).collect();
    let properties = definition.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let mut words = vec![expression(property).with_context(|| format!("field {name}"))?];
        if required.contains(name.as_str()) {
            words.push("required".to_owned());
            derived.flags.push(format!("required={name}"));
        }
        words.extend(merging(property));
        derived.fields.insert(name.clone(), words);
    }
    Ok(derived)
}

/// How patches and apply treat a field.
fn merging(property: &Value) -> Vec<String> {
    let text = |key: &str| property.get(key).and_then(Value::as_str);
    let mut words = Vec::new();
    let named = [
        ("x-kubernetes-patch-strategy", "patch"),
        ("x-kubernetes-patch-merge-key", "merge"),
        ("x-kubernetes-list-type", "list"),
        ("x-kubernetes-map-type", "map"),
    ];
    for (key, word) in named {
        if let Some(value) = text(key) {
            words.push(format!("{word}={value}"));
        }
    }
    let keys: Vec<&str> = strings(property.get("x-kubernetes-list-map-keys")).collect();
    if !keys.is_empty() {
        words.push(format!("keys={}", keys.join(",")));
    }
    words
}

/// The type of a field: `string`, `[core/v1.Container]` for a list, `{string}` for a map.
fn expression(property: &Value) -> anyhow::Result<String> {
    if let Some(reference) = property.get("$ref").and_then(Value::as_str) {
        let full = reference.trim_start_matches("#/$defs/");
        return built_in(full).map_or_else(|| short(full), |name| Ok(name.to_owned()));
    }
    let format = property.get("format").and_then(Value::as_str);
    let inner = |key: &str| {
        property
            .get(key)
            .filter(|value| value.is_object())
            .map(expression)
    };
    Ok(match type_of(property) {
        Some("array") => format!("[{}]", inner("items").context("a list of nothing")??),
        Some("object") => match inner("additionalProperties") {
            Some(value) => format!("{{{}}}", value?),
            None => "any".to_owned(),
        },
        Some("string") if format == Some("byte") => "bytes".to_owned(),
        Some("string") => "string".to_owned(),
        Some("integer") => format.unwrap_or("int64").to_owned(),
        Some("boolean") => "bool".to_owned(),
        Some("number") => "number".to_owned(),
        None => "any".to_owned(),
        Some(other) => bail!("a type {other} is new to this command"),
    })
}

/// `type`, which is a word or a list of a word and `null`.
fn type_of(property: &Value) -> Option<&str> {
    let value = property.get("type")?;
    value
        .as_str()
        .or_else(|| strings(Some(value)).find(|word| *word != "null"))
}

/// Types with a form of their own, which are no objects with fields.
fn built_in(full: &str) -> Option<&'static str> {
    let name = full.rsplit('.').next().unwrap_or_default();
    Some(match name {
        "Quantity" => "quantity",
        "IntOrString" => "int-or-string",
        "Time" | "MicroTime" => "time",
        "JSON"
        | "JSONSchemaPropsOrArray"
        | "JSONSchemaPropsOrBool"
        | "JSONSchemaPropsOrStringArray"
        | "RawExtension"
        | "FieldsV1"
        | "Patch" => "any",
        _ => return None,
    })
}

/// `io.k8s.api.core.v1.Pod` becomes `core/v1.Pod`.
fn short(full: &str) -> anyhow::Result<String> {
    let mut words = full.rsplit('.');
    let (name, version, group) = (words.next(), words.next(), words.next());
    match (group, version, name) {
        (Some(group), Some(version), Some(name)) => Ok(format!("{group}/{version}.{name}")),
        _ => bail!("{full} is not a name of a definition"),
    }
}

/// Merges `additions.txt` in: each line must name a field that exists.
fn add(types: &mut BTreeMap<String, Type>, additions: &str) -> anyhow::Result<()> {
    for line in additions
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let mut words = line.split(' ');
        let (Some(name), Some(field)) = (words.next(), words.next()) else {
            bail!("additions.txt: {line:?} names no field");
        };
        let found = types
            .get_mut(name)
            .with_context(|| format!("additions.txt: there is no type {name}"))?;
        let words: Vec<String> = words.map(str::to_owned).collect();
        for (flag, list) in [("default=", "defaults"), ("enum=", "enums")] {
            if words.iter().any(|word| word.contains(flag)) {
                found.flags.push(format!("{list}={field}"));
            }
        }
        found
            .fields
            .get_mut(field)
            .with_context(|| format!("additions.txt: {name} has no field {field}"))?
            .extend(words);
    }
    Ok(())
}

/// The lines of kinds.txt.
fn write_kinds(kinds: &BTreeSet<String>) -> String {
    kinds
        .iter()
        .fold(String::new(), |text, kind| text + kind + "\n")
}

/// The lines of types.txt.
fn write_types(types: &BTreeMap<String, Type>) -> String {
    let mut text = String::new();
    for (name, found) in types {
        text.push_str(name);
        for flag in grouped(&found.flags) {
            text.push(' ');
            text.push_str(&flag);
        }
        text.push('\n');
        for (field, words) in &found.fields {
            // Writing to a string cannot fail.
            let _ = writeln!(text, " {field} {}", words.join(" "));
        }
    }
    text
}

/// `defaults=a` and `defaults=b` become `defaults=a,b`.
fn grouped(flags: &[String]) -> Vec<String> {
    let mut lists = BTreeMap::<&str, Vec<&str>>::new();
    for (key, value) in flags.iter().filter_map(|flag| flag.split_once('=')) {
        lists.entry(key).or_default().push(value);
    }
    lists
        .iter()
        .map(|(key, values)| format!("{key}={}", values.join(",")))
        .collect()
}

/// The strings of a JSON list.
fn strings(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

// === impl Scratch ===

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left over lies in the system's temporary directory and is cleared with it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFINITIONS: &str = r##"{
        "io.k8s.api.core.v1.Pod": {
            "properties": {
                "ports": {
                    "items": {"$ref": "#/$defs/io.k8s.api.core.v1.Port"}, "type": ["array", "null"],
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "name"]
                },
                "labels": {"additionalProperties": {"type": ["string", "null"]}, "type": "object"}
            },
            "required": ["ports"],
            "x-kubernetes-group-version-kind": [{"group": "", "kind": "Pod", "version": "v1"}]
        },
        "io.k8s.api.core.v1.Port": {
            "properties": {"port": {"format": "int32", "type": "integer"}, "name": {"type": "string"}},
            "x-kubernetes-map-type": "atomic"
        },
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time": {"format": "date-time", "type": "string"}
    }"##;

    fn derived(additions: &str) -> anyhow::Result<(String, String)> {
        derive(&serde_json::from_str(DEFINITIONS)?, additions)
    }

    #[test]
    fn definitions_become_lines() {
        let (kinds, types) =
            derived("# a comment\ncore/v1.Port name enum=a,b default=\"a\"\n").unwrap();
        assert_eq!(kinds, "v1 Pod core/v1.Pod\n");
        assert_eq!(
            types,
            "\
core/v1.Pod required=ports
 labels {string}
 ports [core/v1.Port] required list=map keys=port,name
core/v1.Port defaults=name enums=name map=atomic
 name string enum=a,b default=\"a\"
 port int32
"
        );
    }

    #[test]
    fn an_addition_to_what_is_not_there_is_an_error() {
        for line in [
            "core/v1.Port nam default=1",
            "core/v1.Prt name default=1",
            "core/v1.Port",
        ] {
            assert!(derived(line).is_err(), "{line}");
        }
    }
}
