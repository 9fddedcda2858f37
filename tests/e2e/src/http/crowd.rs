//! More clients at once than a server takes, or than its pod has sockets for.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, getrlimit};
use serde_json::Value;

use super::{server, start, stop};
use crate::harness::{PATIENCE, PLACEMENTS, Run, skip};

/// Twice what a server takes at once, and half as many again as its pod's sockets of the kernel.
const CLIENTS: usize = 1500;

/// For their ends here, the server's, and all else.
const DESCRIPTORS: u64 = 8192;

#[test]
fn who_finds_no_place_waits_and_is_served() -> anyhow::Result<()> {
    let current = getrlimit(Resource::Nofile).current;
    if current.is_some_and(|current| current < DESCRIPTORS) {
        return skip("needs 8,192 descriptors: run it with `ulimit -n 8192`");
    }
    for placement in PLACEMENTS {
        let run = Run::of(server(Value::Null))?.placed(placement);
        let (running, address) = start(run)?;
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let client = TcpStream::connect(address);
            let client = client.with_context(|| format!("{placement}: client {number}"))?;
            client.set_read_timeout(Some(PATIENCE))?;
            clients.push(client);
        }
        for mut client in &clients {
            client.write_all(b"GET /hello HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n")?;
        }
        for (number, mut client) in clients.into_iter().enumerate() {
            let mut answer = String::new();
            let read = client.read_to_string(&mut answer);
            read.with_context(|| format!("{placement}: client {number}"))?;
            ensure!(answer.starts_with("HTTP/1.1 200 "), "{number}: {answer}");
        }
        stop(running)?;
    }
    Ok(())
}
