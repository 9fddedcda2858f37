//! The command line: what `wasmpod run` takes, how it ends, and what it says of mistakes.

use std::fs;

use anyhow::ensure;
use rustix::process::Signal;

use crate::harness::{Run, guest};

/// A pod that runs one guest to its end.
fn pod(name: &str, container: &str, guest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n  restartPolicy: Never\n  \
         containers:\n    - name: {container}\n      image: guest:{guest}\n"
    )
}

#[test]
fn a_wasm_file_runs_without_a_manifest() -> anyhow::Result<()> {
    let hello = guest("hello")?.to_string_lossy().into_owned();
    for image in [hello.clone(), format!("file:{hello}")] {
        let ended = Run::new()?
            .for_a_person()
            .args([&image, "--", "Ada"])
            .finish()?;
        let stdout = ended.said.stray();
        assert!(
            stdout.contains("Hello, Ada."),
            "{image}: {}",
            ended.said.transcript()
        );
        assert_eq!(ended.code, Some(0), "{image}");
    }
    Ok(())
}

#[test]
fn the_exit_code_is_the_first_that_is_not_zero_in_the_order_of_pods() -> anyhow::Result<()> {
    let hello = pod("hello", "hello", "hello");
    let failing = pod("failing", "job", "jobs");
    let hungry = format!(
        "{}      resources:\n        limits:\n          memory: 16Mi\n",
        pod("hungry", "hoarder", "limits-hoarder")
    );
    let cases = [
        (vec![&hello], 0),
        (vec![&hello, &failing], 1),
        (vec![&failing, &hungry], 1),
        (vec![&hungry, &failing], 137),
    ];
    for (pods, wanted) in cases {
        let manifest = pods
            .iter()
            .map(|pod| pod.as_str())
            .collect::<Vec<_>>()
            .join("---\n");
        let ended = Run::of(&manifest)?.finish()?;
        assert_eq!(
            ended.code,
            Some(wanted),
            "{manifest}\n{}",
            ended.said.transcript()
        );
        assert_eq!(
            ended.said.summary()["exitCode"],
            wanted,
            "{}",
            ended.said.transcript()
        );
    }
    Ok(())
}

#[test]
fn every_line_of_json_output_is_an_object_with_a_type() -> anyhow::Result<()> {
    let ended = Run::of(pod("hello", "hello", "hello"))?.finish()?;
    assert_eq!(ended.said.stray(), "");
    let lines = &ended.said.lines;
    for kind in ["log", "status", "summary"] {
        assert!(
            lines.iter().any(|line| line.told(kind).is_some()),
            "no line of type {kind}"
        );
    }
    assert!(
        lines
            .last()
            .is_some_and(|line| line.told("summary").is_some())
    );
    Ok(())
}

#[test]
fn ctrl_c_stops_the_pods_and_ends_with_130() -> anyhow::Result<()> {
    let mut running = Run::of(pod("pair", "server", "pair-server"))?.start()?;
    running.wait_log("pair", "server", "listening")?;
    running.signal(Signal::INT)?;
    let ended = running.finish()?;
    assert_eq!(ended.code, Some(130), "{}", ended.said.transcript());
    assert!(
        ended.said.terminated("pair", "server").is_object(),
        "{}",
        ended.said.transcript()
    );
    Ok(())
}

#[test]
fn a_second_signal_does_not_wait_for_the_grace_period() -> anyhow::Result<()> {
    // The hook outlasts every patience of ours: only the second signal can end this run.
    let manifest = format!(
        "{}      lifecycle:\n        preStop:\n          sleep:\n            seconds: 500\n  \
         terminationGracePeriodSeconds: 600\n",
        pod("slow", "server", "pair-server")
    );
    let mut running = Run::of(&manifest)?.start()?;
    running.wait_log("slow", "server", "listening")?;
    running.signal(Signal::INT)?;
    running.wait_for("the stop under way", |line| {
        line.event("slow", "Killing").map(|_| ())
    })?;
    // Another one, as the same one twice at once would count as one.
    running.signal(Signal::TERM)?;
    let ended = running.finish()?;
    assert_eq!(ended.code, Some(130), "{}", ended.said.transcript());
    Ok(())
}

