//! Commands of WASI 0.3: what they ask of their host, in every placement, and how they end. Those
//! that mean harm, and what concerns their sockets, stand beside.

mod harm;
mod net;

use std::cell::Cell;
use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Ended, PLACEMENTS, Pod, Run};

/// A volume at `/d` that the guest may write to.
fn with_volume(args: &[&str]) -> Pod {
    let mount = json!({"volumeMounts": [{"name": "d", "mountPath": "/d"}]});
    Pod::one("p3", args, mount).spec(json!({"volumes": [{"name": "d", "emptyDir": {}}]}))
}

/// The lines that it must have printed, in order and no others; it must have ended well.
fn said(ended: &Ended, wanted: &[&str]) {
    let transcript = ended.said.transcript();
    assert_eq!(ended.code, Some(0), "{transcript}");
    assert_eq!(ended.said.logs("p", "c"), wanted, "{transcript}");
}

#[test]
fn a_command_runs_in_every_placement() -> anyhow::Result<()> {
    for placement in PLACEMENTS {
        let args = &["args", "one", "", "three words here"];
        let ended = Run::of(Pod::one("p3", args, Value::Null))?.placed(placement);
        said(
            &ended.finish()?,
            &[
                "arg 0 one",
                "arg 1 ",
                "arg 2 three words here",
                "program p3.wasm",
            ],
        );
        let pod = with_volume(&["write-read", "/d/text", "hello, file"]);
        said(
            &Run::of(pod)?.placed(placement).finish()?,
            &[
                "all hello, file",
                "parts ell|o, |fil|e",
                "beyond 0",
                "size 11 DescriptorType::RegularFile",
            ],
        );
        let mut running = Run::of(Pod::one("p3", &["graceful"], Value::Null))?
            .placed(placement)
            .start()?;
        running.wait_log("p", "c", "waiting")?;
        running.signal(Signal::INT)?;
        let ended = running.finish()?;
        let transcript = ended.said.transcript();
        assert_eq!(
            ended.said.terminated("p", "c")["exitCode"],
            0,
            "{transcript}"
        );
        let last = ended
            .said
            .logs("p", "c")
            .last()
            .map(|line| (*line).to_owned());
        assert_eq!(last.as_deref(), Some("stopped"), "{transcript}");
    }
    Ok(())
}

#[test]
fn it_is_given_its_environment_its_folder_and_no_terminal() -> anyhow::Result<()> {
    let fields = json!({
        "env": [{"name": "COLOUR", "value": "blue\nand green"}],
        "workingDir": "/d",
        "volumeMounts": [{"name": "d", "mountPath": "/d"}],
    });
    let volumes = json!({"volumes": [{"name": "d", "emptyDir": {}}]});
    for (args, wanted) in [
        (
            &["env", "COLOUR", "SHAPE"][..],
            &["env COLOUR=blue\\nand green", "env SHAPE unset"][..],
        ),
        (&["cwd"], &["cwd /d"]),
        (
            &["terminal"],
            &[
                "stdin terminal false",
                "stdout terminal false",
                "stderr terminal false",
            ],
        ),
    ] {
        let pod = Pod::one("p3", args, fields.clone()).spec(volumes.clone());
        said(&Run::of(pod)?.finish()?, wanted);
    }
    Ok(())
}

#[test]
fn its_input_comes_in_whole_and_ends() -> anyhow::Result<()> {
    let image = crate::harness::guest("p3")?;
    let ended = Run::new()?
        .args([&*image.to_string_lossy(), "--", "stdin"])
        .stdin("first\nsecond\n")?
        .for_a_person()
        .finish()?;
    let told = ended.said.stray();
    assert_eq!(ended.code, Some(0), "{}", ended.said.transcript());
    assert_eq!(told, "line first\nline second\nended Ok(())\n");
    Ok(())
}

