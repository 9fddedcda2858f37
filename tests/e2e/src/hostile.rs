//! Guests that mean harm, through WASI 0.2 and preview 1: each is contained, with the reason in
//! its container's status, and the run goes on to its end.
//!
//! How fast others are answered meanwhile is measured by the isolation bench, not asserted here.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use anyhow::Context as _;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::harness::{Ended, Pod, Run};

/// What no guest may get to see.
const SECRET: &str = "the host's own secret";

/// Both ways for a guest to reach its host.
const WORLDS: [&str; 2] = ["", "@p1"];

/// Runs one container to its end.
fn run(guest: &str, args: &[&str], fields: Value) -> anyhow::Result<Ended> {
    Run::of(Pod::one(guest, args, fields))?.finish()
}

/// A pod whose container has a folder of the host at `/data`, and what lies around that folder.
fn with_folder(guest: &str, args: &[&str]) -> anyhow::Result<Run> {
    let run = Run::new()?
        .file("outside/secret.txt", SECRET)?
        .file("inside/own.txt", "its own")?;
    let pod = Pod::one(
        guest,
        args,
        json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]}),
    )
    .spec(json!({"volumes": [{"name": "data", "hostPath": {"path": run.path("inside")}}]}));
    Ok(run
        .file("pod.yaml", &pod.to_string())?
        .args(["-f", "pod.yaml"]))
}

#[test]
fn no_name_of_localhost_leads_to_a_server_of_this_machine() -> anyhow::Result<()> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    server.set_nonblocking(true)?;
    let port = server.local_addr()?.port();
    let hosts = [
        "127.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "sneaky",
        "p",
    ];
    let addresses: Vec<String> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
    let mut args = vec!["connect"];
    args.extend(addresses.iter().map(String::as_str));
    let pod = Pod::one("net", &args, Value::Null)
        .spec(json!({"hostAliases": [{"ip": "127.0.0.1", "hostnames": ["sneaky"]}]}));
    let ended = Run::of(pod)?.finish()?;
    let logs = ended.said.logs("p", "c");
    assert_eq!(logs.len(), hosts.len(), "{}", ended.said.transcript());
    for (log, address) in logs.iter().zip(&addresses) {
        // WASI knows no IPv4 on an IPv6 socket.
        let error = match address.contains("ffff") {
            true => "InvalidInput",
            false => "ConnectionRefused",
        };
        assert_eq!(*log, format!("connect {address} {error}"));
    }
    let nobody = server
        .accept()
        .expect_err("a guest reached this machine's server");
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    Ok(())
}

#[test]
fn the_metadata_address_of_clouds_is_out_of_reach() -> anyhow::Result<()> {
    let ended = run("net", &["connect", "169.254.169.254:80"], Value::Null)?;
    let logs = ended.said.logs("p", "c");
    assert_eq!(logs.len(), 1, "{}", ended.said.transcript());
    assert!(!logs[0].contains(" ok "), "{}", logs[0]);
    Ok(())
}

#[test]
fn a_datagram_cannot_be_sent_in_another_name() -> anyhow::Result<()> {
    for source in ["8.8.8.8:53", "192.0.2.1:53", "169.254.1.1:53"] {
        let ended = run(
            "net",
            &["udp-send", "127.0.0.1:9999", "x", source],
            Value::Null,
        )?;
        let transcript = ended.said.transcript();
        assert_eq!(
            ended.said.terminated("p", "c")["exitCode"],
            1,
            "{source}: {transcript}"
        );
        assert_eq!(ended.said.logs("p", "c").len(), 1, "{source}: {transcript}");
    }
    Ok(())
}

