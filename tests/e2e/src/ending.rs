//! How a run ends where it cannot run: what is refused before anything starts, what ends it when it
//! fails, and with which exit code.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Pod, Run, guest, wasmpod};

fn hello() -> Pod {
    Pod::one("hello", &[], Value::Null)
}

/// A copy of the program in a folder, with or without its compiler.
fn installed(folder: &Path, compiler: Option<&str>) -> anyhow::Result<Command> {
    let copy = folder.join("wasmpod");
    fs::copy(wasmpod()?, &copy)?;
    if let Some(text) = compiler {
        let path = folder.join("wasmpod-compile");
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    let mut command = Command::new(copy);
    command
        .arg("run")
        .arg("--data-dir")
        .arg(folder.join("data"));
    Ok(command)
}

#[test]
fn a_missing_compiler_is_refused_before_anything_runs() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("pod.yaml");
    let image = guest("hello")?;
    let pod = hello().to_string();
    fs::write(
        &manifest,
        pod.replace("guest:hello", &format!("file:{}", image.display())),
    )?;
    let single = [image.as_os_str()];
    let several = ["-f".as_ref(), manifest.as_os_str()];
    for arguments in [&single[..], &several[..]] {
        let output = installed(folder.path(), None)?.args(arguments).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{told}");
        for part in [
            "wasmpod-compile is missing",
            "install it beside wasmpod",
            "WASMPOD_COMPILE",
        ] {
            assert!(told.contains(part), "`{part}` is not told, but:\n{told}");
        }
        assert_eq!(fs::read_dir(folder.path().join("data/pods"))?.count(), 0);
    }
    Ok(())
}

#[test]
fn an_image_that_cannot_be_had_ends_a_run_without_manifest() -> anyhow::Result<()> {
    let image = guest("hello")?;
    for format in ["text", "json"] {
        let folder = tempfile::tempdir()?;
        let compiler = "#!/bin/sh\necho 'no \x1b[1mspace' >&2\nexit 1\n";
        let mut command = installed(folder.path(), Some(compiler))?;
        if format == "json" {
            command.args(["--output", format]);
        }
        let output = command.arg(&image).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        let said = String::from_utf8_lossy(&output.stdout);
        let why = "exit status: 1: no ";
        assert_eq!(output.status.code(), Some(125), "{told}");
        if format == "json" {
            let last = said.lines().last().unwrap_or_default();
            let summary: Value = serde_json::from_str(last)?;
            assert_eq!(summary["exitCode"], 125, "{summary}");
            let error = summary["error"].as_str().unwrap_or_default();
            assert!(error.contains(why), "{summary}");
        } else {
            assert_eq!(said, "", "{told}");
            assert!(told.starts_with("error: image \"file:"), "{told}");
            assert!(told.contains(why), "{told}");
            assert!(!told.contains('\x1b'), "{told}");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
    }
    // Not wasm, although it begins like it.
    let ended = Run::new()?
        .file("bad.wasm", "\0asm and no more")?
        .args(["bad.wasm"])
        .for_a_person()
        .finish()?;
    let told = ended.said.text();
    assert_eq!(ended.code, Some(125), "{told}");
    assert!(told.contains("error: image \"file:bad.wasm\""), "{told}");
    Ok(())
}

#[test]
fn an_unusable_data_directory_is_refused_before_anything_runs() -> anyhow::Result<()> {
    type Spoil = fn(&Path) -> std::io::Result<()>;
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    let not_a_folder: Spoil = |data| File::create(data).map(drop);
    let for_everybody: Spoil = |data| {
        fs::create_dir_all(data.join("pods"))?;
        fs::set_permissions(data.join("pods"), fs::Permissions::from_mode(0o777))
    };
    let itself: Spoil = |data| {
        fs::create_dir(data)?;
        fs::set_permissions(data, fs::Permissions::from_mode(0o775))
    };
    for (spoil, part) in [
        (itself, "may be written to by somebody else"),
        (not_a_folder, "cannot make the data directory"),
        (for_everybody, "may be written to by somebody else"),
    ] {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        spoil(&data)?;
        let ended = Run::of(hello())?.data(&data).finish()?;
        let told = ended.said.text();
        assert_eq!(ended.code, Some(125), "{told}");
        assert!(told.contains(part), "`{part}` is not told, but:\n{told}");
        assert!(told.contains("--data-dir"), "{told}");
    }
    // Root may write anywhere but to what is mounted so.
    if !rustix::process::geteuid().is_root() {
        let folder = tempfile::tempdir()?;
        mode(folder.path(), 0o500)?;
        let ended = Run::of(hello())?
            .data(&folder.path().join("data"))
            .finish()?;
        mode(folder.path(), 0o700)?;
        assert_eq!(ended.code, Some(125), "{}", ended.said.text());
    }
    Ok(())
}

#[test]
fn output_that_cannot_be_written_is_told_and_no_success() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let full = || File::options().write(true).open("/dev/full");
    let image = guest("hello")?;
    let jobs = guest("jobs")?;
    for (image, code) in [(&image, 74), (&jobs, 1)] {
        let output = Command::new(wasmpod()?)
            .args(["run", "--output", "json", "--data-dir"])
            .arg(data.path())
            .arg(image)
            .stdin(Stdio::null())
            .stdout(full()?)
            .stderr(Stdio::piped())
            .output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        let last = "error: output is lost: standard output cannot be written to: No space left";
        assert!(
            told.lines()
                .last()
                .is_some_and(|line| line.starts_with(last)),
            "{told}"
        );
    }
    Ok(())
}

