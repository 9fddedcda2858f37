//! Validation of probes and of what they and lifecycle hooks do.

use super::names;
use crate::cursor::At;
use crate::findings::Findings;

const NEGATIVE: &str = "must be greater than or equal to 0";

/// Checks the probes and hooks of a container. `grace` is the pod's grace period in seconds.
pub(crate) fn check_all(container: &At<'_, '_>, grace: Option<i64>, found: &mut Findings) {
    for name in ["livenessProbe", "startupProbe", "readinessProbe"] {
        let probe = container.field(name);
        if !probe.is_set() {
            continue;
        }
        check(&probe, found);
        if name == "readinessProbe" {
            let grace = probe.field("terminationGracePeriodSeconds");
            if grace.is_set() {
                found.invalid(&grace, "must not be set for readinessProbes");
            }
        } else {
            let successes = probe.field("successThreshold");
            if successes.integer() != Some(1) {
                found.invalid(&successes, "must be 1");
            }
        }
    }
    let lifecycle = container.field("lifecycle");
    for name in ["postStart", "preStop"] {
        let hook = lifecycle.field(name);
        if hook.is_set() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], found);
            sleep(&hook.field("sleep"), grace, found);
        }
    }
}

fn check(probe: &At<'_, '_>, found: &mut Findings) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], found);
    let numbers = [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ];
    for name in numbers {
        let number = probe.field(name);
        if number.integer().is_some_and(|number| number < 0) {
            found.invalid(&number, NEGATIVE);
        }
    }
    let grace = probe.field("terminationGracePeriodSeconds");
    if grace.integer().is_some_and(|seconds| seconds <= 0) {
        found.invalid(&grace, "must be greater than 0");
    }
}

/// Exactly one of the handlers that are possible here.
fn handler(parent: &At<'_, '_>, kinds: &[&'static str], found: &mut Findings) {
    let mut given = 0;
    for kind in kinds {
        let at = parent.field(kind);
        if !at.is_set() {
            continue;
        }
        given += 1;
        if given > 1 {
            found.forbidden(&at, "may not specify more than 1 handler type");
            continue;
        }
        match *kind {
            "exec" if at.field("command").len() == 0 => found.required(&at.field("command"), ""),
            "httpGet" => http_get(&at, found),
            "tcpSocket" | "grpc" => port(&at.field("port"), found),
            _ => {}
        }
    }
    if given == 0 {
        found.required(parent, "must specify a handler type");
    }
}

fn http_get(at: &At<'_, '_>, found: &mut Findings) {
    port(&at.field("port"), found);
    for header in at.field("httpHeaders").items() {
        let name = header.field("name");
        found.complain(&name, names::header(name.text()));
    }
}

fn port(at: &At<'_, '_>, found: &mut Findings) {
    match at.integer() {
        Some(number) => found.complain(at, names::port_number(number)),
        None => found.complain(at, names::port_name(at.text())),
    }
}

fn sleep(sleep: &At<'_, '_>, grace: Option<i64>, found: &mut Findings) {
    let seconds = sleep.field("seconds");
    if let (Some(number), Some(grace)) = (seconds.integer(), grace)
        && !(0..=grace).contains(&number)
    {
        let detail =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        found.invalid_because(sleep, &seconds, &detail);
    }
}