#[test]
fn manifests_come_from_files_folders_and_standard_input() -> anyhow::Result<()> {
    let one = pod("one", "hello", "hello");
    let two = pod("two", "hello", "hello");
    let json = format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "one"}}, "spec": {{
            "restartPolicy": "Never", "containers": [{{"name": "hello", "image": "{}"}}]}}}}"#,
        "guest:hello"
    );
    let folder = Run::new()?
        .file("pods/a.yaml", &one)?
        .file("pods/b.yml", &two)?
        .file("pods/notes.txt", "no manifest")?;
    let pods = folder.path("pods");
    let cases: [(&str, Run, &[&str]); 5] = [
        ("a folder", folder.args(["-f", &pods]), &["one", "two"]),
        (
            "standard input",
            Run::new()?.args(["-f", "-"]).stdin(&one)?,
            &["one"],
        ),
        (
            "several documents",
            Run::of(format!("{one}---\n{two}"))?,
            &["one", "two"],
        ),
        ("JSON", Run::of(&json)?, &["one"]),
        (
            "two files",
            Run::new()?
                .file("a", &one)?
                .file("b", &two)?
                .args(["-f", "a", "-f", "b"]),
            &["one", "two"],
        ),
    ];
    for (case, run, pods) in cases {
        let ended = run.finish()?;
        for pod in pods {
            let phase = &ended.said.status(pod)["phase"];
            assert_eq!(
                phase,
                "Succeeded",
                "{case}: {pod}: {}",
                ended.said.transcript()
            );
        }
        assert_eq!(ended.code, Some(0), "{case}");
    }
    Ok(())
}

/// A manifest with a mistake, and what must be told of it.
fn mistakes() -> Vec<(String, &'static [&'static str])> {
    let hello = pod("hello", "hello", "hello");
    let with = |lines: &str| format!("{hello}{lines}");
    vec![
        (
            hello.replace("      image:", "      imgae:"),
            &[
                "pod.yaml:9:7",
                "spec.containers[0]",
                "imgae",
                "did you mean \"image\"?",
            ],
        ),
        (
            hello.replace("restartPolicy: Never", "restartPolicy: Sometimes"),
            &["pod.yaml:6:", "spec.restartPolicy", "Sometimes"],
        ),
        (
            hello.replace("name: hello\nspec", "name: Hello_\nspec"),
            &["pod.yaml:4:", "metadata.name"],
        ),
        (
            hello.replace(
                "apiVersion: v1\nkind: Pod",
                "apiVersion: apps/v1\nkind: Deployment",
            ),
            &["pod.yaml:2:", "Deployment"],
        ),
        (
            hello.replace("    - name: hello", "    - name: [hello"),
            &["pod.yaml:"],
        ),
        (
            with("      ports:\n        - containerPort: 70000\n"),
            &["pod.yaml:11:", "containerPort", "70000"],
        ),
        (
            with("      volumeMounts:\n        - name: nowhere\n          mountPath: /x\n"),
            &["volumeMounts[0].name", "nowhere"],
        ),
        (
            with("      envFrom:\n        - configMapRef:\n            name: nobody\n"),
            &["nobody"],
        ),
    ]
}

/// The same of an annotation under wasmpod's own name.
fn mistaken_annotations() -> Vec<(String, &'static [&'static str])> {
    let annotated = |annotation: &str| {
        let annotation = format!("annotations:\n    wasmpod.dev/{annotation}");
        pod("hello", "hello", "hello")
            .replace("hello\nspec", &format!("hello\n  {annotation}\nspec"))
    };
    vec![
        (
            annotated("network: netns"),
            &[
                "pod.yaml:6:",
                "metadata.annotations[wasmpod.dev/network]",
                "netns",
                "remove it",
            ],
        ),
        (
            annotated("capabilities: wasi:nn/graph"),
            &[
                "metadata.annotations[wasmpod.dev/capabilities]",
                "wasi:nn/graph",
                "\"wasi:keyvalue/store\"",
            ],
        ),
        (
            annotated("runtime: linux"),
            &[
                "metadata.annotations[wasmpod.dev/runtime]",
                "linux",
                "supported values: \"wasm\"",
            ],
        ),
    ]
}

#[test]
fn mistakes_in_a_manifest_are_told_with_their_place() -> anyhow::Result<()> {
    for (manifest, parts) in mistakes().into_iter().chain(mistaken_annotations()) {
        let ended = Run::of(&manifest)?.finish()?;
        let told = ended.said.text();
        for part in parts {
            assert!(
                told.contains(part),
                "`{part}` is not told of\n{manifest}\nbut:\n{told}"
            );
        }
        assert!(
            !matches!(ended.code, Some(0 | 130)),
            "{manifest}: {:?}",
            ended.code
        );
        assert!(
            ended.said.status("hello").is_null(),
            "it ran all the same:\n{manifest}"
        );
    }
    Ok(())
}

#[test]
fn two_pods_of_a_run_cannot_have_the_same_port_of_this_machine() -> anyhow::Result<()> {
    let ports = "      ports:\n        - containerPort: 80\n          hostPort: 18080\n";
    let pods = ["one", "two"].map(|name| format!("{}{ports}", pod(name, "hello", "hello")));
    let ended = Run::of(pods.join("---\n"))?.finish()?;
    let told = ended.said.text();
    for part in [
        "pod.yaml:25:21: error: spec.containers[0].ports[0].hostPort",
        "didn't have free ports for the requested pod ports",
        "TCP port 18080",
        "Pod default/two",
        "is Pod default/one's (",
        "pod.yaml:12:21); ",
    ] {
        assert!(told.contains(part), "`{part}` is not told, but:\n{told}");
    }
    assert_eq!(ended.code, Some(125), "{told}");
    assert!(ended.said.status("one").is_null(), "it ran all the same");
    Ok(())
}