#[test]
fn a_question_without_a_newline_is_shown_before_its_answer() -> anyhow::Result<()> {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};
    let mut child = Command::new(crate::harness::wasmpod()?)
        .args(["run", "--raw", "--data-dir"])
        .arg(crate::harness::root().join("target/e2e"))
        .arg(crate::harness::guest("p3")?)
        .args(["--", "ask"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (mut input, mut output) = (child.stdin.take(), child.stdout.take());
    let (Some(input), Some(output)) = (&mut input, &mut output) else {
        anyhow::bail!("no pipes");
    };
    let mut question = [0; 6];
    output.read_exact(&mut question)?;
    assert_eq!(&question, b"name? ");
    input.write_all(b"Ada\n")?;
    let mut answer = String::new();
    output.read_to_string(&mut answer)?;
    assert_eq!(answer, "hello Ada\n");
    assert_eq!(child.wait()?.code(), Some(0));
    Ok(())
}

#[test]
fn clocks_and_random_bytes_are_there() -> anyhow::Result<()> {
    let ended = Run::of(Pod::one("p3", &["clock"], Value::Null))?.finish()?;
    let transcript = ended.said.transcript();
    let logs = ended.said.logs("p", "c");
    let epoch = logs[0]
        .strip_prefix("epoch_s ")
        .and_then(|s| s.parse::<u64>().ok());
    assert!(
        epoch.is_some_and(|epoch| epoch > 1_700_000_000),
        "{transcript}"
    );
    assert_eq!(
        logs[1..],
        ["steps (true, true)", "waited true"],
        "{transcript}"
    );
    // 64 KiB is what one call returns at most.
    said(
        &Run::of(Pod::one("p3", &["random", "1048576"], Value::Null))?.finish()?,
        &[
            "secure 1048576 calls 16",
            "insecure 1048576 calls 16",
            "differ true seed true",
            "none 0",
        ],
    );
    Ok(())
}

#[test]
fn what_it_waits_for_it_waits_for_at_once() -> anyhow::Result<()> {
    let ended = Run::of(Pod::one("p3", &["timers", "1000", "50"], Value::Null))?.finish()?;
    let transcript = ended.said.transcript();
    let logs = ended.said.logs("p", "c");
    let waited = logs[0].strip_prefix("timers 1000 waited_ms ");
    let waited: u64 = waited.unwrap_or_default().parse()?;
    // One after the other they would take 50 s.
    assert!((50..20_000).contains(&waited), "{transcript}");
    Ok(())
}

#[test]
fn its_library_may_be_one_of_0_2() -> anyhow::Result<()> {
    said(
        &Run::of(Pod::one("p3", &["mixed"], Value::Null))?.finish()?,
        &["by std", "by 0.3", "by std again"],
    );
    Ok(())
}

#[test]
fn files_are_copied_listed_and_changed() -> anyhow::Result<()> {
    said(
        &Run::of(with_volume(&["bulk", "/d/bulk", "8"]))?.finish()?,
        &["bulk 8388608 right true"],
    );
    said(
        &Run::of(with_volume(&["entries", "/d"]))?.finish()?,
        &["target b", "size 2 links 2", "same true", "hash true"],
    );
    let run = Run::new()?
        .file("folder/a", "first")?
        .file("folder/b/c", "")?;
    fs::write(run.path("folder/big"), vec![b'x'; 3 << 20])?;
    for number in 0..300 {
        fs::write(run.path(&format!("folder/b/{number:03}")), "")?;
    }
    let mount = json!({"volumeMounts": [{"name": "d", "mountPath": "/d"}]});
    let volume = json!({"volumes": [{"name": "d", "hostPath": {"path": run.path("folder")}}]});
    let pod = |name: &str, args: &[&str]| {
        Pod::new(name)
            .container("c", "p3", args, mount.clone())
            .spec(volume.clone())
    };
    let all = crate::harness::pods([
        &pod("list", &["list", "/d/b"]),
        &pod("copy", &["copy", "/d/big", "/d/copied"]),
    ]);
    let run = run.file("pods.yaml", &all)?;
    let path = run.path("pods.yaml");
    let ended = run.args(["-f", &path]).finish()?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.code, Some(0), "{transcript}");
    let listed = ended.said.logs("list", "c");
    assert_eq!(listed[0], "entries 301", "{transcript}");
    assert_eq!(
        listed[1], "entry 000 DescriptorType::RegularFile",
        "{transcript}"
    );
    assert_eq!(ended.said.logs("copy", "c"), ["copied 3145728"]);
    let copied = fs::read(ended.home.path().join("folder/copied"))?;
    assert!(copied == vec![b'x'; 3 << 20], "the copy differs");
    Ok(())
}

