//! Answers to requests that their guests do not read to the end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::ensure;
use serde_json::Value;

use super::curl::{Curl, has_curl};
use super::{SERVERS, server, server_of, start, stop};
use crate::harness::{PATIENCE, Run, skip};

/// Sends a head with these fields, and then a body, whoever reads it.
fn post(stream: &mut TcpStream, fields: &str, body: &[u8]) -> anyhow::Result<()> {
    let length = body.len();
    let head = format!("POST /hello HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())?;
    Ok(())
}

#[test]
fn who_is_answered_before_all_is_sent_gets_the_answer() -> anyhow::Result<()> {
    for guest in SERVERS {
        let (running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        // A guest may let go of a body later than it has answered, when it is too late to say more.
        for (fields, status, said) in [
            ("Host: p\r\n", "HTTP/1.1 200 ", "hello 1 \n"),
            ("", "HTTP/1.1 400 ", "connection: close\r\n"),
        ] {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            // More than all buffers on the way hold, and nothing is read before all is sent.
            post(&mut stream, fields, &vec![b'x'; 16 << 20])?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let is_it = answer.starts_with(status) && answer.contains(said);
            ensure!(is_it, "{guest} {fields}: {answer}");
        }
        stop(running)?;
    }
    Ok(())
}

#[test]
fn a_short_body_that_nobody_reads_costs_no_connection() -> anyhow::Result<()> {
    for guest in SERVERS {
        let (running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        for _ in 0..2 {
            post(&mut stream, "Host: p\r\n", b"body")?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n0\r\n\r\n") {
                let mut some = [0; 4096];
                let count = stream.read(&mut some)?;
                answer.extend_from_slice(&some[..count]);
                ensure!(count > 0, "{guest}: {}", String::from_utf8_lossy(&answer));
            }
            let answer = String::from_utf8(answer)?;
            ensure!(answer.contains("hello 1 \n"), "{guest}: {answer}");
            ensure!(!answer.contains("connection: close"), "{guest}: {answer}");
        }
        drop(stream);
        stop(running)?;
    }
    Ok(())
}

/// Some clients take a reset for a failure, though the answer was whole before.
#[test]
fn a_body_that_nobody_reads_ends_no_stream_of_http2_with_a_reset() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for guest in SERVERS {
        let (running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        // Less and more than a client may send before anything of it is taken.
        for length in [4, 60_000, 100_000] {
            let body = "x".repeat(length);
            let asking = Curl::new().args(["--http2-prior-knowledge", "--data-binary", &body]);
            let answer = asking.get(address, "/hello")?;
            ensure!(answer.status == 200, "{guest} {length}: {answer:?}");
            ensure!(answer.body == "hello 1 \n", "{guest} {length}: {answer:?}");
        }
        stop(running)?;
    }
    Ok(())
}

#[test]
fn who_is_refused_for_his_head_learns_it_and_so_does_the_log() -> anyhow::Result<()> {
    let (mut running, address) = start(Run::of(server(Value::Null))?)?;
    // More than all buffers on the way hold, and nothing is read before all is sent.
    let long = format!(
        "GET / HTTP/1.1\r\nHost: p\r\nX: {}\r\n\r\n",
        "x".repeat(16 << 20)
    );
    for (head, status, told) in [
        (
            long.as_bytes(),
            "HTTP/1.1 431 ",
            "64 KiB and 128 fields are the most",
        ),
        (
            &b"\x16\x03\x01\x02\x00\x01\r\n\r\n"[..],
            "HTTP/1.1 400 ",
            "a request is refused: invalid HTTP",
        ),
    ] {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(head)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with(status), "{answer}");
        running.wait_log("p", "c", told)?;
    }
    stop(running)
}