#[test]
fn every_signal_that_asks_for_the_end_stops_gracefully() -> anyhow::Result<()> {
    for (signal, code) in [
        (Signal::HUP, 129),
        (Signal::INT, 130),
        (Signal::QUIT, 131),
        (Signal::TERM, 143),
    ] {
        let mut running = Run::of(Pod::one("pair-server", &[], Value::Null))?.start()?;
        running.wait_log("p", "c", "listening")?;
        running.signal(signal)?;
        let ended = running.finish()?;
        let transcript = ended.said.transcript();
        assert_eq!(ended.code, Some(code), "{transcript}");
        let end = &ended.said.terminated("p", "c")["exitCode"];
        assert_eq!(*end, 143, "{transcript}");
    }
    Ok(())
}

#[test]
fn every_mistake_of_the_command_line_ends_with_125() -> anyhow::Result<()> {
    let cases: [(&[&str], &[&str]); 4] = [
        (&[], &["IMAGE", "-f FILE"]),
        (&["--no-such-option"], &["--no-such-option"]),
        (&["--memory", "64m", "x.wasm"], &["thousandths", "\"64Mi\""]),
        (&["-f", "x", "x.wasm"], &["cannot be used with"]),
    ];
    for (arguments, parts) in cases {
        let ended = Run::new()?
            .args(arguments.iter().copied())
            .for_a_person()
            .finish()?;
        let told = ended.said.text();
        for part in parts {
            assert!(told.contains(part), "`{part}` is not told, but:\n{told}");
        }
        assert_eq!(ended.code, Some(125), "{told}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_met_is_told_at_its_very_place() -> anyhow::Result<()> {
    let manifest = "apiVersion: v1
kind: Pod
metadata:
  name: p
spec:
  nodeName: elsewhere
  runtimeClassName: kata
  containers:
    - name: c
      image: guest:hello
      env:
        - name: A
          valueFrom:
            configMapKeyRef:
              name: settings
              key: absent
    - name: d
      image: file:nowhere.wasm
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  present: x
";
    let ended = Run::of(manifest)?.finish()?;
    let told = ended.said.text();
    for part in [
        "pod.yaml:6:13: error: spec.nodeName: ",
        "pod.yaml:7:21: error: spec.runtimeClassName: ",
        "pod.yaml:16:20: error: spec.containers[0].env[0].valueFrom.configMapKeyRef.key: ",
        "pod.yaml:18:14: error: spec.containers[1].image: Invalid value: \"file:nowhere.wasm\": cannot open ",
        "error: nothing was run: 4 errors to mend",
    ] {
        assert!(told.contains(part), "`{part}` is not told, but:\n{told}");
    }
    assert_eq!(ended.code, Some(125), "{told}");
    Ok(())
}

#[test]
fn a_scheduler_of_its_own_is_a_warning() -> anyhow::Result<()> {
    let ended = Run::of(hello().spec(json!({"schedulerName": "mine"})))?.finish()?;
    let told = ended.said.text();
    assert!(told.contains("warning: spec.schedulerName: "), "{told}");
    assert_eq!(ended.code, Some(0), "{told}");
    Ok(())
}

#[test]
fn the_runtime_class_of_processes_gives_a_pod_one() -> anyhow::Result<()> {
    let pod = |class: &str| {
        Pod::one("pair-server", &[], Value::Null).spec(json!({"runtimeClassName": class}))
    };
    for (class, children) in [("wasmpod", 0), ("wasmpod-process", 1)] {
        let mut running = Run::of(pod(class))?.start()?;
        running.wait_log("p", "c", "listening")?;
        let process = running.process().as_raw_nonzero();
        let mut found = 0;
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let text = fs::read_to_string(thread?.path().join("children"))?;
            found += text.split_whitespace().count();
        }
        assert_eq!(found, children, "{class}");
    }
    Ok(())
}

#[test]
fn storage_without_a_limit_is_what_the_machine_has() -> anyhow::Result<()> {
    let variable = |name: &str, resource: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": "1Mi"}}});
    let env = json!({"env": [
        variable("GREETING", "limits.ephemeral-storage"), variable("R", "requests.ephemeral-storage"),
    ]});
    let ended = Run::of(Pod::one("config", &[], env))?.finish()?;
    let logs = ended.said.logs("p", "c").join("\n");
    let value = logs.split("$GREETING = ").nth(1).unwrap_or_default();
    let value: u64 = value
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .parse()?;
    assert!(value > 0, "{logs}");
    Ok(())
}

#[test]
fn a_sidecar_has_no_say_in_the_exit_code() -> anyhow::Result<()> {
    for code in ["3", "0"] {
        let sidecar = json!({"restartPolicy": "Always"});
        let pod = Pod::new("p")
            .init("beside", "life", &["deaf"], sidecar)
            .container("c", "host", &["exit", code], Value::Null)
            .spec(json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 0}));
        let ended = Run::of(pod)?.finish()?;
        assert_eq!(
            ended.code.map(|code| code.to_string()).as_deref(),
            Some(code),
            "{}",
            ended.said.transcript()
        );
    }
    Ok(())
}

