//! `cargo xtask demo`: from a clean clone to a page served by a pod, told step by step.
//!
//! It uses `wasmpod` as its users do, through the command line, and reads only what that prints.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::lines::{self, Running, Stream};
use crate::step::Steps;
use crate::toolchain::{ensure_wasm_targets, root, target};
use crate::{binaries, guests};

/// The pod: one container serves a page, the other asks it over localhost and writes what it got
/// into a volume that both share.
const MANIFEST: &str = "examples/pair/pod.yaml";

/// Where the page is served in the pod.
const PORT: u16 = 8080;

/// What the second container writes when it was answered over localhost; the page is whole then.
const ANSWERED: &str = "has answered";

/// How long each wait of the demo may last: compiling the two programs is the longest part of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Builds what is needed, runs the pod, fetches its page, and stops it.
pub(crate) fn run() -> anyhow::Result<()> {
    let start = Instant::now();
    let mut steps = Steps::default();
    steps.run("targets", ensure_wasm_targets)?;
    steps.run("guests", guests::build_examples)?;
    steps.run("toolbox", guests::build_toolbox)?;
    steps.run("wasmpod", binaries::build)?;
    println!(
        "\nBuilt in {:.1} s. Now the pod of {MANIFEST}:",
        start.elapsed().as_secs_f64()
    );
    show_pod()
}

fn show_pod() -> anyhow::Result<()> {
    let mut command = Command::new(binaries::wasmpod());
    command
        .current_dir(root())
        .args(["run", "--output", "json", "--data-dir"])
        .arg(target().join("demo"))
        .args(["-f", MANIFEST]);
    let start = Instant::now();
    let mut running = lines::start(&mut command)?;
    let outcome = visit(&mut running, start);
    if outcome.is_err() {
        // What started it ends it; it may be gone already.
        let _ = running.child.kill();
    }
    let status = running.child.wait()?;
    outcome?;
    // 130 is what Ctrl-C gives.
    if status.code() != Some(130) {
        bail!("wasmpod ended with {status} where Ctrl-C gives 130");
    }
    println!(
        "\nThat was all: no server, no daemon, nothing left behind. Next:\n\
         \x20 target/debug/wasmpod run -f {MANIFEST}      the same, for a person to read; Ctrl-C ends it\n\
         \x20 ls examples                                    one folder per idea, each runs as it stands\n\
         \x20 cargo xtask test                               every check of the project"
    );
    Ok(())
}

/// Waits for the pod, fetches its page, asks it to stop and reads on to its end.
fn visit(running: &mut Running, start: Instant) -> anyhow::Result<()> {
    let address = SocketAddr::new(wait_until_served(running)?, PORT);
    let served = start.elapsed().as_secs_f64() * 1e3;
    println!("\n-- both containers at work after {served:.0} ms; fetching http://{address}/");
    let start = Instant::now();
    let page = fetch(address).with_context(|| format!("http://{address}/ gave no page"))?;
    let took = start.elapsed();
    println!("{}", page.trim_end());
    println!(
        "-- that took {:.2} ms; now Ctrl-C\n",
        took.as_secs_f64() * 1e3
    );
    let start = Instant::now();
    interrupt(running)?;
    while let Some(line) = next_line(running)? {
        tell(&line);
    }
    println!(
        "\n-- stopped after {:.0} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}

/// The pod's address, once it has one and one container was answered by the other.
fn wait_until_served(running: &Running) -> anyhow::Result<IpAddr> {
    let mut address = None;
    let mut answered = false;
    while let Some(line) = next_line(running)? {
        tell(&line);
        if let Line::Json(value) = &line {
            address = pod_address(value).or(address);
            answered |= is_answer(value);
        }
        if let (Some(address), true) = (address, answered) {
            return Ok(address);
        }
    }
    bail!("wasmpod ended before the pod served its page: its own words are above");
}

/// The pod's address in a status line.
fn pod_address(line: &Value) -> Option<IpAddr> {
    line.pointer("/status/podIP")?.as_str()?.parse().ok()
}

/// Whether a log line says that one container answered the other.
fn is_answer(line: &Value) -> bool {
    let text = line.get("text").and_then(Value::as_str);
    text.is_some_and(|text| text.contains(ANSWERED))
}

/// One line that wasmpod printed.
enum Line {
    Json(Value),
    Text(String),
}

fn next_line(running: &Running) -> anyhow::Result<Option<Line>> {
    match running.lines.recv_timeout(PATIENCE) {
        Ok((Stream::Out, line)) => Ok(Some(
            serde_json::from_str(&line).map_or(Line::Text(line), Line::Json),
        )),
        Ok((Stream::Err, line)) => Ok(Some(Line::Text(line))),
        Err(RecvTimeoutError::Disconnected) => Ok(None),
        Err(RecvTimeoutError::Timeout) => {
            bail!(
                "wasmpod said nothing for {} s and did not end",
                PATIENCE.as_secs()
            )
        }
    }
}

/// Shows a line as a sentence.
fn tell(line: &Line) {
    let value = match line {
        Line::Text(text) => return println!("   {text}"),
        Line::Json(value) => value,
    };
    let word = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let who = format!("{} {}", word("pod"), word("container"));
    match word("type") {
        "log" => println!("   {who} | {}", word("text")),
        "event" => println!("   {who} * {}: {}", word("reason"), word("message")),
        "status" => {
            let phase = value.pointer("/status/phase").and_then(Value::as_str);
            let address = value.pointer("/status/podIP").and_then(Value::as_str);
            println!(
                "   {who} = {} {}",
                phase.unwrap_or("?"),
                address.unwrap_or_default()
            );
        }
        _ => println!("   {value}"),
    }
}

/// What Ctrl-C does.
fn interrupt(running: &Running) -> anyhow::Result<()> {
    let process = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(process, rustix::process::Signal::INT)
        .context("wasmpod could not be sent SIGINT")
}

/// A whole HTTP answer, head and body.
fn fetch(address: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 200") {
        bail!("the answer is not 200 OK:\n{answer}");
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_and_the_answer_are_found_in_their_lines() {
        let status =
            |address: &str| serde_json::json!({"type": "status", "status": {"podIP": address}});
        let log = |text: &str| serde_json::json!({"type": "log", "text": text});
        let cases = [
            (status("127.96.0.2"), Some("127.96.0.2"), false),
            (status(""), None, false),
            (
                log("question 1: the server at 127.0.0.1:8080 has answered 1"),
                None,
                true,
            ),
            (log("listening on 0.0.0.0:8080"), None, false),
        ];
        for (line, address, answer) in cases {
            let found = pod_address(&line).map(|address| address.to_string());
            assert_eq!(found.as_deref(), address, "{line}");
            assert_eq!(is_answer(&line), answer, "{line}");
        }
    }
}
