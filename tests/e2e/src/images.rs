//! Images without a registry: packed, listed, inspected, exported, imported, removed, run.

mod disk;
mod identity;

use std::fs;
use std::path::Path;

use anyhow::ensure;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Images, Pod, Run, guest};

/// A folder with a data directory in it, and `wasmpod image` there.
fn room() -> anyhow::Result<(tempfile::TempDir, Images)> {
    let home = tempfile::Builder::new()
        .prefix("wasmpod-images-")
        .tempdir()?;
    let images = Images::new(&home.path().join("data"));
    Ok((home, images))
}

/// A pod with one container `c` of this image.
fn pod(image: &str, fields: Value) -> Pod {
    Pod::one("host", &[], fields).image(image)
}

/// As digests have it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Links of an image with more `..` than there are directories above them.
const LINKS: [(&str, &str); 2] = [
    ("data/over", "../../../data/text"),
    ("data/work", "../../app"),
];

/// What `docker save` writes of an image that was built `FROM scratch`.
fn saved(path: &Path, config: &Value, files: &[(&str, &[u8])]) -> anyhow::Result<()> {
    let header = |size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_size(size as u64);
        header.set_mode(0o644);
        header
    };
    let mut layer = tar::Builder::new(Vec::new());
    for (name, content) in files {
        layer.append_data(&mut header(content.len()), name, *content)?;
    }
    for (name, target) in LINKS {
        let mut header = header(0);
        header.set_entry_type(tar::EntryType::Symlink);
        layer.append_link(&mut header, name, target)?;
    }
    let layer = layer.into_inner()?;
    let digest = sha256(&layer);
    let config = json!({
        "architecture": "wasm",
        "os": "wasi",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    })
    .to_string();
    let list = json!([{"Config": "c.json", "RepoTags": ["scratch:1"], "Layers": ["l/layer.tar"]}]);
    let list = list.to_string();
    let mut archive = tar::Builder::new(fs::File::create(path)?);
    for (name, content) in [
        ("l/layer.tar", layer.as_slice()),
        ("c.json", config.as_bytes()),
        ("manifest.json", list.as_bytes()),
    ] {
        archive.append_data(&mut header(content.len()), name, content)?;
    }
    archive.finish()?;
    Ok(())
}