#[test]
fn a_published_port_that_is_taken_is_refused() -> anyhow::Result<()> {
    let tcp = std::net::TcpListener::bind("0.0.0.0:0")?;
    let udp = std::net::UdpSocket::bind("0.0.0.0:0")?;
    let (tcp, udp) = (&tcp.local_addr()?.port(), &udp.local_addr()?.port());
    for (port, publish) in [(tcp, format!("{tcp}:80")), (udp, format!("{udp}:80/udp"))] {
        let image = guest("hello")?;
        let image = image.to_string_lossy();
        let ended = Run::new()?
            .args(["--publish", &publish, &image])
            .for_a_person()
            .finish()?;
        let told = ended.said.text();
        assert_eq!(ended.code, Some(125), "{told}");
        let part = format!("port {port} of this machine is taken");
        assert!(told.contains(&part), "{told}");
    }
    Ok(())
}

#[test]
fn a_directory_of_proc_is_refused() -> anyhow::Result<()> {
    let image = guest("hello")?;
    let image = image.to_string_lossy();
    for path in ["/proc:/p", "/proc/self/:/p:ro"] {
        let run = Run::new()?.args(["--dir", path, &image]).for_a_person();
        let ended = run.finish()?;
        let told = ended.said.text();
        assert_eq!(ended.code, Some(125), "{told}");
        assert!(told.contains("nothing of /proc is offered"), "{told}");
    }
    Ok(())
}
