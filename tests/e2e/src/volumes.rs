//! Volumes from outside: what a container finds, what it leaves, and what goes when the pod goes.

use std::fs;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Pod, Run};

/// A pod with one volume at `/data` of its container `c`, which runs the guest `fs`.
fn pod(args: &[&str], volume: Value) -> Pod {
    let mount = json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    Pod::one("fs", args, mount).spec(json!({"volumes": [volume_named("data", volume)]}))
}

fn volume_named(name: &str, mut volume: Value) -> Value {
    volume["name"] = json!(name);
    volume
}

/// Runs one manifest to its end and answers what container `c` of pod `p` said.
fn logs_of(manifest: impl std::fmt::Display) -> anyhow::Result<Vec<String>> {
    let ended = Run::of(manifest)?.finish()?;
    let logs: Vec<String> = ended
        .said
        .logs("p", "c")
        .into_iter()
        .map(str::to_owned)
        .collect();
    anyhow::ensure!(
        !logs.is_empty(),
        "no word of c in:\n{}",
        ended.said.transcript()
    );
    Ok(logs)
}

#[test]
fn a_guest_works_with_files_as_with_any_file_system() -> anyhow::Result<()> {
    let cases: [(&[&str], &[&str]); 7] = [
        (&["seek", "/data/f"], &["seek 012abc6789 tail 89"]),
        (&["race-rename", "/data", "200"], &["renamed 200"]),
        (&["names", "/data", "500"], &["names 500 ok"]),
        (
            &["mkdir", "/data/a", "/data/a", "/data/b/c"],
            &[
                "mkdir /data/a ok",
                "mkdir /data/a AlreadyExists",
                "mkdir /data/b/c NotFound",
            ],
        ),
        (&["remove", "/data/none"], &["remove /data/none NotFound"]),
        (&["write", "/data/f", "text"], &["wrote /data/f"]),
        (&["append", "/data/f", "text"], &["appended /data/f"]),
    ];
    for world in ["fs", "fs@p1"] {
        for (args, wanted) in cases {
            let mount = json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]});
            let pod = Pod::one(world, args, mount)
                .spec(json!({"volumes": [{"name": "data", "emptyDir": {}}]}));
            assert_eq!(logs_of(pod)?, wanted, "{world} {args:?}");
        }
    }
    Ok(())
}

#[test]
fn links_renames_and_lengths_within_a_volume() -> anyhow::Result<()> {
    let run = |command: &[&str]| {
        let folder = Run::new()?.file("data/f", "0123456789")?;
        let pod = pod(command, json!({"hostPath": {"path": folder.path("data")}}));
        let ended = folder
            .file("pod.yaml", &pod.to_string())?
            .args(["-f", "pod.yaml"])
            .finish()?;
        let listed = fs::read_dir(ended.home.path().join("data"))?;
        let mut names: Vec<String> = listed
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort();
        anyhow::Ok((ended.said.logs("p", "c").join("; "), names.join(" ")))
    };
    let cases: [(&[&str], &str, &str); 6] = [
        (&["rename", "/data/f", "/data/g"], "rename ok", "g"),
        (&["link", "/data/f", "/data/g"], "link ok", "f g"),
        (&["symlink", "f", "/data/g"], "symlink ok", "f g"),
        (&["truncate", "/data/f", "4"], "length 4", "f"),
        (
            &["stat", "/data/f", "/data"],
            "stat /data/f file 10; stat /data directory ",
            "f",
        ),
        (&["list", "/data"], "list /data 1; f file", "f"),
    ];
    for (command, said, names) in cases {
        let (logs, left) = run(command)?;
        assert!(logs.starts_with(said), "{command:?}: {logs}");
        assert_eq!(left, names, "{command:?}");
    }
    Ok(())
}

#[test]
fn a_symlink_is_read_as_it_was_written() -> anyhow::Result<()> {
    let run = Run::new()?.file("data/f", "text")?;
    std::os::unix::fs::symlink("f", run.path("data/link"))?;
    let pod = pod(
        &["readlink", "/data/link", "/data/f"],
        json!({"hostPath": {"path": run.path("data")}}),
    );
    let ended = run
        .file("pod.yaml", &pod.to_string())?
        .args(["-f", "pod.yaml"])
        .finish()?;
    let logs = ended.said.logs("p", "c");
    assert_eq!(
        logs[0],
        "readlink /data/link f",
        "{}",
        ended.said.transcript()
    );
    assert!(logs[1].starts_with("readlink /data/f error "), "{logs:?}");
    Ok(())
}

