//! What only servers of WASI 0.3 can do.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

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
fn what_the_host_reads_can_be_an_answer_and_is_sent_to_its_end() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    // More than all buffers on the way hold.
    let length = 20 << 20;
    for reuse in ["1", "3"] {
        let mount = json!({
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            // No probe, whose requests would have instances too.
            "readinessProbe": {"tcpSocket": {"port": PORT}},
        });
        let annotations = json!({"annotations": {"wasmpod.dev/http-reuse": reuse}});
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("file"), vec![b'f'; length])?;
        let volume = json!({"name": "v", "hostPath": {"path": folder.path()}});
        let pod = server_of("http3", mount).spec(json!({"volumes": [volume]}));
        let (running, address) = start(Run::of(pod.metadata(annotations))?)?;
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            for _ in 0..4 {
                let answer = Curl::new().args([version]).get(address, "/stream/v/file")?;
                let is_whole = answer.body.len() == length;
                ensure!(is_whole, "{version} {reuse}: {}", answer.body.len());
            }
        }
        let answer = Curl::new()
            .args(["--head"])
            .get(address, "/stream/v/file")?;
        ensure!(answer.status == 200, "{answer:?}");
        stop(running)?;
    }
    Ok(())
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
fn a_client_that_has_left_a_silent_answer_is_noticed() -> anyhow::Result<()> {
    let (mut running, address) = start(Run::of(server_of("http3", Value::Null))?)?;
    let ask = |name: &str| -> anyhow::Result<TcpStream> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET /silent/{name} HTTP/1.1\r\nHost: p\r\n\r\n")?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            ensure!(stream.read(&mut byte)? == 1, "{name}: it ended");
            head.extend(byte);
        }
        Ok(stream)
    };
    let broken = ask("broken")?;
    rustix::net::sockopt::set_socket_linger(&broken, Some(Duration::ZERO))?;
    let closed = ask("closed")?;
    let half = ask("half")?;
    half.shutdown(Shutdown::Write)?;
    let begun = Instant::now();
    drop((broken, closed));
    running.wait_log("p", "c", "broken sent false")?;
    let took = begun.elapsed();
    ensure!(took < Duration::from_secs(20), "{took:?}");
    // Who has closed may only have said all, and so might hear more for half a minute.
    for name in ["closed", "half"] {
        running.wait_log("p", "c", &format!("{name} sent false"))?;
    }
    let took = begun.elapsed();
    ensure!(took > Duration::from_secs(25), "{took:?}");
    stop(running)
}

#[test]
fn a_guest_that_can_never_go_on_is_answered_for_at_once() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    let (mut running, address) = start(Run::of(server_of("http3", Value::Null))?)?;
    let begun = Instant::now();
    let answer = Curl::new().get(address, "/stuck")?;
    ensure!(answer.status == 500, "{answer:?}");
    // The time that a guest has for its answer is twice as long.
    let took = begun.elapsed();
    ensure!(took < Duration::from_secs(30), "{took:?}");
    running.wait_log("p", "c", "GET /stuck: wasm trap: deadlock detected")?;
    let answer = Curl::new().get(address, "/hello")?;
    ensure!(answer.status == 200, "{answer:?}");
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