#[test]
fn no_path_leads_out_of_a_volume() -> anyhow::Result<()> {
    for world in WORLDS {
        let ended = with_folder(&format!("fs{world}"), &["escape", "/data", "/"])?.finish()?;
        let transcript = ended.said.transcript();
        let logs = ended.said.logs("p", "c");
        assert!(
            logs.iter().any(|log| log.starts_with("escape")),
            "{transcript}"
        );
        for log in logs {
            for leak in [SECRET, "secret.txt", "root:", "PATH="] {
                assert!(!log.contains(leak), "{world}: {log}");
            }
        }
        assert!(!ended.home.path().join("way-out").exists(), "{transcript}");
    }
    Ok(())
}

#[test]
fn a_link_of_the_host_inside_a_volume_does_not_lead_out() -> anyhow::Result<()> {
    for world in WORLDS {
        let guest = format!("fs{world}");
        let paths = ["/data/file", "/data/folder/secret.txt", "/data/own.txt"];
        let run = with_folder(&guest, &["read", paths[0], paths[1], paths[2]])?;
        symlink(run.path("outside/secret.txt"), run.path("inside/file"))?;
        symlink("../outside", run.path("inside/folder"))?;
        let ended = run.finish()?;
        let logs = ended.said.logs("p", "c").join("\n");
        assert!(!logs.contains(SECRET), "{world}: {logs}");
        assert!(
            logs.contains("read /data/own.txt its own"),
            "{world}: {logs}"
        );
    }
    Ok(())
}

#[test]
fn a_link_swapped_while_it_is_opened_does_not_lead_out() -> anyhow::Result<()> {
    let run = Run::new()?
        .file("outside/name", SECRET)?
        .file("inside/inner/name", "its own")?;
    let mount = json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    let pod = Pod::new("p")
        .container(
            "swap",
            "fs",
            &["swap", "/data", "20000", "../outside"],
            mount.clone(),
        )
        .container("chase", "fs", &["chase", "/data", "20000", "name"], mount)
        .spec(json!({"volumes": [{"name": "data", "hostPath": {"path": run.path("inside")}}]}));
    let ended = run
        .file("pod.yaml", &pod.to_string())?
        .args(["-f", "pod.yaml"])
        .finish()?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.code, Some(0), "{transcript}");
    let caught = ended.said.logs("p", "chase");
    assert!(
        !caught.iter().any(|log| log.contains(SECRET)),
        "the race was won"
    );
    Ok(())
}

#[test]
fn a_fifo_does_not_hold_its_opener() -> anyhow::Result<()> {
    for world in WORLDS {
        let run = with_folder(
            &format!("fs{world}"),
            &["open", "/data/fifo", "/data/own.txt"],
        )?;
        mknodat(CWD, run.path("inside/fifo"), FileType::Fifo, Mode::RWXU, 0)?;
        let ended = run.finish()?;
        let logs = ended.said.logs("p", "c");
        assert!(
            logs.contains(&"open /data/own.txt ok"),
            "{world}: {}",
            ended.said.transcript()
        );
    }
    Ok(())
}

