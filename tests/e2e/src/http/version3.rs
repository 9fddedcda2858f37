//! What only servers of WASI 0.3 can do.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::ensure;
use serde_json::{Value, json};

use super::curl::{Curl, has_curl};
use super::{PORT, server_of, start, stop};
use crate::harness::{PATIENCE, Pod, Run, skip};

#[test]
fn the_body_of_a_request_can_be_that_of_its_answer() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    let (running, address) = start(Run::of(server_of("http3", Value::Null))?)?;
    let length = 5 << 20;
    let sent = running.home().join("sent");
    std::fs::write(&sent, vec![b'f'; length])?;
    let body = format!("@{}", sent.display());
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let curl = Curl::new().args([version, "--data-binary", &body, "--header", "Expect:"]);
        let answer = curl.get(address, "/forward")?;
        let is_whole = answer.body.len() == length && answer.body.bytes().all(|b| b == b'f');
        ensure!(is_whole, "{version}: {} bytes came back", answer.body.len());
    }
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        b"POST /forward HTTP/1.1\r\nHost: p\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\
          Connection: close\r\n\r\n5\r\nfirst\r\n0\r\nx-sum: 5\r\n\r\n",
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.ends_with("0\r\nx-sum: 5\r\n\r\n"), "{answer}");
    stop(running)
}

#[test]
fn a_guest_learns_whether_its_answer_was_sent() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    let (mut running, address) = start(Run::of(server_of("http3", Value::Null))?)?;
    let answer = Curl::new().get(address, "/sent")?;
    ensure!(answer.body == "sent\n", "{answer:?}");
    running.wait_log("p", "c", "sent true")?;
    stop(running)
}

#[test]
fn a_guest_waits_for_several_at_once() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    let at = |port: u16| {
        let probe = json!({"httpGet": {"path": "/hello", "port": port}, "periodSeconds": 1});
        json!({"ports": [{"containerPort": port}], "readinessProbe": probe})
    };
    let pod = Pod::new("p")
        .container("c", "http3", &[], at(PORT))
        .container("slow", "http", &[], at(8081));
    let (running, address) = start(Run::of(pod)?)?;
    let asking = Curl::new().field("x-url", "http://localhost:8081/pause/1000");
    let answer = asking.get(address, "/both")?.body;
    let took = answer.trim().strip_prefix("true ");
    let took: u64 = took.and_then(|took| took.parse().ok()).unwrap_or(u64::MAX);
    // One after the other they would take two seconds.
    ensure!((1000..2000).contains(&took), "{answer}");
    stop(running)
}