#[test]
fn a_packed_image_is_listed_inspected_run_and_removed() -> anyhow::Result<()> {
    let (home, images) = room()?;
    let hello = guest("hello")?.display().to_string();
    let packed = images.good(&["pack", &hello, "-t", "r.example/hello:1"])?;
    ensure!(packed.starts_with("r.example/hello@sha256:"), "{packed}");
    let table = images.good(&["ls"])?;
    ensure!(
        table.contains("r.example/hello") && table.contains("wasm"),
        "{table}"
    );
    let listed: Value = serde_json::from_str(&images.good(&["ls", "--output", "json"])?)?;
    ensure!(listed["reference"] == "r.example/hello:1", "{listed}");
    let text = images.good(&["inspect", "r.example/hello:1"])?;
    for wanted in [
        "World: wasi:cli/command@0.2",
        "Import: wasi:cli/",
        "not compiled yet",
    ] {
        ensure!(text.contains(wanted), "{wanted}: {text}");
    }
    let ended = Run::new()?
        .data(&home.path().join("data"))
        .args(["r.example/hello:1", "--", "Ada"])
        .finish()?;
    ensure!(ended.code == Some(0), "{}", ended.said.transcript());
    let pod = ended.said.summary()["pods"][0]["pod"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let container = &ended.said.summary()["pods"][0]["containers"][0]["name"];
    let logs = ended
        .said
        .logs(&pod, container.as_str().unwrap_or_default());
    ensure!(
        logs.iter().any(|line| line.contains("Hello, Ada.")),
        "{logs:?}"
    );
    let told: Value =
        serde_json::from_str(&images.good(&["inspect", "r.example/hello:1", "-o", "json"])?)?;
    ensure!(
        told["compiled"] == true && told["kind"] == "artifact",
        "{told}"
    );
    let digest = listed["digest"].as_str().unwrap_or_default();
    images.good(&["tag", digest, "other"])?;
    let digests = images.good(&["ls", "--quiet"])?;
    let digests: Vec<&str> = digests.lines().collect();
    ensure!(digests.len() == 2, "{digests:?}");
    let told = images.good(&["inspect", digest])?;
    ensure!(told.contains(digest), "{told}");
    let gone: Vec<&str> = ["rm", "--force"].into_iter().chain(digests).collect();
    let gone = images.good(&gone)?;
    for name in ["other:latest", "r.example/hello:1"] {
        ensure!(gone.contains(&format!("Untagged: {name}")), "{gone}");
    }
    ensure!(gone.contains("Deleted: 3 blobs"), "{gone}");
    let error = images.bad(&["inspect", "r.example/hello:1"])?;
    ensure!(error.contains("pull it first"), "{error}");
    Ok(())
}

#[test]
fn all_names_of_an_image_go_by_its_digest_only_where_that_is_forced() -> anyhow::Result<()> {
    let (_home, images) = room()?;
    let hello = guest("hello")?.display().to_string();
    let packed = images.good(&["pack", &hello, "-t", "hello:1"])?;
    let digest = packed.trim().rsplit('@').next().unwrap_or_default();
    let begun = &digest.trim_start_matches("sha256:")[..12];
    images.good(&["tag", digest, "other"])?;
    for text in [digest, begun] {
        let error = images.bad(&["rm", text])?;
        for wanted in ["hello:1, other:latest", "--force"] {
            ensure!(error.contains(wanted), "{wanted}: {error}");
        }
    }
    ensure!(images.good(&["ls", "-q"])?.lines().count() == 2, "all stay");
    images.good(&["rm", "hello:1"])?;
    let said = images.good(&["rm", begun])?;
    ensure!(said.contains("Untagged: other:latest"), "{said}");
    Ok(())
}

#[test]
fn the_beginning_of_a_digest_names_an_image_wherever_it_is_here() -> anyhow::Result<()> {
    let (home, images) = room()?;
    let hello = guest("hello")?.display().to_string();
    // Nobody listens there.
    let packed = images.good(&["pack", &hello, "-t", "localhost:1/hello:1"])?;
    let digest = packed.trim().rsplit('@').next().unwrap_or_default();
    let hex = digest.trim_start_matches("sha256:");
    images.good(&["tag", digest, "localhost:1/other:1"])?;
    let archive = home.path().join("out.tar").display().to_string();
    for text in [digest, &format!("sha256:{}", &hex[..12]), hex, &hex[..12]] {
        images.good(&["export", text, "-o", &archive])?;
        let (_other_home, other) = room()?;
        let imported = other.good(&["import", &archive])?;
        for name in ["localhost:1/hello:1", "localhost:1/other:1"] {
            let line = format!("{name} {digest}");
            ensure!(imported.contains(&line), "{text}: {imported}");
        }
        let error = images.bad(&["push", text])?;
        for wanted in ["localhost:1/hello:1, localhost:1/other:1", "image tag"] {
            ensure!(error.contains(wanted), "{text}: {error}");
        }
        let run = Run::new()?.data(&home.path().join("data"));
        let ended = run.args([text]).finish()?;
        ensure!(ended.code == Some(0), "{text}: {}", ended.said.transcript());
    }
    // As `ls --quiet` has it, once for each name.
    let name = "localhost:1/hello:1";
    images.good(&["export", digest, hex, name, "-o", &archive])?;
    let layout = home.path().join("layout");
    tar::Archive::new(fs::File::open(&archive)?).unpack(&layout)?;
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
    let count = index["manifests"].as_array().map_or(0, Vec::len);
    ensure!(count == 2, "each name once: {index}");
    let absent = format!("sha256:{}", "0".repeat(12));
    for command in ["export", "push", "inspect", "rm"] {
        let error = images.bad(&[command, &absent])?;
        ensure!(error.contains("no such image"), "{command}: {error}");
    }
    for (image, wanted) in [(&*absent, "no such image"), ("sha256:00", "12 digits")] {
        let ended = Run::new()?.private_data().args([image]).finish()?;
        let said = ended.said.transcript();
        ensure!(ended.code == Some(125) && said.contains(wanted), "{said}");
    }
    let error = images.bad(&["pull", &absent])?;
    ensure!(error.contains("NAME@DIGEST"), "{error}");
    Ok(())
}

#[test]
fn no_registry_is_told_to_have_what_a_digest_alone_names() -> anyhow::Result<()> {
    let (_home, images) = room()?;
    let digits = "0".repeat(64);
    for digest in [digits.as_str(), &format!("sha256:{digits}")] {
        for command in [&["inspect", digest][..], &["tag", digest, "other"]] {
            let error = images.bad(command)?;
            ensure!(error.contains("no such image here"), "{command:?}: {error}");
        }
    }
    Ok(())
}

#[test]
fn an_image_that_is_here_is_run_without_its_registry_whatever_its_tag() -> anyhow::Result<()> {
    let (home, images) = room()?;
    let hello = guest("hello")?.display().to_string();
    // Nobody listens there.
    images.good(&["pack", &hello, "-t", "localhost:1/hello"])?;
    let ended = Run::new()?
        .data(&home.path().join("data"))
        .args(["localhost:1/hello"])
        .finish()?;
    ensure!(ended.code == Some(0), "{}", ended.said.transcript());
    Ok(())
}

/// An image of `docker save` in a room of its own: two programs, a file, and how it is run.
fn scratch() -> anyhow::Result<(tempfile::TempDir, Images)> {
    scratch_run_as(json!({
        "Entrypoint": ["/app/host.wasm"],
        "Cmd": ["env", "COLOUR", "SIZE"],
        "Env": ["COLOUR=red", "SIZE=1"],
        "WorkingDir": "/app",
    }))
}

/// The same, run in another way.
fn scratch_run_as(config: Value) -> anyhow::Result<(tempfile::TempDir, Images)> {
    let (home, images) = room()?;
    let (host, files) = (fs::read(guest("host")?)?, fs::read(guest("fs")?)?);
    let archive = home.path().join("saved.tar");
    let files: [(&str, &[u8]); 3] = [
        ("app/host.wasm", &host),
        ("fs.wasm", &files),
        ("data/text", b"from the image"),
    ];
    saved(&archive, &config, &files)?;
    let imported = images.good(&["import", &archive.display().to_string()])?;
    ensure!(imported.starts_with("scratch:1 sha256:"), "{imported}");
    Ok((home, images))
}

#[test]
fn what_leads_above_the_root_of_an_image_ends_at_it() -> anyhow::Result<()> {
    let (home, _images) = scratch_run_as(json!({
        "Entrypoint": ["./host.wasm"],
        "Cmd": ["env", "PWD"],
        "WorkingDir": "none/../../app/.",
    }))?;
    let data = home.path().join("data");
    for (mut fields, wanted) in [
        (json!({}), "env PWD=/app"),
        (json!({"workingDir": "/none/../app/"}), "env PWD=/app"),
        (
            json!({"command": ["/fs.wasm", "read", "/data/over"]}),
            "read /data/over from the image",
        ),
        (
            json!({"command": ["/data/work/host.wasm", "env", "PWD"]}),
            "env PWD=/app",
        ),
        (
            json!({
                "workingDir": "/data/work/its",
                "command": ["/fs.wasm", "write", "/app/its/new", "text"],
            }),
            "wrote /app/its/new",
        ),
    ] {
        fields["imagePullPolicy"] = json!("Never");
        let ended = Run::of(pod("scratch:1", fields.clone()))?
            .data(&data)
            .finish()?;
        let logs = ended.said.logs("p", "c");
        ensure!(
            logs.contains(&wanted),
            "{fields}: {}",
            ended.said.transcript()
        );
    }
    Ok(())
}

/// The same with a command and no entry point: arguments of a pod take the command's place.
fn command_only() -> anyhow::Result<(tempfile::TempDir, Images)> {
    scratch_run_as(json!({
        "Cmd": ["host.wasm", "env", "COLOUR"],
        "Env": ["COLOUR=red", "PATH=/none:/app"],
        "WorkingDir": "/data",
    }))
}

#[test]
fn an_image_of_docker_save_tells_its_program_before_it_has_run() -> anyhow::Result<()> {
    let (_home, images) = scratch()?;
    let text = images.good(&["inspect", "scratch:1"])?;
    for wanted in ["World: wasi:cli/command@0.2", "Import: wasi:cli/"] {
        ensure!(text.contains(wanted), "{wanted}: {text}");
    }
    Ok(())
}

#[test]
fn an_image_of_docker_save_runs_as_its_configuration_and_the_pod_say() -> anyhow::Result<()> {
    let (home, _images) = scratch()?;
    let data = home.path().join("data");
    let cases = [
        (
            json!({"env": [{"name": "SIZE", "value": "2"}]}),
            vec!["env COLOUR=red", "env SIZE=2"],
        ),
        (json!({"args": ["env", "PWD"]}), vec!["env PWD=/app"]),
        (
            json!({"command": ["/fs.wasm", "read"], "args": ["/data/text"]}),
            vec!["read /data/text from the image"],
        ),
        (
            json!({"command": ["/fs.wasm", "read", "/etc/hostname"]}),
            vec!["read /etc/hostname p"],
        ),
        // Made among the image's files, which stay as they are.
        (
            json!({
                "workingDir": "/app/its/work",
                "command": ["/fs.wasm", "write", "/app/its/work/new", "text"],
            }),
            vec!["wrote /app/its/work/new"],
        ),
    ];
    for placement in ["task", "child-per-pod"] {
        for (fields, wanted) in &cases {
            let mut fields = fields.clone();
            fields["imagePullPolicy"] = json!("Never");
            let run = Run::of(pod("scratch:1", fields.clone()))?;
            let ended = run.data(&data).placed(placement).finish()?;
            let logs = ended.said.logs("p", "c");
            let has_all = wanted.iter().all(|line| logs.contains(line));
            ensure!(has_all, "{placement} {fields}: {}", ended.said.transcript());
        }
    }
    Ok(())
}

#[test]
fn the_first_word_of_argv_is_looked_for_as_containerd_would() -> anyhow::Result<()> {
    let (home, _images) = command_only()?;
    let data = home.path().join("data");
    let reads = json!(["fs.wasm", "read", "/data/text"]);
    for (mut fields, wanted) in [
        (json!({}), "env COLOUR=red"),
        (
            json!({"args": ["/fs.wasm", "read", "/data/text"]}),
            "read /data/text from the image",
        ),
        (
            json!({"args": ["host.wasm", "env", "PWD"]}),
            "env PWD=/data",
        ),
        // The pod's own PATH comes before the image's, and its directory too.
        (
            json!({"args": reads, "env": [{"name": "PATH", "value": "/"}]}),
            "read /data/text from the image",
        ),
        (
            json!({"command": ["./host.wasm", "env", "PWD"], "workingDir": "/app"}),
            "env PWD=/app",
        ),
        (
            json!({
                "command": ["$(FOLDER)/$(NAME).wasm"],
                "args": ["env", "NAME"],
                "env": [
                    {"name": "FOLDER", "value": "/app"},
                    {"name": "NAME", "value": "host"},
                ],
            }),
            "env NAME=host",
        ),
        (
            json!({
                "args": ["$(NAME).wasm", "read", "/data/text"],
                "env": [{"name": "NAME", "value": "fs"}, {"name": "PATH", "value": "/"}],
            }),
            "read /data/text from the image",
        ),
    ] {
        fields["imagePullPolicy"] = json!("Never");
        let ended = Run::of(pod("scratch:1", fields.clone()))?
            .data(&data)
            .finish()?;
        let logs = ended.said.logs("p", "c");
        ensure!(
            logs.contains(&wanted),
            "{fields}: {}",
            ended.said.transcript()
        );
    }
    Ok(())
}

#[test]
fn a_word_of_the_arguments_that_is_no_program_is_told() -> anyhow::Result<()> {
    let (home, _images) = command_only()?;
    let data = home.path().join("data");
    let fields = json!({"imagePullPolicy": "Never", "args": ["fs.wasm"]});
    let ended = Run::of(pod("scratch:1", fields))?.data(&data).finish()?;
    let message = ended.said.terminated("p", "c")["message"].to_string();
    ensure!(
        message.contains("no such file in the image"),
        "{}",
        ended.said.transcript()
    );
    Ok(())
}

#[test]
fn the_files_of_an_image_are_read_only_and_its_program_must_be_there() -> anyhow::Result<()> {
    let (home, _images) = scratch()?;
    let data = home.path().join("data");
    let run = |command: &[&str]| {
        let fields = json!({"imagePullPolicy": "Never", "command": command});
        Run::of(pod("scratch:1", fields))?.data(&data).finish()
    };
    let ended = run(&["/fs.wasm", "write", "/data/new", "x"])?;
    ensure!(ended.code != Some(0), "{}", ended.said.transcript());
    let ended = run(&["/none"])?;
    let end = ended.said.terminated("p", "c");
    ensure!(end["reason"] == "StartError", "{}", ended.said.transcript());
    let ended = run(&["/data/text"])?;
    let message = ended.said.terminated("p", "c")["message"].to_string();
    ensure!(message.contains("exec format error"), "{message}");
    Ok(())
}

#[test]
fn what_is_exported_is_the_same_where_it_is_imported() -> anyhow::Result<()> {
    let (home, images) = room()?;
    let hello = guest("hello")?.display().to_string();
    let notes = home.path().join("notes");
    fs::write(&notes, "n")?;
    let layer = format!("{}:/srv/notes", notes.display());
    let packed = images.good(&["pack", &hello, "-t", "hello:1", "--file-layer", &layer])?;
    let archive = home.path().join("out.tar").display().to_string();
    images.good(&["export", "hello:1", "--output", &archive])?;
    let (_other_home, other) = room()?;
    let imported = other.good(&["import", &archive])?;
    let digest = packed.trim().rsplit('@').next().unwrap_or_default();
    ensure!(
        imported.trim() == format!("hello:1 {digest}"),
        "{imported} {packed}"
    );
    let renamed = other.good(&["import", &archive, "-t", "new"])?;
    ensure!(
        renamed.trim() == format!("new:latest {digest}"),
        "{renamed}"
    );
    Ok(())
}

#[test]
fn mistakes_are_told_with_what_to_do() -> anyhow::Result<()> {
    let (home, images) = room()?;
    let script = home.path().join("script.wasm").display().to_string();
    fs::write(&script, "#!/bin/sh\n")?;
    let empty = home.path().join("empty.tar").display().to_string();
    fs::write(&empty, "")?;
    let cases: [(&[&str], &str); 6] = [
        (&["pack", &script, "-t", "a:1"], "not wasm"),
        (&["pack", &script, "-t", "A:1"], "lower case"),
        (&["import", &empty], "no archive of images"),
        (&["rm", "absent:1"], "no such image"),
        (&["export", "absent:1"], "pull it first"),
        (&["pull", "http://r.example/app"], "leave that out"),
    ];
    for (arguments, wanted) in cases {
        let error = images.bad(arguments)?;
        ensure!(error.contains(wanted), "{arguments:?}: {error}");
    }
    Ok(())
}

#[test]
fn a_pod_whose_image_cannot_be_had_says_why() -> anyhow::Result<()> {
    let cases = [
        (
            "absent.invalid/app:1",
            "Never",
            "ErrImageNeverPull",
            "pull policy of Never",
        ),
        (
            "localhost:1/app:1",
            "IfNotPresent",
            "ErrImagePull",
            "cannot reach localhost:1",
        ),
    ];
    for (image, policy, reason, text) in cases {
        let fields = json!({"imagePullPolicy": policy, "args": null});
        let mut running = Run::of(pod(image, fields))?.private_data().start()?;
        let status = running.wait_container("p", "c", reason, |status| {
            status["state"]["waiting"]["reason"] == reason
        })?;
        let message = status["state"]["waiting"]["message"]
            .as_str()
            .unwrap_or_default();
        ensure!(message.contains(text), "{status}");
        if reason == "ErrImagePull" {
            running.wait_for("an Event BackOff", |line| {
                line.event("p", "BackOff").cloned()
            })?;
            running.wait_container("p", "c", "a back-off", |status| {
                status["state"]["waiting"]["reason"] == "ImagePullBackOff"
            })?;
        }
        running.signal(rustix::process::Signal::INT)?;
        running.finish()?;
    }
    let ended = Run::new()?
        .private_data()
        .args(["localhost:1/app:1"])
        .finish()?;
    ensure!(ended.code == Some(125), "{}", ended.said.transcript());
    let ended = Run::of(pod("Bad/Name:1", json!({"args": null})))?.finish()?;
    ensure!(
        ended.code == Some(125) && ended.said.text().contains("lower case"),
        "{}",
        ended.said.transcript()
    );
    Ok(())
}
