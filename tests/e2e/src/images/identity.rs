//! Who an image is, and whom it wants to be: `imageID`, and the user of its configuration.

use std::fs;

use anyhow::ensure;
use serde_json::json;

use super::{pod, room, saved};
use crate::harness::{Run, guest};

#[test]
fn the_user_of_an_image_is_judged_as_by_kubelet() -> anyhow::Result<()> {
    let non_root = json!({"securityContext": {"runAsNonRoot": true}});
    let named = "image has non-numeric user (app), cannot verify user is non-root";
    // The user, the container's fields, and why it does not run.
    let cases = [
        ("1000:50", non_root.clone(), None),
        (
            "app",
            non_root.clone(),
            Some(("CreateContainerConfigError", named)),
        ),
        (
            "0",
            non_root,
            Some(("CreateContainerConfigError", "image will run as root")),
        ),
        (
            "app",
            json!({}),
            Some(("CreateContainerError", "unable to find user app")),
        ),
        ("root", json!({}), None),
        ("app", json!({"securityContext": {"runAsUser": 1000}}), None),
    ];
    let host = fs::read(guest("host")?)?;
    let (home, images) = room()?;
    let archive = home.path().join("saved.tar");
    for (user, mut fields, refusal) in cases {
        let config = json!({"Entrypoint": ["/host.wasm"], "Cmd": ["env", "A"], "Env": ["A=1"], "User": user});
        let passwd = b"root:x:0:0::/:/bin/sh\n";
        saved(
            &archive,
            &config,
            &[("host.wasm", &host), ("etc/passwd", passwd)],
        )?;
        images.good(&["import", &archive.display().to_string()])?;
        fields["imagePullPolicy"] = json!("Never");
        fields["args"] = json!(null);
        let run = Run::of(pod("scratch:1", fields.clone()))?.data(&home.path().join("data"));
        let Some((reason, text)) = refusal else {
            let ended = run.finish()?;
            let log = ended.said.logs("p", "c");
            ensure!(
                log.contains(&"env A=1"),
                "{user} {fields}: {}",
                ended.said.transcript()
            );
            continue;
        };
        let mut running = run.start()?;
        let status = running.wait_container("p", "c", reason, |status| {
            status["state"]["waiting"]["reason"] == reason
        })?;
        ensure!(
            status.to_string().contains(text),
            "{user} {fields}: {status}"
        );
        running.signal(rustix::process::Signal::INT)?;
        running.finish()?;
    }
    Ok(())
}

/// As `docker run` refuses it, instead of trying again for ever.
#[test]
fn an_image_of_an_unknown_user_does_not_run_without_a_manifest() -> anyhow::Result<()> {
    let host = fs::read(guest("host")?)?;
    let (home, images) = room()?;
    let archive = home.path().join("saved.tar");
    for (user, why) in [
        ("ada", "unable to find user ada"),
        ("root:nogrp", "unable to find group nogrp"),
    ] {
        let config = json!({"Entrypoint": ["/host.wasm"], "User": user});
        let files: [(&str, &[u8]); 3] = [
            ("host.wasm", &host),
            ("etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
            ("etc/group", b"root:x:0:\n"),
        ];
        saved(&archive, &config, &files)?;
        images.good(&["import", &archive.display().to_string()])?;
        let run = Run::new()?.for_a_person().args(["scratch:1"]);
        let ended = run.data(&home.path().join("data")).finish()?;
        let said = ended.said.transcript();
        ensure!(ended.code == Some(125), "{said}");
        let told = format!("error: image \"scratch:1\": {why}");
        ensure!(said.contains(&told), "{said}");
    }
    Ok(())
}

#[test]
fn the_image_id_is_the_digest_that_the_name_leads_to() -> anyhow::Result<()> {
    let (home, images) = room()?;
    let hello = guest("hello")?.display().to_string();
    images.good(&["pack", &hello, "-t", "hello:1"])?;
    let out = home.path().join("out.tar");
    images.good(&["export", "hello:1", "--output", &out.display().to_string()])?;
    let layout = home.path().join("layout");
    tar::Archive::new(fs::File::open(&out)?).unpack(&layout)?;
    // An index around the image, as builders make one for several platforms.
    let mut index: serde_json::Value =
        serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
    let mut entry = index["manifests"][0].clone();
    entry["annotations"] = json!({});
    entry["platform"] = json!({"os": "wasip2", "architecture": "wasm"});
    let media_type = "application/vnd.oci.image.index.v1+json";
    let inner = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]});
    let inner = inner.to_string();
    let hex = super::sha256(inner.as_bytes());
    fs::write(layout.join("blobs/sha256").join(&hex), &inner)?;
    index["manifests"][0] = json!({
        "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": inner.len(),
        "annotations": {"io.containerd.image.name": "r.example/many:1"},
    });
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::remove_file(layout.join("manifest.json")).ok();
    images.good(&["import", &layout.display().to_string()])?;
    let fields = json!({"imagePullPolicy": "Never", "args": ["Ada"]});
    let run = Run::of(pod("r.example/many:1", fields))?;
    let ended = run.data(&home.path().join("data")).finish()?;
    ensure!(ended.code == Some(0), "{}", ended.said.transcript());
    let status = ended.said.container("p", "c");
    let wanted = format!("r.example/many@sha256:{hex}");
    ensure!(status["imageID"] == wanted.as_str(), "{status}");
    Ok(())
}

#[test]
fn pull_secrets_that_are_not_there_are_told_by_an_event() -> anyhow::Result<()> {
    let fields = json!({"imagePullPolicy": "Always", "args": null});
    let secrets = json!({"imagePullSecrets": [{"name": "one"}, {"name": "two"}]});
    let pod = pod("localhost:1/app:1", fields).spec(secrets);
    let mut running = Run::of(pod)?.private_data().start()?;
    let event = running.wait_for("an Event", |line| {
        line.event("p", "FailedToRetrieveImagePullSecret").cloned()
    })?;
    let wanted = "Unable to retrieve some image pull secrets (one, two); attempting to pull the image may not succeed.";
    ensure!(event.to_string().contains(wanted), "{event}");
    Ok(())
}
