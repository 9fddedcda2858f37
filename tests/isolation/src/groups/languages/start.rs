//! One start: from before the process until it has done something for somebody.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::process::{self, Running};

/// How long a start may take, with the compilation of an interpreter in it.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a start took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Start {
    pub(super) took: Duration,
    /// The most memory of wasmpod's compiler, in KiB, where it ran and told.
    pub(super) peak_kib: Option<f64>,
}

/// What a server that is starting says.
enum Said {
    /// It listens.
    Up,
    /// Its compiler took so much memory.
    Peak(f64),
}

/// Runs a command to its successful end.
///
/// # Errors
/// When it fails, or does not end.
pub(super) fn ended(command: Command) -> anyhow::Result<Start> {
    let ended = process::run(command)?;
    Ok(Start {
        took: ended.took,
        peak_kib: ended.stderr.lines().find_map(peak),
    })
}

/// Starts a server, whose output has `up` in it once it listens, asks it once, and ends it.
///
/// # Errors
/// When it does not answer with 200.
pub(super) fn answered(
    command: Command,
    up: &'static str,
    address: SocketAddr,
    path: &str,
) -> anyhow::Result<Start> {
    let start = Instant::now();
    let mut running = Running::start(command)?;
    let (said, hear) = mpsc::channel();
    let stdout = running.take_stdout().context("a process without output")?;
    let stderr = running.take_stderr().context("a process without errors")?;
    let also = said.clone();
    thread::spawn(move || listen(stdout, up, &also));
    thread::spawn(move || listen(stderr, up, &said));
    let mut peak_kib = None;
    let left = |start: Instant| PATIENCE.saturating_sub(start.elapsed());
    while let Said::Peak(peak) = hear
        .recv_timeout(left(start))
        .context("it does not listen")?
    {
        peak_kib = Some(peak);
    }
    ask(address, path)?;
    let took = start.elapsed();
    Ok(Start { took, peak_kib })
}

/// Reads to the end, so that the server never waits for its reader, and tells what counts.
fn listen(output: impl Read, up: &str, said: &Sender<Said>) {
    let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
    for line in lines {
        let line = String::from_utf8_lossy(&line);
        let heard = if line.contains(up) {
            Some(Said::Up)
        } else {
            peak(&line).map(Said::Peak)
        };
        // Nobody hears it once the start is over.
        let _ = heard.map(|heard| said.send(heard));
    }
}

/// The peak in wasmpod's own message that it has compiled something.
fn peak(line: &str) -> Option<f64> {
    let message: Value = serde_json::from_str(line).ok()?;
    message.pointer("/fields/peak_kib")?.as_f64()
}

fn ask(address: SocketAddr, path: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 200") {
        bail!("it answers {answer:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_peak_is_read_from_a_message() {
        let cases = [
            (
                r#"{"level":"INFO","fields":{"message":"compiled","took_ms":812,"peak_kib":345678}}"#,
                Some(345_678.0),
            ),
            (r#"{"fields":{"message":"compiled","took_ms":812}}"#, None),
            (r#"{"type":"status","ready":true}"#, None),
            ("compiled", None),
        ];
        for (line, wanted) in cases {
            assert_eq!(peak(line), wanted, "{line}");
        }
    }
}