#[test]
fn what_a_file_refuses_is_a_value() -> anyhow::Result<()> {
    let mounts = json!({"volumeMounts": [
        {"name": "d", "mountPath": "/small"},
        {"name": "d", "mountPath": "/read", "readOnly": true},
    ]});
    let pod = Pod::one("p3", &["refused", "/small/a", "/read/b", "/none/c"], mounts).spec(json!({
        "volumes": [{"name": "d", "emptyDir": {"sizeLimit": "128Ki", "medium": "Memory"}}],
    }));
    said(
        &Run::of(pod)?.finish()?,
        &[
            "write /small/a Err(ErrorCode::InsufficientSpace)",
            "write /read/b Err(ErrorCode::ReadOnly)",
            "write /none/c Err(ErrorCode::NoEntry)",
            "read / (0, Err(ErrorCode::IsDirectory))",
            "write / Err(ErrorCode::IsDirectory)",
        ],
    );
    Ok(())
}

#[test]
fn every_end_has_its_exit_code_and_its_reason() -> anyhow::Result<()> {
    for (args, code, reason, message) in [
        (&["exit", "0"][..], 0, "Completed", ""),
        (&["exit", "7"], 7, "Error", ""),
        (&["exit", "255"], 255, "Error", ""),
        (&["fail"], 1, "Error", ""),
        (&["no-such-case"], 1, "Error", ""),
        (&["trap"], 134, "Error", "unreachable"),
        (&["deadlock"], 134, "Error", "deadlock"),
    ] {
        let ended = Run::of(Pod::one("p3", args, Value::Null))?.finish()?;
        let transcript = ended.said.transcript();
        let end = ended.said.terminated("p", "c");
        assert_eq!(end["exitCode"], code, "{args:?}: {transcript}");
        assert_eq!(end["reason"], reason, "{args:?}: {transcript}");
        let told = end["message"].as_str().unwrap_or_default();
        assert!(told.contains(message), "{args:?}: {told}");
        let logs = ended.said.logs("p", "c").join("\n");
        assert!(!logs.contains("still here"), "{args:?}: {transcript}");
    }
    Ok(())
}

#[test]
fn it_is_asked_to_stop_where_it_listens_and_ended_where_not() -> anyhow::Result<()> {
    for (case, line, code) in [
        ("graceful", "waiting", 0),
        ("stubborn", "waiting", 137),
        ("deaf", "sleeping", 143),
        ("spin", "spinning", 143),
        ("yield", "yielding", 143),
    ] {
        let pod =
            Pod::one("p3", &[case], Value::Null).spec(json!({"terminationGracePeriodSeconds": 2}));
        let mut running = Run::of(pod)?.start()?;
        running.wait_log("p", "c", line)?;
        running.signal(Signal::INT)?;
        let ended = running.finish()?;
        let transcript = ended.said.transcript();
        let logs = ended.said.logs("p", "c").join("\n");
        assert_eq!(
            ended.said.terminated("p", "c")["exitCode"],
            code,
            "{case}: {transcript}"
        );
        match case {
            "graceful" => assert!(
                logs.starts_with("grace_ms 2000\n") && logs.contains(" worked true"),
                "{transcript}"
            ),
            "stubborn" => assert!(logs.ends_with("ignoring"), "{transcript}"),
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn it_tells_its_health() -> anyhow::Result<()> {
    let mut running = Run::of(Pod::one("p3", &["health"], Value::Null))?.start()?;
    let was_not_ready = Cell::new(false);
    running.wait_for("its word that it is ready after all", |line| {
        let container = &line.status("p")?["containerStatuses"][0];
        let is_ready = container["ready"].as_bool()?;
        let is_running = container["state"]["running"].is_object();
        was_not_ready.set(was_not_ready.get() || (is_running && !is_ready));
        (was_not_ready.get() && is_ready).then_some(())
    })?;
    running.signal(Signal::INT)?;
    let ended = running.finish()?;
    assert_eq!(
        ended.said.terminated("p", "c")["exitCode"],
        0,
        "{}",
        ended.said.transcript()
    );
    Ok(())
}