#[test]
fn an_absolute_link_of_a_volume_leads_through_the_mounts_and_a_guest_makes_none()
-> anyhow::Result<()> {
    for world in ["", "@p1"] {
        let run = Run::new()?.file("data/v1", "first")?;
        std::os::unix::fs::symlink("/data/v1", run.path("data/current"))?;
        let guest = format!("fs{world}");
        let mount = json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]});
        let pod = Pod::new("p")
            .container(
                "reads",
                &guest,
                &["read", "/data/v1", "/data/current"],
                mount.clone(),
            )
            .container(
                "links",
                &guest,
                &["symlink", "/data/v1", "/data/link"],
                mount,
            )
            .spec(json!({
                "restartPolicy": "Never",
                "volumes": [{"name": "data", "hostPath": {"path": run.path("data")}}],
            }));
        let ended = run
            .file("pod.yaml", &pod.to_string())?
            .args(["-f", "pod.yaml"])
            .finish()?;
        let told = ended.said.transcript();
        assert_eq!(
            ended.said.logs("p", "reads"),
            ["read /data/v1 first", "read /data/current first"],
            "{world}: {told}"
        );
        assert_eq!(
            ended.said.logs("p", "links"),
            ["symlink PermissionDenied"],
            "{world}: {told}"
        );
    }
    Ok(())
}

#[test]
fn the_containers_of_a_pod_share_a_volume_while_they_run() -> anyhow::Result<()> {
    for medium in ["", "Memory"] {
        let mount = json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]});
        let pod = Pod::new("p")
            .container(
                "reader",
                "fs",
                &["wait-for", "/data/f", "hello"],
                mount.clone(),
            )
            .container("writer", "fs", &["write", "/data/f", "hello"], mount)
            .spec(json!({"volumes": [{"name": "data", "emptyDir": {"medium": medium}}]}));
        let ended = Run::of(pod)?.finish()?;
        assert_eq!(
            ended.said.logs("p", "reader"),
            ["saw hello"],
            "{}",
            ended.said.transcript()
        );
    }
    Ok(())
}

#[test]
fn writing_is_refused_where_a_mount_or_the_root_is_read_only() -> anyhow::Result<()> {
    let pod = |path: &str, fields: Value| {
        let pod = Pod::one("fs", &["create", path], fields);
        pod.spec(json!({"volumes": [{"name": "data", "emptyDir": {}}]}))
    };
    let mount = |read_only| json!({"volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": read_only}]});
    let read_only_root = json!({"securityContext": {"readOnlyRootFilesystem": true}});
    let cases = [
        (pod("/data/f", mount(false)), "create /data/f ok"),
        (
            pod("/data/f", mount(true)),
            "create /data/f ReadOnlyFilesystem",
        ),
        (pod("/f", Value::Null), "create /f ok"),
        (pod("/f", read_only_root), "create /f ReadOnlyFilesystem"),
    ];
    for (pod, wanted) in cases {
        assert_eq!(logs_of(&pod)?, [wanted], "{pod}");
    }
    Ok(())
}

#[test]
fn a_mount_may_be_a_single_file_a_part_of_a_volume_or_lie_inside_another() -> anyhow::Result<()> {
    let run = Run::new()?
        .file("data/sub/f", "below")?
        .file("data/f", "above")?;
    let mounts = json!({
        "env": [{"name": "PART", "value": "sub"}],
        "volumeMounts": [
            {"name": "data", "mountPath": "/outer"},
            {"name": "data", "mountPath": "/outer/inner", "subPathExpr": "$(PART)"},
            {"name": "data", "mountPath": "/etc/single.conf", "subPath": "sub/f", "readOnly": true},
        ],
    });
    let args = [
        "read",
        "/outer/f",
        "/outer/inner/f",
        "/etc/single.conf",
        "/outer/inner/sub/f",
    ];
    let pod = Pod::one("fs", &args, mounts)
        .spec(json!({"volumes": [{"name": "data", "hostPath": {"path": run.path("data")}}]}));
    let ended = run
        .file("pod.yaml", &pod.to_string())?
        .args(["-f", "pod.yaml"])
        .finish()?;
    let wanted = [
        "read /outer/f above",
        "read /outer/inner/f below",
        "read /etc/single.conf below",
        "read /outer/inner/sub/f error NotFound",
    ];
    assert_eq!(
        ended.said.logs("p", "c"),
        wanted,
        "{}",
        ended.said.transcript()
    );
    Ok(())
}

