//! What images leave on the disk: nothing where there is no room, and nothing that nobody uses.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::json;
use sha2::{Digest as _, Sha512};

use super::{pod, room, saved, sha256};
use crate::harness::{Run, Running, as_root_in_own_namespace, guest, skip, wasmpod};

#[test]
fn an_image_that_finds_no_room_leaves_nothing() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip("a small disk needs root and namespaces of its own");
    }
    let (home, _images) = room()?;
    let archive = home.path().join("saved.tar");
    let config = json!({"Entrypoint": ["/app.wasm"]});
    saved(&archive, &config, &[("app.wasm", &vec![7; 8 << 20])])?;
    let data = home.path().join("small");
    fs::create_dir(&data)?;
    // A disk of 4 MiB, and what is left in it when the program has ended.
    let script = "mount -t tmpfs -o size=4m,mode=0700 none \"$1\" || exit 9\n\
        \"$0\" image import --data-dir \"$1\" \"$2\"; code=$?\n\
        find \"$1\" -type f; exit $code";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(wasmpod()?)
        .arg(&data)
        .arg(&archive)
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(125), "{output:?}");
    ensure!(error.contains("no room for"), "{error}");
    ensure!(error.contains("wasmpod image rm --unused"), "{error}");
    let left = String::from_utf8_lossy(&output.stdout);
    let left: Vec<&str> = left
        .lines()
        .filter(|line| !line.ends_with("/lock"))
        .collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn what_was_changed_on_the_disk_and_is_of_no_registry_is_told_with_what_to_do() -> anyhow::Result<()>
{
    let (home, images) = room()?;
    let hello = guest("hello")?.display().to_string();
    let archive = home.path().join("saved.tar").display().to_string();
    let config = json!({"Entrypoint": ["/app.wasm"]});
    saved(
        Path::new(&archive),
        &config,
        &[("app.wasm", &fs::read(&hello)?)],
    )?;
    let data = home.path().join("data");
    // Nobody listens there.
    let (packed, imported) = ("localhost:1/hello:1", "localhost:1/scratch:1");
    for (name, make) in [
        (packed, ["pack", &*hello, "-t", packed]),
        (imported, ["import", &*archive, "-t", imported]),
    ] {
        images.good(&make)?;
        let told = images.good(&["inspect", name, "--output", "json"])?;
        let told: serde_json::Value = serde_json::from_str(&told)?;
        let digest = told["layers"][0]["digest"].as_str().unwrap_or_default();
        let hex = digest.trim_start_matches("sha256:");
        let blob = data.join("content/blobs/sha256").join(hex);
        let size = usize::try_from(fs::metadata(&blob)?.len())?;
        fs::write(&blob, vec![0; size])?;
        // Nor what was unpacked of it.
        fs::remove_dir_all(data.join("content/roots"))?;
        let ended = Run::new()?.data(&data).args([name]).finish()?;
        let said = ended.said.transcript();
        ensure!(ended.code == Some(125), "{said}");
        for wanted in [name, digest, "image pull", "import or pack it again"] {
            ensure!(said.contains(wanted), "{wanted}: {said}");
        }
        images.good(&make)?;
        let ended = Run::new()?.data(&data).args([name]).finish()?;
        ensure!(ended.code == Some(0), "{}", ended.said.transcript());
    }
    Ok(())
}

#[test]
fn a_program_named_by_sha512_that_was_changed_on_the_disk_does_not_run() -> anyhow::Result<()> {
    let (home, images) = room()?;
    let wasm = fs::read(guest("hello")?)?;
    let hex: String = Sha512::digest(&wasm)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let layer = format!("sha512:{hex}");
    let layout = home.path().join("layout");
    let blobs = layout.join("blobs");
    for algorithm in ["sha256", "sha512"] {
        fs::create_dir_all(blobs.join(algorithm))?;
    }
    fs::write(blobs.join("sha512").join(&hex), &wasm)?;
    let put = |media_type: &str, content: &str| -> anyhow::Result<serde_json::Value> {
        let hex = sha256(content.as_bytes());
        fs::write(blobs.join("sha256").join(&hex), content)?;
        let (digest, size) = (format!("sha256:{hex}"), content.len());
        Ok(json!({"mediaType": media_type, "digest": digest, "size": size}))
    };
    let config = json!({"layerDigests": [layer]}).to_string();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type,
        "config": put("application/vnd.wasm.config.v0+json", &config)?,
        "layers": [{"mediaType": "application/wasm", "digest": layer, "size": wasm.len()}],
    });
    let mut entry = put(media_type, &manifest.to_string())?;
    // Nobody listens there.
    let name = "localhost:1/hello:1";
    entry["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    fs::write(layout.join("index.json"), index.to_string())?;
    images.good(&["import", &layout.display().to_string()])?;
    let data = home.path().join("data");
    let ended = Run::new()?.data(&data).args([name]).finish()?;
    ensure!(ended.code == Some(0), "{}", ended.said.transcript());
    let blob = data.join("content/blobs/sha512").join(&hex);
    fs::write(blob, vec![0; wasm.len()])?;
    let ended = Run::new()?.data(&data).args([name]).finish()?;
    let said = ended.said.transcript();
    ensure!(ended.code == Some(125), "{said}");
    for wanted in [layer.as_str(), "was changed", "import or pack it again"] {
        ensure!(said.contains(wanted), "{wanted}: {said}");
    }
    Ok(())
}

