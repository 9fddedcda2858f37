//! Guests that call others.

use anyhow::ensure;
use serde_json::{Value, json};

use super::curl::{Curl, has_curl};
use super::{PORT, SERVERS, server_of, start, stop};
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
    let pairs = [("http", "http"), ("http", "http3"), ("http3", "http")];
    for (placement, (front, back)) in PLACEMENTS
        .into_iter()
        .flat_map(|at| pairs.map(|pair| (at, pair)))
    {
        let pod = Pod::new("back").container(
            "c",
            back,
            &[],
            json!({
                "ports": [{"containerPort": 80}],
                "readinessProbe": {"httpGet": {"path": "/hello", "port": 80}, "periodSeconds": 1},
            }),
        );
        let both = pods([&pod, &server_of(front, Value::Null)]);
        let run = Run::of(both)?.placed(placement);
        let (mut running, address) = start(run)?;
        running.wait_ready("back")?;
        let asking = Curl::new().field("x-url", "http://back/hello");
        let answer = asking.get(address, "/call")?;
        ensure!(
            answer.body == "200 hello 1 \n",
            "{placement}, {front} asks {back}: {answer:?}"
        );
        stop(running)?;
    }
    Ok(())
}

#[test]
fn a_target_is_no_longer_than_everybody_understands() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for guest in SERVERS {
        let (running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        for (length, wanted) in [
            (8 << 10, "404 no such path"),
            ((8 << 10) + 1, "error no such URL"),
        ] {
            let url = format!("http://localhost:{PORT}/{}", "a".repeat(length - 1));
            let answer = Curl::new().field("x-url", &url).get(address, "/call")?;
            let told = answer.body.get(..wanted.len());
            ensure!(
                told == Some(wanted),
                "{guest} {length}: {:?}",
                answer.status
            );
        }
        stop(running)?;
    }
    Ok(())
}

#[test]
fn more_requests_than_may_be_under_way_wait_in_line() -> anyhow::Result<()> {
    let sidecar = json!({
        "restartPolicy": "Always",
        "startupProbe": {"httpGet": {"path": "/hello", "port": 8080}, "periodSeconds": 1},
    });
    let args = ["many", "http://127.0.0.1:8080/pause/100", "600"];
    let pod = Pod::new("p")
        .init("server", "http", &[], sidecar)
        .container("c", "http-client", &args, Value::Null);
    let ended = Run::of(pod)?.finish()?;
    let logs = ended.said.logs("p", "c");
    ensure!(logs == ["600 answered"], "{}", ended.said.transcript());
    Ok(())
}
