//! What a killed run leaves in its data directory, who takes it away, and who must not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Pod, Run, Running};

/// As the hidden flag `--placement` spells them.
const PLACEMENTS: [&str; 3] = ["task", "child", "child-per-pod"];

/// A pod that writes to a volume on disk and one in memory, and holds both.
fn holder() -> Pod {
    let mounts = json!({"volumeMounts": [
        {"name": "disk", "mountPath": "/disk"}, {"name": "memory", "mountPath": "/memory"},
    ]});
    let disk = ["write-hold", "/disk/f", "text"];
    let memory = ["write-hold", "/memory/f", "text"];
    Pod::new("holder")
        .container("disk", "fs", &disk, mounts.clone())
        .container("memory", "fs", &memory, mounts)
        .spec(json!({"volumes": [
            {"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}},
        ]}))
}

/// Starts it with this data directory, and waits until both volumes are there.
fn hold(data: &Path, placement: &str) -> anyhow::Result<Running> {
    let run = Run::of(holder())?.args(["--placement", placement]);
    let mut running = run.data(data).start()?;
    running.wait_log("holder", "disk", "wrote /disk/f")?;
    running.wait_log("holder", "memory", "wrote /memory/f")?;
    Ok(running)
}

/// A run that ends by itself.
fn hello(data: &Path) -> anyhow::Result<()> {
    let ended = Run::of(Pod::one("hello", &[], Value::Null))?
        .data(data)
        .finish()?;
    anyhow::ensure!(ended.code == Some(0), "{}", ended.said.transcript());
    Ok(())
}

/// What lies in a folder.
fn within(folder: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    Ok(entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?)
}

/// The directories of wasmpod in `/dev/shm` that hold what the holder wrote to memory.
fn in_memory() -> anyhow::Result<BTreeSet<PathBuf>> {
    let ours = |path: &PathBuf| path.to_string_lossy().contains("/wasmpod-");
    Ok(within(Path::new("/dev/shm"))?
        .into_iter()
        .filter(ours)
        .collect())
}

#[test]
fn the_next_run_takes_away_what_a_killed_one_left() -> anyhow::Result<()> {
    for placement in PLACEMENTS {
        let data = tempfile::tempdir()?;
        let running = hold(data.path(), placement)?;
        running.signal(Signal::KILL)?;
        running.finish()?;
        assert_eq!(within(&data.path().join("pods"))?.len(), 1, "{placement}");
        assert_eq!(within(&data.path().join("runs"))?.len(), 1, "{placement}");
        hello(data.path())?;
        for folder in ["pods", "runs"] {
            let left = within(&data.path().join(folder))?;
            assert!(left.is_empty(), "{placement}: {left:?}");
        }
    }
    Ok(())
}

#[test]
fn volumes_in_memory_of_a_killed_run_go_with_the_rest() -> anyhow::Result<()> {
    if !Path::new("/dev/shm").is_dir() {
        return Ok(());
    }
    for placement in PLACEMENTS {
        let data = tempfile::tempdir()?;
        let run = Run::of(holder())?
            .args(["--placement", placement])
            .data(data.path())
            .alone();
        let before = in_memory()?;
        let mut running = run.start()?;
        running.wait_log("holder", "memory", "wrote /memory/f")?;
        let own: BTreeSet<_> = in_memory()?.difference(&before).cloned().collect();
        assert_eq!(own.len(), 1, "{placement}: {own:?}");
        running.signal(Signal::KILL)?;
        running.finish()?;
        hello(data.path())?;
        let left = in_memory()?;
        assert!(left.is_disjoint(&own), "{placement}: {left:?}");
    }
    Ok(())
}

#[test]
fn two_runs_share_a_data_directory_and_leave_each_other_alone() -> anyhow::Result<()> {
    for placement in PLACEMENTS {
        let data = tempfile::tempdir()?;
        let running = hold(data.path(), placement)?;
        let pods = within(&data.path().join("pods"))?;
        assert_eq!(pods.len(), 1, "{placement}");
        hello(data.path())?;
        assert_eq!(within(&data.path().join("pods"))?, pods, "{placement}");
        running.signal(Signal::INT)?;
        let ended = running.finish()?;
        assert_eq!(ended.code, Some(130), "{}", ended.said.transcript());
        for folder in ["pods", "runs"] {
            let left = within(&data.path().join(folder))?;
            assert!(left.is_empty(), "{placement}: {left:?}");
        }
    }
    Ok(())
}

#[test]
fn what_no_claim_names_is_left_alone() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    hello(data.path())?;
    let (pods, runs) = (data.path().join("pods"), data.path().join("runs"));
    let (named, other) = (pods.join("0a-1"), pods.join("0a-2"));
    let outside = data.path().join("outside");
    for folder in [&named, &other, &outside] {
        fs::create_dir(folder)?;
    }
    fs::write(runs.join("0b"), "0a-1\n../outside\n\n")?;
    // Killed before its claim was whole.
    fs::write(runs.join("0c.tmp"), "0a")?;
    hello(data.path())?;
    assert_eq!(within(&pods)?, [other].into());
    assert!(outside.is_dir());
    assert!(within(&runs)?.is_empty());
    Ok(())
}
