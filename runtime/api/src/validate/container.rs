//! Validation of a pod's containers, one by one and against each other.

use std::collections::HashSet;

use super::volume::Volumes;
use super::{environment, names, network, probe, resources, security, volume};
use crate::cursor::At;
use crate::findings::Findings;

/// Checks `containers` and `initContainers`; names are unique over both.
pub(crate) fn check(spec: &At<'_, '_>, volumes: &Volumes<'_>, found: &mut Findings) {
    let grace = spec.field("terminationGracePeriodSeconds").integer();
    let restart = spec.field("restartPolicy").text();
    let mut seen = HashSet::new();
    let containers = spec.field("containers");
    if containers.len() == 0 {
        found.required(&containers, "");
    }
    for container in containers.items() {
        common(&container, volumes, restart, found);
        unique_name(&container, &mut seen, found);
        probe::check_all(&container, grace, found);
        let policy = container.field("restartPolicy");
        if policy.is_set() {
            found.forbidden(&policy, "may not be set for non-init containers");
        }
    }
    network::host_port_conflicts(containers.items(), found);
    for container in spec.field("initContainers").items() {
        common(&container, volumes, restart, found);
        unique_name(&container, &mut seen, found);
        init(&container, grace, found);
        // Init containers run one by one, so their ports meet only each other's own.
        network::host_port_conflicts(std::iter::once(container), found);
    }
}

/// What holds for every container.
fn common(container: &At<'_, '_>, volumes: &Volumes<'_>, restart: &str, found: &mut Findings) {
    let name = container.field("name");
    match name.some_text() {
        Some(text) => found.complain(&name, names::label(text)),
        None => found.required(&name, ""),
    }
    let image = container.field("image");
    match image.some_text() {
        Some(text) if text.trim() != text => {
            found.invalid(&image, "must not have leading or trailing whitespace");
        }
        Some("file:") => found.invalid(&image, "must name a file, for example file:web.wasm"),
        Some(_) => {}
        None => found.required(&image, ""),
    }
    network::ports(&container.field("ports"), found);
    environment::check(container, found);
    volume::mounts(container, volumes, found);
    resources::check(&container.field("resources"), found);
    resize_policies(&container.field("resizePolicy"), restart, found);
    security::check_container(&container.field("securityContext"), found);
}

fn unique_name<'v>(container: &At<'v, '_>, seen: &mut HashSet<&'v str>, found: &mut Findings) {
    let name = container.field("name");
    if !name.text().is_empty() && !seen.insert(name.text()) {
        found.duplicate(&name);
    }
}

/// An init container runs to its end, unless it is a sidecar; only then has it a life to watch.
fn init(container: &At<'_, '_>, grace: Option<i64>, found: &mut Findings) {
    let policy = container.field("restartPolicy");
    if policy.is_set() && policy.text() != "Always" {
        found.not_supported(&policy, &["Always"]);
    }
    if policy.text() == "Always" {
        return probe::check_all(container, grace, found);
    }
    for name in [
        "lifecycle",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
    ] {
        let at = container.field(name);
        if at.is_set() {
            found.forbidden(
                &at,
                "may not be set for init containers without restartPolicy=Always",
            );
        }
    }
}

fn resize_policies(policies: &At<'_, '_>, restart: &str, found: &mut Findings) {
    let mut seen = HashSet::new();
    for policy in policies.items() {
        let name = policy.field("resourceName").text();
        if !seen.insert(name) {
            found.duplicate_of(&policy, name);
        }
        let own = policy.field("restartPolicy");
        if restart == "Never" && own.text() == "RestartContainer" {
            found.invalid(
                &own,
                "must be 'NotRequired' when `restartPolicy` is 'Never'",
            );
        }
    }
}
