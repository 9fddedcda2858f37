//! Commands of WASI 0.3 that mean harm: what concurrency adds to what a guest can have its host
//! keep is counted, and others go on.

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Ended, Pod, Run, fetch, pods};

/// Runs one case, with a file at `/d/text`, and a memory limit where one is given.
fn harm(args: &[&str], memory: Option<&str>) -> anyhow::Result<Ended> {
    let run = Run::new()?.file("folder/text", &"text ".repeat(5_000))?;
    let mut fields = json!({"volumeMounts": [{"name": "d", "mountPath": "/d"}]});
    if let Some(memory) = memory {
        fields["resources"] = json!({"limits": {"memory": memory}});
    }
    let volume = json!({"volumes": [{"name": "d", "hostPath": {"path": run.path("folder")}}]});
    let pod = Pod::one("p3", args, fields).spec(volume).to_string();
    let run = run.file("pod.yaml", &pod)?;
    let path = run.path("pod.yaml");
    run.args(["-f", &path]).finish()
}

/// How far it came: the last power of two that it said.
fn reached(ended: &Ended) -> anyhow::Result<u64> {
    let logs = ended.said.logs("p", "c");
    let last = logs.last().and_then(|line| line.split(' ').nth(1));
    let last = last.and_then(|number| number.parse().ok());
    last.with_context(|| ended.said.transcript())
}

/// The trap of a guest that holds all the handles that it may.
const NO_HANDLE: &str = "cannot allocate another handle: store handle limit exceeded";
/// The trap of a guest for which the host holds all the ends of streams and futures that it may.
const NO_ENTRY: &str = "resource table has no free keys";

#[test]
fn streams_futures_and_subtasks_are_counted() -> anyhow::Result<()> {
    for (args, reaches, trap) in [
        (&["streams"][..], 1 << 14..=1 << 14, NO_HANDLE),
        (&["futures"], 1 << 14..=1 << 14, NO_HANDLE),
        (&["subtasks"], 1 << 15..=1 << 15, NO_HANDLE),
        (&["pipes"], 1 << 14..=1 << 14, NO_ENTRY),
        // A read is two entries while the file is read, and one afterwards.
        (&["reads", "/d/text"], 1 << 13..=1 << 14, NO_ENTRY),
    ] {
        let ended = harm(args, None)?;
        let transcript = ended.said.transcript();
        let end = ended.said.terminated("p", "c");
        assert_eq!(end["exitCode"], 134, "{args:?}: {transcript}");
        assert_eq!(end["reason"], "Error", "{args:?}: {transcript}");
        let told = end["message"].as_str().unwrap_or_default();
        assert_eq!(told.lines().next(), Some(trap), "{args:?}: {transcript}");
        let reached = reached(&ended)?;
        assert!(reaches.contains(&reached), "{args:?}: {transcript}");
    }
    Ok(())
}

#[test]
fn what_the_host_keeps_for_calls_under_way_is_the_containers_memory() -> anyhow::Result<()> {
    let ended = harm(&["paths", "4000"], Some("24Mi"))?;
    let transcript = ended.said.transcript();
    let end = ended.said.terminated("p", "c");
    assert_eq!(end["exitCode"], 137, "{transcript}");
    assert_eq!(end["reason"], "OOMKilled", "{transcript}");
    Ok(())
}

#[test]
fn memory_over_the_limit_ends_it() -> anyhow::Result<()> {
    let ended = harm(&["memory", "64"], Some("32Mi"))?;
    let transcript = ended.said.transcript();
    let end = ended.said.terminated("p", "c");
    assert_eq!(end["exitCode"], 137, "{transcript}");
    assert_eq!(end["reason"], "OOMKilled", "{transcript}");
    let reached = reached(&ended)?;
    assert!((16..32).contains(&reached), "{transcript}");
    Ok(())
}

#[test]
fn a_flood_of_output_is_taken_and_no_faster_than_it_is_read() -> anyhow::Result<()> {
    let ended = harm(&["flood", "16"], None)?;
    assert_eq!(ended.code, Some(0));
    let bytes: usize = ended
        .said
        .logs("p", "c")
        .iter()
        .map(|line| line.len() + 1)
        .sum();
    assert_eq!(bytes, 16 << 20);
    Ok(())
}

#[test]
fn those_that_compute_leave_room_for_others() -> anyhow::Result<()> {
    let mut spinners = Pod::new("spinners");
    for number in 0..10 {
        let case = if number % 2 == 0 { "spin" } else { "yield" };
        spinners = spinners.container(&format!("c{number}"), "p3", &[case], Value::Null);
    }
    let server = Pod::one(
        "net",
        &["page", "0.0.0.0:8080", "still here"],
        json!({
            "ports": [{"containerPort": 8080}],
            "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1},
        }),
    );
    let waiter = Pod::new("waiter").container("c", "p3", &["timers", "100", "20"], Value::Null);
    let mut running = Run::of(pods([&spinners, &server, &waiter]))?.start()?;
    running.wait_log("spinners", "c8", "spinning")?;
    running.wait_log("spinners", "c9", "yielding")?;
    let address = (running.wait_ready("p")?, 8080).into();
    for _ in 0..100 {
        assert!(fetch(address, "/")?.contains("still here"));
    }
    running.wait_log("waiter", "c", "timers 100")?;
    running.signal(Signal::INT)?;
    let ended = running.finish()?;
    assert_eq!(ended.code, Some(130));
    for spinner in ["c8", "c9"] {
        assert_eq!(ended.said.terminated("spinners", spinner)["exitCode"], 143);
    }
    Ok(())
}