#[test]
fn memory_beyond_the_limit_ends_the_container_with_its_reason() -> anyhow::Result<()> {
    let limit = json!({"resources": {"limits": {"memory": "32Mi"}}});
    for world in WORLDS {
        for case in [&["grow", "64"][..], &["steps", "256"]] {
            let ended = run(&format!("mem{world}"), case, limit.clone())?;
            let transcript = ended.said.transcript();
            let end = ended.said.terminated("p", "c");
            assert_eq!(end["reason"], "OOMKilled", "{case:?}{world}: {transcript}");
            assert_eq!(end["exitCode"], 137, "{case:?}{world}: {transcript}");
            assert!(
                end["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("MiB")),
                "{end}"
            );
        }
    }
    Ok(())
}

#[test]
fn memory_beyond_the_limit_in_a_command_ends_its_container_too() -> anyhow::Result<()> {
    for world in WORLDS {
        let hook = json!({"exec": {"command": ["own", "grow", "64"]}});
        let fields = json!({
            "command": ["own"],
            "lifecycle": {"postStart": hook},
            "resources": {"limits": {"memory": "32Mi"}},
        });
        let ended = run(&format!("mem{world}"), &["hold", "1"], fields)?;
        let transcript = ended.said.transcript();
        let end = ended.said.terminated("p", "c");
        assert_eq!(end["reason"], "OOMKilled", "{world}: {transcript}");
        assert_eq!(end["exitCode"], 137, "{world}: {transcript}");
    }
    Ok(())
}

#[test]
fn what_the_host_keeps_for_http_counts_as_the_containers_memory() -> anyhow::Result<()> {
    let limit = json!({"resources": {"limits": {"memory": "32Mi"}}});
    for (args, wanted) in [
        (&["fields", "100"][..], "Completed"),
        (&["fields"], "OOMKilled"),
        // Of small ones there are not so many that it would matter: the guest's own limit ends it.
        (&["resources"], "Error"),
    ] {
        let ended = run("http-client", args, limit.clone())?;
        let end = ended.said.terminated("p", "c");
        assert_eq!(
            end["reason"],
            wanted,
            "{args:?} {}",
            ended.said.transcript()
        );
    }
    Ok(())
}

#[test]
fn a_stack_without_end_ends_its_container_only() -> anyhow::Result<()> {
    for world in WORLDS {
        let ended = run(&format!("mem{world}"), &["recurse"], Value::Null)?;
        let transcript = ended.said.transcript();
        assert_eq!(
            ended.said.terminated("p", "c")["exitCode"],
            134,
            "{world}: {transcript}"
        );
        assert_eq!(ended.code, Some(134), "{world}: {transcript}");
    }
    Ok(())
}

#[test]
fn handles_are_counted() -> anyhow::Result<()> {
    let refused = |ended: &Ended, start: &str| {
        let logs = ended.said.logs("p", "c").join("\n");
        let line = logs
            .lines()
            .find(|line| line.starts_with(start))
            .map(str::to_owned);
        line.with_context(|| format!("no `{start}` in:\n{}", ended.said.transcript()))
    };
    for world in WORLDS {
        let files = with_folder(&format!("fs{world}"), &["handles", "/data/own.txt"])?.finish()?;
        let line = refused(&files, "handles ")?;
        assert!(!line.ends_with(" ok"), "{world}: {line}");
    }
    let sockets = run("net", &["sockets"], Value::Null)?;
    refused(&sockets, "refused after ")?;
    Ok(())
}

#[test]
fn pollables_and_random_bytes_are_limited() -> anyhow::Result<()> {
    let pollables = run("host", &["pollables"], Value::Null)?;
    let end = pollables.said.terminated("p", "c");
    assert_ne!(end["exitCode"], 0, "{}", pollables.said.transcript());
    assert!(
        end["message"].as_str().is_some_and(|text| !text.is_empty()),
        "{end}"
    );
    // One call may not make the host set aside what the guest names.
    let random = run("host", &["random", "1024", "1073741824"], Value::Null)?;
    assert_ne!(
        random.said.terminated("p", "c")["exitCode"],
        0,
        "{}",
        random.said.transcript()
    );
    Ok(())
}

#[test]
fn control_characters_do_not_reach_a_terminal() -> anyhow::Result<()> {
    // Not a terminal here: the bytes come through as JSON strings, whole and in order.
    let ended = run("host", &["bytes"], Value::Null)?;
    let logs = ended.said.logs("p", "c").join("\n");
    assert!(logs.contains("after"), "{}", ended.said.transcript());
    assert_eq!(ended.said.stray(), "", "a raw byte broke a line of JSON");
    Ok(())
}

#[test]
fn a_flood_of_log_lines_and_a_line_without_end_are_taken_or_dropped() -> anyhow::Result<()> {
    for case in [&["log", "16"][..], &["line", "8000000"]] {
        let ended = run("host", case, Value::Null)?;
        assert_eq!(ended.code, Some(0), "{case:?}");
        let longest = ended
            .said
            .logs("p", "c")
            .iter()
            .map(|line| line.len())
            .max();
        assert!(
            longest.is_some_and(|longest| longest <= 64 * 1024),
            "{case:?}: {longest:?}"
        );
    }
    Ok(())
}

#[test]
fn spinning_guests_leave_room_for_others() -> anyhow::Result<()> {
    let mut spinners = Pod::new("spinners");
    for number in 0..50 {
        spinners = spinners.container(&format!("c{number}"), "cpu", &["spin"], Value::Null);
    }
    let server = Pod::one(
        "net",
        &["page", "0.0.0.0:8080", "still here"],
        json!({
            "ports": [{"containerPort": 8080}],
            "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1},
        }),
    );
    let mut running = Run::of(crate::harness::pods([&spinners, &server]))?.start()?;
    running.wait_log("spinners", "c49", "spinning")?;
    let address = (running.wait_ready("p")?, 8080).into();
    for _ in 0..100 {
        assert!(crate::harness::fetch(address, "/")?.contains("still here"));
    }
    running.signal(rustix::process::Signal::INT)?;
    let ended = running.finish()?;
    assert_eq!(ended.code, Some(130));
    // A spinner imports no end of its own, so SIGTERM is enough.
    assert_eq!(ended.said.terminated("spinners", "c49")["exitCode"], 143);
    Ok(())
}

#[test]
fn a_trap_and_a_panic_are_told_with_their_place() -> anyhow::Result<()> {
    for world in WORLDS {
        for case in [&["trap"][..], &["panic", "on purpose"]] {
            let ended = run(&format!("host{world}"), case, Value::Null)?;
            let transcript = ended.said.transcript();
            let end = ended.said.terminated("p", "c");
            assert_eq!(end["exitCode"], 134, "{case:?}{world}: {transcript}");
            assert_eq!(end["reason"], "Error", "{case:?}{world}: {transcript}");
            let message = end["message"].as_str().unwrap_or_default();
            assert!(
                message.contains("unreachable"),
                "{case:?}{world}: {message}"
            );
        }
    }
    Ok(())
}

#[test]
fn what_a_guest_may_write_is_limited_where_its_volume_is() -> anyhow::Result<()> {
    for world in WORLDS {
        let mount = json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]});
        let pod = Pod::one(&format!("fs{world}"), &["fill", "/data/big", "64"], mount).spec(
            json!({"volumes": [{
                // On disk its pod would be evicted, perhaps before the guest can tell.
                "name": "data", "emptyDir": {"sizeLimit": "4Mi", "medium": "Memory"},
            }]}),
        );
        let ended = Run::of(pod)?.finish()?;
        let transcript = ended.said.transcript();
        let logs = ended.said.logs("p", "c").join("\n");
        let written = logs
            .strip_prefix("written_bytes ")
            .and_then(|rest| rest.split(' ').next());
        let written: u64 = written.context(transcript.clone())?.parse()?;
        assert!(written <= 4 * 1024 * 1024, "{world}: {transcript}");
        assert!(
            // std for wasm32-wasip2 has no name for a full device.
            ["StorageFull", "QuotaExceeded", "Uncategorized"]
                .iter()
                .any(|kind| logs.contains(kind)),
            "{transcript}"
        );
    }
    Ok(())
}

#[test]
fn the_file_system_of_the_host_is_not_there_at_all() -> anyhow::Result<()> {
    let marker = tempfile::NamedTempFile::new()?;
    fs::write(marker.path(), SECRET)?;
    let path = marker.path().to_string_lossy().into_owned();
    for world in WORLDS {
        let ended = run(
            &format!("fs{world}"),
            &["read", &path, "/etc/passwd", "/proc/self/environ"],
            Value::Null,
        )?;
        let logs = ended.said.logs("p", "c");
        assert_eq!(logs.len(), 3, "{}", ended.said.transcript());
        assert!(
            logs.iter().all(|log| log.contains(" error ")),
            "{world}: {logs:?}"
        );
    }
    Ok(())
}
