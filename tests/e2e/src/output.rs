//! What a run prints and nobody reads: who waits then, and who does not.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Line, Pod, Run, Running, fetch, guest, wasmpod};
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
    // After its sidecar: the server listens, and its door stands open.
    wait_event(&mut running, "loud/c: Normal Started")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for _ in 0..100 {
        assert!(fetch(address, "/")?.contains("still here"));
    }
    running.signal(Signal::INT)?;
    wait_event(&mut running, "loud/server: Normal Killing")?;
    wait_event(&mut running, "loud/c: Normal Killing")?;
    // Another one, as the same one twice at once would count as one.
    running.signal(Signal::TERM)?;
    let ended = running.finish()?;
    assert_eq!(ended.code, Some(130), "{}", ended.said.transcript());
    Ok(())
}

#[test]
fn a_stop_ends_although_nobody_reads() -> anyhow::Result<()> {
    let pod = loud().spec(json!({"terminationGracePeriodSeconds": 0}));
    let mut running = Run::of(pod)?.unread().start()?;
    wait_event(&mut running, "loud/c: Normal Started")?;
    running.signal(Signal::TERM)?;
    let ended = running.finish()?;
    assert_eq!(ended.code, Some(143), "{}", ended.said.transcript());
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

#[test]
fn events_and_lines_come_in_the_order_in_which_they_happened() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let image = format!("file:{}", guest("hello")?.display());
    let pod = Pod::one("hello", &[], Value::Null).init("i", "hello", &[], Value::Null);
    let manifest = folder.path().join("pod.yaml");
    std::fs::write(&manifest, pod.to_string().replace("guest:hello", &image))?;
    for placement in ["task", "child"].repeat(10) {
        // Both streams into one pipe.
        let output = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 2>&1"])
            .arg(wasmpod()?)
            .args(["run", "--placement", placement, "--data-dir"])
            .arg(folder.path().join("data"))
            .arg("-f")
            .arg(&manifest)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let mut lines = said.lines();
        for (who, what) in [
            ("p/i: ", "Normal Started"),
            ("p/i | ", "Hello"),
            ("p/c: ", "Normal Started"),
            ("p/c | ", "Hello"),
        ] {
            let found = lines.any(|line| line.contains(who) && line.contains(what));
            assert!(found, "no {who}{what} in its place:\n{said}");
        }
        let event = said
            .lines()
            .find(|line| line.contains("p/i: Normal Started"));
        let time = event
            .and_then(|event| event.split(' ').next())
            .unwrap_or_default();
        let shape: String = time
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert_eq!(shape, "00:00:00.000Z", "{said}");
    }
    Ok(())
}
