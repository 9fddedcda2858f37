//! One container.

use model::Container;
use model::container::{Port, Protocol, PullPolicy, Resources, SecurityContext};
use model::quantity::odd_for_bytes;
use model::volume::Mount;
use model::working_dir;

use super::{environment, number, probe, refusals, restart_policy, security, some};
use crate::cursor::At;
use crate::findings::Findings;

/// Reads a container; `pod` is what it inherits.
pub(crate) fn read(at: &At<'_, '_>, pod: &SecurityContext, found: &mut Findings) -> Container {
    refusals::container(at, found);
    let lifecycle = at.field("lifecycle");
    Container {
        name: at.field("name").text().to_owned(),
        image: at.field("image").text().to_owned(),
        pull_policy: pull_policy(at.field("imagePullPolicy").text()),
        command: at.field("command").texts(),
        args: at.field("args").texts(),
        working_dir: working_dir(&at.field("workingDir"), found),
        env_from: at
            .field("envFrom")
            .items()
            .filter_map(|at| environment::source(&at))
            .collect(),
        env: at
            .field("env")
            .items()
            .map(|at| environment::variable(&at, found))
            .collect(),
        ports: at
            .field("ports")
            .items()
            .map(|at| port(&at, found))
            .collect(),
        resources: resources(&at.field("resources"), found),
        mounts: at
            .field("volumeMounts")
            .items()
            .map(|at| mount(&at, found))
            .collect(),
        liveness: probe::read(&at.field("livenessProbe")),
        readiness: probe::read(&at.field("readinessProbe")),
        startup: probe::read(&at.field("startupProbe")),
        post_start: probe::handler(&lifecycle.field("postStart")),
        pre_stop: probe::handler(&lifecycle.field("preStop")),
        restart_policy: restart_policy(at.field("restartPolicy").text()),
        security: security::of_container(&at.field("securityContext"), pod, found),
        termination_message_path: at.field("terminationMessagePath").text().to_owned(),
        termination_message_from_logs: at.field("terminationMessagePolicy").text()
            == "FallbackToLogsOnError",
        stdin: at.field("stdin").is_true(),
        stdin_once: at.field("stdinOnce").is_true(),
        tty: at.field("tty").is_true(),
    }
}

fn pull_policy(text: &str) -> PullPolicy {
    match text {
        "Always" => PullPolicy::Always,
        "Never" => PullPolicy::Never,
        _ => PullPolicy::IfNotPresent,
    }
}

fn working_dir(at: &At<'_, '_>, found: &mut Findings) -> Option<String> {
    absolute(at, found);
    at.some_text().map(working_dir::clean)
}

fn port(at: &At<'_, '_>, found: &mut Findings) -> Port {
    let protocol = at.field("protocol");
    if protocol.text() == "SCTP" {
        found.refused(&protocol, "guests have TCP and UDP; use one of them");
    }
    Port {
        name: some(&at.field("name")),
        container_port: number(&at.field("containerPort")).unwrap_or_default(),
        host_port: number(&at.field("hostPort")).filter(|port| *port != 0),
        host_ip: at.field("hostIP").text().parse().ok(),
        protocol: if protocol.text() == "UDP" {
            Protocol::Udp
        } else {
            Protocol::Tcp
        },
    }
}

fn resources(at: &At<'_, '_>, found: &mut Findings) -> Resources {
    let (limits, requests) = (at.field("limits"), at.field("requests"));
    for list in [&limits, &requests] {
        for (name, quantity) in list.entries() {
            if !["cpu", "memory", "ephemeral-storage"].contains(&name) {
                let detail = "this node has none of it for guests; remove it";
                found.refused(&quantity, detail);
            } else if name != "cpu"
                // A request that was not written is the limit again.
                && (list.is_field("limits") || quantity.text() != limits.key(name).text())
                && let Some(why) = odd_for_bytes(quantity.text())
            {
                found.invalid(&quantity, &why);
            }
        }
    }
    Resources {
        cpu_request: requests.key("cpu").quantity(),
        cpu_limit: limits.key("cpu").quantity(),
        memory_request: requests.key("memory").quantity(),
        memory_limit: limits.key("memory").quantity(),
        storage_request: requests.key("ephemeral-storage").quantity(),
        storage_limit: limits.key("ephemeral-storage").quantity(),
    }
}

fn mount(at: &At<'_, '_>, found: &mut Findings) -> Mount {
    refusals::mount(at, found);
    let path = at.field("mountPath");
    absolute(&path, found);
    Mount {
        volume: at.field("name").text().to_owned(),
        path: path.text().to_owned(),
        read_only: at.field("readOnly").is_true(),
        sub_path: some(&at.field("subPath")),
        sub_path_expr: some(&at.field("subPathExpr")),
    }
}

/// A path in a container says from where it goes: there is no directory it could be relative to.
fn absolute(at: &At<'_, '_>, found: &mut Findings) {
    if at.some_text().is_some_and(|path| !path.starts_with('/')) {
        found.invalid(at, "must be an absolute path; begin it with a slash");
    }
}
