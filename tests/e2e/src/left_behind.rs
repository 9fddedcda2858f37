//! What a killed run leaves in its data directory, who takes it away, and who must not.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Pod, Run, Running, as_root_in_own_namespace, skip};

const MEMORY: &str = "/dev/shm";

/// Held by tests that make names there, or see which are new.
static NAMES: Mutex<()> = Mutex::new(());

/// A user without rights.
const NOBODY: u32 = 65534;

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
    Ok(within(Path::new(MEMORY))?
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
    if !Path::new(MEMORY).is_dir() {
        return skip("this machine has no /dev/shm");
    }
    let _alone = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
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

/// The name that a pod's volumes in memory have in `/dev/shm`: FNV-1a of its directory.
fn name_in_memory(pod: &Path) -> String {
    let hash = pod
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    format!("wasmpod-{hash:016x}")
}

#[test]
fn what_cannot_be_deleted_keeps_nothing_else() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip("needs root to become another user: run `cargo xtask test` as root");
    }
    let run = Run::of(Pod::one("hello", &[], Value::Null))?.by_user(NOBODY)?;
    let data = fs::canonicalize(run.path("data"))?;
    let (pods, runs) = (data.join("pods"), data.join("runs"));
    let (stuck, shut, taken) = (pods.join("0a-1"), pods.join("0a-2"), pods.join("0a-3"));
    let (inner, last, claim) = (shut.join("inner"), pods.join("0a-4"), runs.join("0b"));
    for folder in [&pods, &runs, &stuck, &shut, &inner, &taken, &last] {
        fs::DirBuilder::new().mode(0o700).create(folder)?;
        chown(folder, Some(NOBODY), Some(NOBODY))?;
    }
    // Only its owner can empty it, and that is root.
    fs::create_dir_all(stuck.join("roots/file"))?;
    // Its owner has taken all rights away.
    fs::write(inner.join("file"), "text")?;
    for folder in [&inner, &shut] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o000))?;
    }
    let _alone = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    // Somebody else has made what its volumes in memory would be called.
    let theirs = tempfile::Builder::new()
        .prefix(&name_in_memory(&taken))
        .rand_bytes(0)
        .tempdir_in(MEMORY)?;
    fs::write(&claim, "0a-1\n0a-2\n0a-3\n0a-4\n")?;
    chown(&claim, Some(NOBODY), Some(NOBODY))?;
    let ended = run.finish()?;
    let told = ended.said.transcript();
    assert_eq!(ended.code, Some(0), "{told}");
    assert_eq!(within(&pods)?, [stuck].into(), "{told}");
    assert_eq!(within(&runs)?, [claim].into(), "it is tried again: {told}");
    assert!(theirs.path().is_dir());
    Ok(())
}
