//! What images leave on the disk: nothing where there is no room, and nothing that nobody uses.

use std::fs;
use std::process::Command;

use anyhow::ensure;
use serde_json::json;

use super::{pod, room, saved};
use crate::harness::{Run, as_root_in_own_namespace, guest, skip, wasmpod};

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
