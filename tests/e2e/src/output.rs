//! What a run prints and nobody reads: who waits then, and who does not.

use std::net::{Ipv4Addr, SocketAddr};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Line, Pod, Run, Running, fetch};
use crate::network::free_port;

/// A pod that writes far more than a pipe takes.
fn loud() -> Pod {
    Pod::new("loud").container("c", "host", &["log", "1000"], Value::Null)
}

/// Waits for an event on standard error.
fn wait_event(running: &mut Running, text: &str) -> anyhow::Result<()> {
    running.wait_for(text, |line| match line {
        Line::Text(line) => line.contains(text).then_some(()),
        Line::Told(_) | Line::Stray(_) => None,
    })
}

#[test]
fn output_that_nobody_reads_holds_back_the_guest_that_writes_and_nothing_else() -> anyhow::Result<()>
{
    let port = free_port()?;
    let server = json!({
        "restartPolicy": "Always",
        "ports": [{"containerPort": 8080, "hostPort": port}],
        "startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    });
    let page = ["page", "0.0.0.0:8080", "still here"];
    let mut running = Run::of(loud().init("server", "net", &page, server))?
        .unread()
        .start()?;
    // After its sidecar: the server listens.
    wait_event(&mut running, "loud/c: Normal Started")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for _ in 0..100 {
        assert!(fetch(address, "/")?.contains("still here"));
    }
    running.signal(Signal::INT)?;
    wait_event(&mut running, "loud/server: Normal Killing")?;
    wait_event(&mut running, "loud/c: Normal Killing")?;
    running.signal(Signal::INT)?;
    let ended = running.finish()?;
    assert_eq!(ended.code, Some(130), "{}", ended.said.transcript());
    Ok(())
}

#[test]
fn a_run_whose_reader_goes_ends_as_if_by_sigpipe() -> anyhow::Result<()> {
    let mut running = Run::of(loud())?.unread().start()?;
    wait_event(&mut running, "loud/c: Normal Started")?;
    running.leave();
    let ended = running.finish()?;
    let text = ended.said.text();
    assert!(text.contains("loud/c: Normal Killing"), "{text}");
    assert_eq!(ended.code, Some(141), "{text}");
    Ok(())
}
