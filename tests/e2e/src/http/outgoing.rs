//! Guests that call others.

use anyhow::ensure;
use serde_json::{Value, json};

use super::curl::{Curl, has_curl};
use super::{server, start, stop};
use crate::harness::{PLACEMENTS, Pod, Run, pods, skip};

/// What clients are told, by what they ask.
const ANSWERS: [(&[&str], &str); 11] = [
    (&["get", "http://localhost:8080/hello"], "200 hello 1"),
    (&["get", "http://p:8080/env/NONE"], "200 "),
    (&["get", "http://[::1]:8080/hello"], "200 hello 1"),
    (
        &["post", "http://127.0.0.1:8080/count", "3000000"],
        "200 3000000",
    ),
    (&["get", "http://127.0.0.1:9/"], "error ConnectionRefused"),
    (&["get", "http://no-such-name.invalid/"], "error DnsError"),
    (
        &["get", "http://169.254.169.254/"],
        "error HttpRequestDenied",
    ),
    (
        &["get", "http://127.0.0.1:8080/slow/3000", "300"],
        "error HttpResponseTimeout",
    ),
    (
        &["get", "https://127.0.0.1:8080/"],
        "error TlsProtocolError",
    ),
    (
        &["get", "http://127.0.0.1:8080/trap"],
        "500 the component failed",
    ),
    // Of a body that breaks off guests are told that it does; the library has no code for why.
    (&["get", "http://127.0.0.1:8080/cut"], "error InternalError"),
];

#[test]
fn a_command_calls_others_and_learns_why_it_cannot() -> anyhow::Result<()> {
    let sidecar = json!({
        "restartPolicy": "Always",
        "startupProbe": {"httpGet": {"path": "/hello", "port": 8080}, "periodSeconds": 1},
    });
    let mut pod = Pod::new("p").init("server", "http", &[], sidecar);
    for (at, (args, _)) in ANSWERS.iter().enumerate() {
        pod = pod.container(&format!("c{at}"), "http-client", args, Value::Null);
    }
    let ended = Run::of(pod)?.finish()?;
    let transcript = ended.said.transcript();
    for (at, (args, wanted)) in ANSWERS.iter().enumerate() {
        let logs = ended.said.logs("p", &format!("c{at}"));
        let is_told = logs.first().is_some_and(|line| line.starts_with(wanted));
        ensure!(is_told, "{args:?}: {logs:?}\n{transcript}");
    }
    ensure!(ended.code == Some(0), "{transcript}");
    Ok(())
}

#[test]
fn a_server_calls_a_server_of_another_pod() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for placement in PLACEMENTS {
        let back = Pod::new("back").container(
            "c",
            "http",
            &[],
            json!({
                "ports": [{"containerPort": 80}],
                "readinessProbe": {"httpGet": {"path": "/hello", "port": 80}, "periodSeconds": 1},
            }),
        );
        let both = pods([&back, &server(Value::Null)]);
        let run = Run::of(both)?.placed(placement);
        let (mut running, address) = start(run)?;
        running.wait_ready("back")?;
        let asking = Curl::new().field("x-url", "http://back/hello");
        let answer = asking.get(address, "/call")?;
        ensure!(answer.body == "200 hello 1 \n", "{placement}: {answer:?}");
        stop(running)?;
    }
    Ok(())
}
