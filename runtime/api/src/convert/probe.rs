//! Probes and lifecycle hooks.

use std::time::Duration;

use model::probe::{Handler, HttpGet, PortRef, Probe};

use super::{number, seconds, some};
use crate::cursor::At;

/// A probe, if there is one.
pub(crate) fn read(at: &At<'_, '_>) -> Option<Probe> {
    let time = |name| seconds(&at.field(name)).unwrap_or_default();
    Some(Probe {
        handler: handler(at)?,
        initial_delay: time("initialDelaySeconds"),
        timeout: time("timeoutSeconds"),
        period: time("periodSeconds"),
        success_threshold: number(&at.field("successThreshold")).unwrap_or(1),
        failure_threshold: number(&at.field("failureThreshold")).unwrap_or(3),
        grace_period: seconds(&at.field("terminationGracePeriodSeconds")),
    })
}

/// What a probe or hook does.
pub(crate) fn handler(at: &At<'_, '_>) -> Option<Handler> {
    let (exec, http) = (at.field("exec"), at.field("httpGet"));
    let (tcp, grpc, sleep) = (at.field("tcpSocket"), at.field("grpc"), at.field("sleep"));
    Some(if exec.is_set() {
        Handler::Exec(exec.field("command").texts())
    } else if http.is_set() {
        Handler::HttpGet(http_get(&http))
    } else if tcp.is_set() {
        Handler::TcpSocket {
            host: some(&tcp.field("host")),
            port: port(&tcp.field("port")),
        }
    } else if grpc.is_set() {
        Handler::Grpc {
            port: number(&grpc.field("port")).unwrap_or_default(),
            service: grpc.field("service").text().to_owned(),
        }
    } else if sleep.is_set() {
        Handler::Sleep(seconds(&sleep.field("seconds")).unwrap_or(Duration::ZERO))
    } else {
        return None;
    })
}

fn http_get(at: &At<'_, '_>) -> HttpGet {
    let headers = at.field("httpHeaders");
    let path = at.field("path").text();
    HttpGet {
        https: at.field("scheme").text() == "HTTPS",
        host: some(&at.field("host")),
        port: port(&at.field("port")),
        // kubelet puts the slash in front that a path without one lacks.
        path: if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        },
        headers: headers
            .items()
            .map(|at| {
                (
                    at.field("name").text().to_owned(),
                    at.field("value").text().to_owned(),
                )
            })
            .collect(),
    }
}

fn port(at: &At<'_, '_>) -> PortRef {
    match number(at) {
        Some(number) => PortRef::Number(number),
        None => PortRef::Name(at.text().to_owned()),
    }
}
