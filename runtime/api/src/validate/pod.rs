//! Validation of a pod: what is said of it as a whole.

use std::collections::HashSet;

use super::{container, metadata, names, network, security, volume};
use crate::cursor::At;
use crate::findings::Findings;

/// Checks a pod whose metadata has been checked.
pub(crate) fn check(top: &At<'_, '_>, found: &mut Findings) {
    let spec = top.field("spec");
    let volumes = volume::check(&spec.field("volumes"), found);
    container::check(&spec, &volumes, found);
    times(&spec, found);
    references(&spec, found);
    network::check(&spec, found);
    security::check_pod(&spec.field("securityContext"), found);
    metadata::labels(&spec.field("nodeSelector"), found);
    gates(&spec, found);
    let os = spec.field("os");
    let os = os.field("name");
    if os.is_set() && !["linux", "windows"].contains(&os.text()) {
        found.not_supported(&os, &["linux", "windows"]);
    }
}

fn times(spec: &At<'_, '_>, found: &mut Findings) {
    let deadline = spec.field("activeDeadlineSeconds");
    if let Some(seconds) = deadline.integer() {
        found.complain(&deadline, names::between(seconds, 1, i64::from(i32::MAX)));
    }
    let grace = spec.field("terminationGracePeriodSeconds");
    match grace.integer() {
        Some(seconds) if seconds < 0 => {
            found.invalid(&grace, "must be greater than or equal to 0");
        }
        Some(_) => {}
        None => found.required(&grace, ""),
    }
}

/// Names of other objects.
fn references(spec: &At<'_, '_>, found: &mut Findings) {
    for name in [
        "serviceAccountName",
        "nodeName",
        "priorityClassName",
        "runtimeClassName",
    ] {
        let at = spec.field(name);
        if at.some_text().is_some() {
            found.complain(&at, names::subdomain(at.text()));
        }
    }
}

/// Conditions that a pod waits for.
fn gates(spec: &At<'_, '_>, found: &mut Findings) {
    for gate in spec.field("readinessGates").items() {
        let kind = gate.field("conditionType");
        found.complain(&kind, names::qualified(kind.text()));
    }
    let mut seen = HashSet::new();
    for gate in spec.field("schedulingGates").items() {
        let name = gate.field("name").text();
        found.complain_about(&gate, name, names::qualified(name));
        if !seen.insert(name) {
            found.duplicate_of(&gate, name);
        }
    }
}