#[test]
fn config_maps_secrets_and_the_downward_api_become_files() -> anyhow::Result<()> {
    let objects = "---\n{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"app\"}, \
        \"data\": {\"colour\": \"green\", \"shape\": \"round\"}}\n---\n{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \
        \"metadata\": {\"name\": \"keys\"}, \"data\": {\"key\": \"b3BlbiBzZXNhbWU=\"}}\n";
    let volume = json!({"projected": {"sources": [
        {"configMap": {"name": "app", "items": [{"key": "colour", "path": "deep/down/colour"}]}},
        {"secret": {"name": "keys"}},
        {"configMap": {"name": "nobody", "optional": true}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]}});
    let args = [
        "read",
        "/data/deep/down/colour",
        "/data/key",
        "/data/name",
        "/data/shape",
    ];
    let wanted = [
        "read /data/deep/down/colour green",
        "read /data/key open sesame",
        "read /data/name p",
        "read /data/shape error NotFound",
    ];
    assert_eq!(logs_of(format!("{objects}{}", pod(&args, volume)))?, wanted);
    Ok(())
}

#[test]
fn every_container_finds_the_files_that_kubernetes_puts_there() -> anyhow::Result<()> {
    let aliases = json!({"hostname": "web", "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["elsewhere"]}]});
    let pod = Pod::one(
        "fs",
        &["read", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname"],
        Value::Null,
    );
    let logs = logs_of(pod.spec(aliases))?;
    for part in ["127.0.0.1", "localhost", "192.0.2.7", "elsewhere", "web"] {
        assert!(logs[0].contains(part), "{part}: {logs:?}");
    }
    assert!(!logs[1].contains("error"), "{logs:?}");
    assert_eq!(logs[2], "read /etc/hostname web");
    Ok(())
}

#[test]
fn what_a_container_writes_to_its_termination_log_becomes_its_message() -> anyhow::Result<()> {
    let ended = Run::of(Pod::one(
        "fs",
        &["write", "/dev/termination-log", "farewell"],
        Value::Null,
    ))?
    .finish()?;
    let transcript = ended.said.transcript();
    assert_eq!(
        ended.said.terminated("p", "c")["message"],
        "farewell",
        "{transcript}"
    );
    Ok(())
}

#[test]
fn a_host_path_is_seen_as_it_is_at_that_moment() -> anyhow::Result<()> {
    let run = Run::new()?.file("data/f", "first entry")?;
    let pod = pod(
        &["wait-for", "/data/f", "second"],
        json!({"hostPath": {"path": run.path("data"), "type": "Directory"}}),
    );
    let mut running = run
        .file("pod.yaml", &pod.to_string())?
        .args(["-f", "pod.yaml"])
        .start()?;
    running.wait_container("p", "c", "a running container", |c| {
        c["state"]["running"].is_object()
    })?;
    fs::write(running.home().join("data/f"), "second entry")?;
    assert_eq!(running.finish()?.code, Some(0));
    Ok(())
}

#[test]
fn a_host_path_is_of_its_type_or_the_pod_waits_and_says_why() -> anyhow::Result<()> {
    let cases = [
        ("Directory", "nowhere", false),
        ("File", "folder", false),
        ("Directory", "file", false),
        ("Socket", "file", false),
        ("DirectoryOrCreate", "made", true),
        ("FileOrCreate", "touched", true),
    ];
    for (kind, name, is_fine) in cases {
        let run = Run::new()?.file("folder/x", "")?.file("file", "")?;
        let path = run.path(name);
        let pod = pod(
            &["stat", "/data"],
            json!({"hostPath": {"path": path, "type": kind}}),
        );
        let mut running = run
            .file("pod.yaml", &pod.to_string())?
            .args(["-f", "pod.yaml"])
            .start()?;
        if is_fine {
            running.wait_log("p", "c", "stat /data")?;
            continue;
        }
        let told = running.wait_for("FailedMount", |line| {
            line.event("p", "FailedMount").cloned()
        })?;
        let message = told["message"].as_str().context("an event has a message")?;
        assert!(
            message.contains(&path) && message.contains("data"),
            "{kind}: {message}"
        );
    }
    Ok(())
}

#[test]
fn a_config_map_that_nobody_has_is_told_before_anything_starts() -> anyhow::Result<()> {
    let ended = Run::of(pod(
        &["list", "/data"],
        json!({"configMap": {"name": "nobody"}}),
    ))?
    .finish()?;
    assert!(
        ended.said.text().contains("nobody"),
        "{}",
        ended.said.transcript()
    );
    assert!(!matches!(ended.code, Some(0 | 130)), "{:?}", ended.code);
    Ok(())
}

#[test]
fn nothing_of_a_pod_is_left_when_it_has_gone() -> anyhow::Result<()> {
    let pod = pod(
        &["write-hold", "/data/f", "scratch"],
        json!({"emptyDir": {}}),
    );
    let mut running = Run::of(pod)?.private_data().start()?;
    running.wait_log("p", "c", "wrote /data/f")?;
    running.signal(Signal::INT)?;
    let ended = running.finish()?;
    let pods = ended.home.path().join("data/pods");
    let left: Vec<_> = fs::read_dir(&pods)
        .map(|entries| {
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect()
        })
        .unwrap_or_default();
    assert!(left.is_empty(), "{left:?}: {}", ended.said.transcript());
    Ok(())
}

#[test]
fn what_is_written_to_memory_counts_as_the_containers_own() -> anyhow::Result<()> {
    let fields = |memory: &str| {
        json!({
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "resources": {"limits": {"memory": memory}},
        })
    };
    let volume = json!({"volumes": [{"name": "data", "emptyDir": {"medium": "Memory"}}]});
    for world in ["", "@p1"] {
        let guest = format!("fs{world}");
        let pod = Pod::one(&guest, &["fill", "/data/big", "64"], fields("8Mi"));
        let ended = Run::of(pod.spec(volume.clone()))?.finish()?;
        let transcript = ended.said.transcript();
        let end = ended.said.terminated("p", "c");
        assert_eq!(end["reason"], "OOMKilled", "{world}: {transcript}");
        assert_eq!(end["exitCode"], 137, "{world}: {transcript}");
        for word in ["of it files in volumes of medium Memory", "8.0 MiB (peak "] {
            assert!(
                ended.said.text().contains(word) || transcript.contains(word),
                "{word}: {transcript}"
            );
        }
        assert_eq!(
            ended.said.logs("p", "c"),
            [""; 0],
            "it is told nothing: {transcript}"
        );

        // What one container left behind is not the next one's, and bounded by the volume, which
        // is as large as all containers may be together.
        let pod = Pod::new("p")
            .init("left", &guest, &["fill", "/data/left", "5"], fields("8Mi"))
            .container("c", &guest, &["fill", "/data/more", "2"], fields("8Mi"))
            .spec(volume.clone());
        let ended = Run::of(pod)?.finish()?;
        let transcript = ended.said.transcript();
        assert_eq!(
            ended.said.logs("p", "c"),
            ["written_bytes 2097152 limit"],
            "{world}: {transcript}"
        );
    }
    Ok(())
}

#[test]
fn a_pod_that_writes_more_than_it_may_is_evicted_unless_it_writes_to_memory() -> anyhow::Result<()>
{
    let mount = || json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    let limited = json!({"resources": {"limits": {"ephemeral-storage": "1Mi"}}});
    let volume = |medium: &str| json!({"volumes": [{"name": "data", "emptyDir": {"medium": medium, "sizeLimit": "1Mi"}}]});
    let cases = [
        (
            Pod::one("fs", &["fill", "/data/big", "2"], mount()).spec(volume("")),
            "Usage of EmptyDir volume \"data\" exceeds the limit \"1Mi\". ",
        ),
        (
            Pod::one("fs", &["fill", "/big", "2"], limited),
            "Container c exceeded its local ephemeral storage limit \"1Mi\". ",
        ),
        (
            Pod::one("fs", &["fill", "/data/big", "2"], mount()).spec(volume("Memory")),
            "",
        ),
    ];
    for (pod, message) in cases {
        let ended = Run::of(&pod)?.finish()?;
        let transcript = ended.said.transcript();
        let status = ended.said.status("p");
        if message.is_empty() {
            // An evicted guest may be stopped before it can tell.
            let full = ended.said.logs("p", "c").join("\n");
            assert!(full.starts_with("written_bytes 1048576 "), "{transcript}");
            assert_eq!(status["phase"], "Succeeded", "{transcript}");
            assert_eq!(status["reason"], Value::Null, "{transcript}");
            continue;
        }
        assert_eq!(status["phase"], "Failed", "{transcript}");
        assert_eq!(status["reason"], "Evicted", "{transcript}");
        assert_eq!(status["message"], message, "{transcript}");
        let mut events = ended.said.lines.iter();
        let told = events.find_map(|line| line.event("p", "Evicted"));
        let told = told.map(|event| (&event["severity"], &event["message"]));
        let wanted = (json!("Warning"), json!(message));
        assert_eq!(told, Some((&wanted.0, &wanted.1)), "{transcript}");
        assert!(matches!(ended.code, Some(1 | 143)), "{transcript}");
    }
    Ok(())
}

#[test]
fn files_of_this_machine_are_opened_as_the_user_who_runs_wasmpod_or_not_at_all()
-> anyhow::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let pod = |user: u32, path: &str| {
        pod(&["read", "/data/f"], json!({"hostPath": {"path": path}}))
            .spec(json!({"securityContext": {"runAsUser": user}}))
    };
    for (user, refused) in [(own, false), (own + 1, true)] {
        let run = Run::new()?.file("data/f", "text")?;
        let pod = pod(user, &run.path("data"));
        let ended = run
            .file("pod.yaml", &pod.to_string())?
            .args(["-f", "pod.yaml"])
            .finish()?;
        let told = ended.said.transcript();
        if refused {
            let remedy = format!("run wasmpod as user {user}, or leave out runAsUser");
            assert!(told.contains("spec.securityContext.runAsUser"), "{told}");
            assert!(told.contains(&remedy), "{told}");
            assert_eq!(ended.code, Some(125), "{told}");
        } else {
            assert_eq!(ended.said.logs("p", "c"), ["read /data/f text"], "{told}");
        }
    }
    Ok(())
}

#[test]
fn a_working_directory_is_made_and_told() -> anyhow::Result<()> {
    let mount = json!([{"name": "data", "mountPath": "/data"}]);
    let fields = json!({"workingDir": "/data/deep/er", "volumeMounts": mount});
    let volumes = json!({"volumes": [{"name": "data", "emptyDir": {}}]});
    for world in ["", "@p1"] {
        for (guest, args, wanted) in [
            ("host", ["env", "PWD"], "env PWD=/data/deep/er"),
            (
                "fs",
                ["stat", "/data/deep/er"],
                "stat /data/deep/er directory",
            ),
        ] {
            let pod = Pod::one(&format!("{guest}{world}"), &args, fields.clone());
            let ended = Run::of(pod.spec(volumes.clone()))?.finish()?;
            let told = ended.said.transcript();
            let logs = ended.said.logs("p", "c");
            assert!(
                logs.first().is_some_and(|log| log.starts_with(wanted)),
                "{told}"
            );
            let mut lines = ended.said.lines.iter();
            assert!(
                lines.any(|line| line.event("p", "WorkingDirTold").is_some()),
                "{told}"
            );
        }
    }
    Ok(())
}

#[test]
fn commands_begin_in_the_working_directory() -> anyhow::Result<()> {
    let run = Run::new()?.file("d/readme", "")?;
    let hook = json!({"exec": {"command": ["sh", "-c", "echo begun > here"]}});
    let fields = json!({
        "workingDir": "/d/work",
        "lifecycle": {"postStart": hook},
        "volumeMounts": [{"name": "d", "mountPath": "/d"}],
    });
    let pod = Pod::one("life", &["deaf"], fields)
        .spec(json!({"volumes": [{"name": "d", "hostPath": {"path": run.path("d")}}]}));
    let mut running = run
        .file("pod.yaml", &pod.to_string())?
        .args(["-f", "pod.yaml"])
        .start()?;
    running.wait_ready("p")?;
    assert_eq!(
        fs::read_to_string(running.home().join("d/work/here"))?,
        "begun\n"
    );
    Ok(())
}

#[test]
fn a_working_directory_that_cannot_be_made_keeps_its_container_from_starting() -> anyhow::Result<()>
{
    let fields = json!({
        "workingDir": "/work",
        "securityContext": {"readOnlyRootFilesystem": true},
    });
    let ended = Run::of(Pod::one("host", &["args"], fields))?.finish()?;
    let told = ended.said.transcript();
    let end = ended.said.terminated("p", "c");
    assert_eq!(end["reason"], "StartError", "{told}");
    let message = end["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("mkdir /work: read-only file system"),
        "{message}"
    );
    assert_eq!(ended.code, Some(128), "{told}");
    Ok(())
}
