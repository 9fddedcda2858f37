//! Modules of WASI preview 1: listeners that they are given, one poll over everything, and calls
//! as no library makes them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::harness::{Ended, PATIENCE, Pod, Run, fetch, has_c_compiler, skip};

/// Two declared ports, named.
fn ports() -> Value {
    json!({"ports": [{"name": "http", "containerPort": 8080}, {"name": "admin", "containerPort": 8081}]})
}

/// A declared port that is asked for until it answers: a listener listens from the module's first
/// accept or poll on, and not before.
fn probed_port(port: u16) -> Value {
    json!({
        "ports": [{"containerPort": port}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
    })
}

/// Runs the C guest of odd calls.
fn raw(args: &[&str]) -> anyhow::Result<Ended> {
    Run::of(Pod::one("raw1@p1", args, Value::Null))?.finish()
}

#[test]
fn declared_ports_are_listeners_that_the_module_is_told_of() -> anyhow::Result<()> {
    let ended = Run::of(Pod::one("sockets1@p1", &["listeners"], ports()))?.finish()?;
    let logs = ended.said.logs("p", "c");
    assert_eq!(logs[0], "LISTEN_FDS 2", "{}", ended.said.transcript());
    assert_eq!(logs[1], "LISTEN_FDNAMES http:admin");
    // From 3 on, as sd_listen_fds(3) says.
    assert_eq!(logs.get(2..), Some(&["listener 3", "listener 4"][..]));
    Ok(())
}

#[test]
fn a_module_serves_on_every_listener_it_is_given() -> anyhow::Result<()> {
    let pod = Pod::one("sockets1@p1", &["page", "old but well"], ports());
    let mut running = Run::of(pod)?.start()?;
    running.wait_log("p", "c", "serving 2")?;
    let address = running.wait_ready("p")?;
    assert_eq!(fetch((address, 8080).into(), "/")?, "old but well 0\n");
    assert_eq!(fetch((address, 8081).into(), "/")?, "old but well 1\n");
    Ok(())
}

#[test]
fn modules_and_components_of_one_pod_talk_over_localhost() -> anyhow::Result<()> {
    let pod = Pod::new("p")
        .container(
            "server",
            "sockets1@p1",
            &["echo", "1"],
            json!({"ports": [{"containerPort": 7000}]}),
        )
        .container(
            "client",
            "net",
            &["rtt", "127.0.0.1:7000", "100"],
            Value::Null,
        );
    let ended = Run::of(pod)?.finish()?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.code, Some(0), "{transcript}");
    assert!(
        ended
            .said
            .logs("p", "client")
            .contains(&"round_trips 100 of 64 bytes"),
        "{transcript}"
    );
    Ok(())
}

#[test]
fn one_poll_waits_for_listeners_and_connections_together() -> anyhow::Result<()> {
    if !has_c_compiler() {
        return skip("the guest poll1 needs clang");
    }
    let pod = Pod::one("poll1@p1", &["20"], probed_port(7000));
    let mut running = Run::of(pod)?.start()?;
    running.wait_log("p", "c", "serving 1, LISTEN_FDS 1")?;
    let address = running.wait_ready("p")?;
    let mut connections = Vec::new();
    for _ in 0..10 {
        let connection = TcpStream::connect((address, 7000))?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connections.push(connection);
    }
    // The last one first: whoever waits for one connection only would wait for ever.
    for round in 0..2_u8 {
        for (number, connection) in connections.iter_mut().enumerate().rev() {
            let message = [round, u8::try_from(number)?];
            connection.write_all(&message)?;
            let mut answer = [0; 2];
            connection.read_exact(&mut answer)?;
            assert_eq!(answer, message);
        }
    }
    let ended = running.finish()?;
    assert!(
        ended.said.logs("p", "c").contains(&"done"),
        "{}",
        ended.said.transcript()
    );
    assert_eq!(ended.code, Some(0));
    Ok(())
}

#[test]
fn calls_that_no_library_makes_are_answered_or_trapped() -> anyhow::Result<()> {
    if !has_c_compiler() {
        return skip("the guest raw1 needs clang");
    }
    // What it is asked to do, and whether it must go on and say so.
    let cases: [(&[&str], Option<&str>); 9] = [
        (&["poll", "10"], Some("ready 1")),
        (&["poll", "100000"], None),
        (&["random", "1000"], Some("random 0")),
        (&["random", "1000000000"], None),
        (&["vectors", "10"], Some("vectors 0")),
        (&["vectors", "10000000"], None),
        (&["pointers"], None),
        (&["renumber"], Some("renumber 0")),
        (&["closed"], Some("closed 8")),
    ];
    for (args, wanted) in cases {
        let ended = raw(args)?;
        let transcript = ended.said.transcript();
        assert!(
            ended.said.terminated("p", "c").is_object(),
            "{args:?}: {transcript}"
        );
        if let Some(wanted) = wanted {
            assert!(
                ended.said.logs("p", "c").contains(&wanted),
                "{args:?}: {transcript}"
            );
        }
    }
    Ok(())
}

#[test]
fn exit_codes_of_preview_1_are_kept_to_a_byte() -> anyhow::Result<()> {
    if !has_c_compiler() {
        return skip("the guest raw1 needs clang");
    }
    for code in [0, 7, 255] {
        let ended = raw(&["exit", &code.to_string()])?;
        assert_eq!(ended.code, Some(code), "{}", ended.said.transcript());
    }
    let ended = raw(&["exit", "70000"])?;
    let code = ended.said.terminated("p", "c")["exitCode"].as_i64();
    assert!(
        code.is_some_and(|code| (1..=255).contains(&code)),
        "{}",
        ended.said.transcript()
    );
    Ok(())
}

#[test]
fn odd_names_open_nothing_outside() -> anyhow::Result<()> {
    if !has_c_compiler() {
        return skip("the guest raw1 needs clang");
    }
    let ended = raw(&["paths"])?;
    let transcript = ended.said.transcript();
    for name in [
        "..",
        "../etc/passwd",
        "/etc/passwd",
        "",
        "a/../../etc/passwd",
    ] {
        let opened = format!("path \"{name}\" 0");
        assert!(
            !ended.said.logs("p", "c").contains(&opened.as_str()),
            "{name}: {transcript}"
        );
    }
    let preopens = raw(&["preopens"])?;
    assert!(
        preopens.said.logs("p", "c").contains(&"preopen 0"),
        "{}",
        preopens.said.transcript()
    );
    Ok(())
}