#[test]
fn an_import_that_fails_or_is_killed_leaves_nothing() -> anyhow::Result<()> {
    let (home, images) = room()?;
    let archive = home.path().join("saved.tar");
    let config = json!({"Entrypoint": ["/app.wasm"]});
    saved(&archive, &config, &[("app.wasm", &vec![7; 1 << 20])])?;
    let whole = fs::read(&archive)?;
    fs::write(&archive, &whole[..whole.len() / 2])?;
    images.bad(&["import", &archive.display().to_string()])?;
    let content = home.path().join("data/content");
    let left =
        |room: &str| -> anyhow::Result<usize> { Ok(fs::read_dir(content.join(room))?.count()) };
    ensure!(left("ingest")? == 0, "it left something");
    ensure!(left("blobs/sha256")? == 0, "it left a blob");
    // Half of the archive comes in, and then nothing.
    let mut import = Command::new(wasmpod()?)
        .args(["image", "import", "-", "--data-dir"])
        .arg(home.path().join("data"))
        .stdin(Stdio::piped())
        .spawn()?;
    let mut stdin = import.stdin.take().context("a pipe")?;
    // More than the pipe holds: what is over has been read, and so has been what was before.
    stdin.write_all(&whole[..whole.len() / 2])?;
    import.kill()?;
    import.wait()?;
    ensure!(left("ingest")? > 0, "it was at work");
    images.good(&["rm", "--unused"])?;
    ensure!(left("ingest")? == 0, "what it left is collected");
    Ok(())
}

#[test]
fn an_image_that_has_lost_its_name_goes_with_the_last_run_of_it() -> anyhow::Result<()> {
    let (home, images) = room()?;
    let host = guest("host")?.display().to_string();
    images.good(&["pack", &host, "-t", "used:1"])?;
    let data = home.path().join("data");
    let run = || -> anyhow::Result<Running> {
        let fields = json!({"imagePullPolicy": "Never", "args": ["sleep"]});
        let pod = pod("used:1", fields).spec(json!({"terminationGracePeriodSeconds": 1}));
        let mut running = Run::of(pod)?.data(&data).start()?;
        running.wait_container("p", "c", "a running container", |status| {
            status["state"]["running"].is_object()
        })?;
        Ok(running)
    };
    let (first, second) = (run()?, run()?);
    let said = images.good(&["rm", "used:1"])?;
    ensure!(said.contains("Deleted: 0 blobs"), "{said}");
    for (running, wanted) in [(first, 3), (second, 0)] {
        running.signal(rustix::process::Signal::INT)?;
        running.finish()?;
        let left = fs::read_dir(data.join("content/blobs/sha256"))?.count();
        ensure!(left == wanted, "{left} blobs, not {wanted}");
    }
    Ok(())
}

#[test]
fn images_that_no_run_uses_are_removed_together() -> anyhow::Result<()> {
    let (home, images) = room()?;
    let host = guest("host")?.display().to_string();
    let other = guest("hello")?.display().to_string();
    images.good(&["pack", &host, "-t", "used:1"])?;
    images.good(&["pack", &other, "-t", "unused:1"])?;
    let fields = json!({"imagePullPolicy": "Never", "args": ["sleep"]});
    let run = Run::of(pod("used:1", fields))?.data(&home.path().join("data"));
    let mut running = run.start()?;
    running.wait_container("p", "c", "a running container", |status| {
        status["state"]["running"].is_object()
    })?;
    let said = images.good(&["rm", "--unused"])?;
    ensure!(said.contains("Untagged: unused:1"), "{said}");
    ensure!(said.contains("Deleted: 3 blobs"), "{said}");
    ensure!(images.good(&["ls"])?.contains("used"), "it is in use");
    running.signal(rustix::process::Signal::KILL)?;
    running.finish()?;
    let said = images.good(&["rm", "--unused"])?;
    ensure!(said.contains("Untagged: used:1"), "{said}");
    ensure!(images.good(&["ls", "-q"])?.is_empty(), "nothing is left");
    let outcome = images.run(&["rm"])?;
    ensure!(outcome.stderr.contains("REFERENCE"), "{outcome:?}");
    Ok(())
}