#[test]
fn the_table_tells_why_a_container_never_ran() -> anyhow::Result<()> {
    let manifest = pod("large", "c", "hello").replace(
        "  restartPolicy",
        "  activeDeadlineSeconds: 1\n  restartPolicy",
    );
    let run = Run::new()?;
    // Looks like wasm, and is more than any image may be; holes take no room.
    let large = run.path("large.wasm");
    let mut file = std::fs::File::create(&large)?;
    std::io::Write::write_all(&mut file, b"\0asm\x01\0\0\0")?;
    file.set_len(513 << 20)?;
    let manifest = manifest.replace("guest:hello", "file:large.wasm");
    let ended = run
        .file("pod.yaml", &manifest)?
        .args(["-f", "pod.yaml"])
        .for_a_person()
        .finish()?;
    let said = ended.said.stray() + &ended.said.text();
    let row = said.lines().rev().find(|line| line.starts_with("large  "));
    let row: Vec<&str> = row.unwrap_or_default().split_whitespace().collect();
    assert_eq!(
        row.get(1..4),
        Some(&["c", "ErrImagePull", "-"][..]),
        "{said}"
    );
    assert!(
        said.contains("large/c: image \"file:large.wasm\"") && said.contains("larger than 512 MiB"),
        "{said}"
    );
    assert_eq!(ended.code, Some(1), "{said}");
    Ok(())
}

#[test]
fn all_mistakes_of_a_manifest_are_told_at_once() -> anyhow::Result<()> {
    let manifest = pod("hello", "hello", "hello")
        .replace("restartPolicy", "restartPolcy")
        .replace("      image:", "      imgae:");
    let ended = Run::of(&manifest)?.finish()?;
    let told = ended.said.text();
    ensure!(
        told.contains("restartPolcy") && told.contains("imgae"),
        "{told}"
    );
    Ok(())
}

#[test]
fn what_cannot_be_run_is_told_with_the_remedy() -> anyhow::Result<()> {
    let cases: [(Run, &[&str]); 4] = [
        (Run::new()?.args(["-f", "nowhere.yaml"]), &["nowhere.yaml"]),
        (Run::new()?.args(["nowhere.wasm"]), &["nowhere.wasm"]),
        (Run::new()?, &["-f", "IMAGE"]),
        (
            Run::new()?
                .file("no.wasm", "no wasm at all")?
                .args(["no.wasm"]),
            &["no.wasm"],
        ),
    ];
    for (run, parts) in cases {
        let ended = run.finish()?;
        let told = ended.said.transcript();
        for part in parts {
            assert!(told.contains(part), "`{part}` is not told, but:\n{told}");
        }
        assert!(!matches!(ended.code, Some(0 | 130)), "{told}");
    }
    Ok(())
}

#[test]
fn flags_reach_the_container_of_a_run_without_a_manifest() -> anyhow::Result<()> {
    let config = guest("config")?.to_string_lossy().into_owned();
    let ended = Run::new()?
        .for_a_person()
        .file("app/colour", "green")?
        .args([
            "--env",
            "GREETING=Good evening",
            "--dir",
            "app:/etc/app:ro",
            &config,
        ])
        .finish()?;
    let told = ended.said.transcript();
    assert!(told.contains("$GREETING = Good evening"), "{told}");
    assert!(told.contains("/etc/app/colour: green"), "{told}");
    Ok(())
}

#[test]
fn the_table_at_the_end_tells_what_each_container_did() -> anyhow::Result<()> {
    let ended = Run::of(pod("hello", "greeter", "hello"))?
        .for_a_person()
        .finish()?;
    let said = ended.said.stray() + &ended.said.text();
    let row = said
        .lines()
        .rev()
        .find(|line| line.contains("greeter"))
        .unwrap_or_default();
    for part in ["hello", "greeter", "Completed", "0"] {
        assert!(
            row.contains(part),
            "`{part}` is not in the row `{row}` of\n{said}"
        );
    }
    Ok(())
}

#[test]
fn the_second_run_finds_the_code_of_the_first() -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let data = tempfile::tempdir()?;
    let pod = pod("p", "c", "hello");
    let mut files = Vec::new();
    for _ in 0..2 {
        let ended = Run::of(&pod)?.data(data.path()).finish()?;
        assert_eq!(ended.code, Some(0), "{}", ended.said.transcript());
        let mut codes = Vec::new();
        for entry in fs::read_dir(data.path().join("code"))? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "cwasm")
            {
                codes.push((path.clone(), path.metadata()?.ino()));
            }
        }
        assert_eq!(codes.len(), 1);
        files.push(codes);
    }
    assert_eq!(files[0], files[1], "it was compiled again");
    Ok(())
}
