//! Compiling: once, whoever asks for it at the same time.
//!
//! The compiler here is a script around the real one: it tells that it was asked, and goes on when
//! it is let go. So two starts do meet, and how fast this machine is makes no difference.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::retry_on_intr;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Ended, PATIENCE, Pod, Run, pods, wasmpod};

/// The message of each compilation that was carried out.
const COMPILED: &str = "compiled";

/// A compiler that waits until it is let go.
struct Gate {
    folder: TempDir,
    /// A line from each compiler that was asked.
    asked: BufReader<File>,
    /// A line for each that may go on.
    go: File,
}

// === impl Gate ===

impl Gate {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        for name in ["asked", "go"] {
            let path = folder.path().join(name);
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        let real = wasmpod()?.with_file_name("wasmpod-compile");
        let (here, real) = (folder.path().display(), real.display());
        let script = format!(
            "#!/bin/sh\necho asked >{here}/asked\nread go <{here}/go\nexec {real} \"$@\"\n"
        );
        let compiler = folder.path().join("compiler");
        fs::write(&compiler, script)?;
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o700))?;
        // Both ends of each, so that it never ends, and opening one waits for nobody.
        let open = |name| {
            let path = folder.path().join(name);
            File::options().read(true).write(true).open(path)
        };
        Ok(Self {
            asked: BufReader::new(open("asked")?),
            go: open("go")?,
            folder,
        })
    }

    fn compiler(&self) -> PathBuf {
        self.folder.path().join("compiler")
    }

    /// Waits until so many have asked, and lets all of them go at once.
    fn open_for(&mut self, compilers: usize) -> anyhow::Result<()> {
        for _ in 0..compilers {
            self.wait_for_one()?;
            self.asked.read_line(&mut String::new())?;
        }
        self.go.write_all("\n".repeat(compilers).as_bytes())?;
        Ok(())
    }

    /// Waits until a line is there; each is written at once.
    fn wait_for_one(&self) -> anyhow::Result<()> {
        if !self.asked.buffer().is_empty() {
            return Ok(());
        }
        let patience = Timespec::try_from(PATIENCE)?;
        let mut waited = [PollFd::new(self.asked.get_ref(), PollFlags::IN)];
        let ready = retry_on_intr(|| poll(&mut waited, Some(&patience)))?;
        ensure!(
            ready > 0,
            "no compiler was asked for {} s",
            PATIENCE.as_secs()
        );
        Ok(())
    }
}

/// A run that tells of compilations, with a data directory that several may share.
fn run(manifest: &str, gate: &Gate, data: &Path) -> anyhow::Result<Run> {
    let run = Run::of(manifest)?.data(data).args(["-v"]);
    Ok(run.variable("WASMPOD_COMPILE", gate.compiler()))
}

fn compilations(said: &str) -> usize {
    said.lines().filter(|line| line.contains(COMPILED)).count()
}

fn greets(ended: &Ended, pod: &str, container: &str, greeting: &str) -> bool {
    let logs = ended.said.logs(pod, container);
    logs.iter().any(|line| line.starts_with(greeting))
}

#[test]
fn two_starts_at_once_compile_once() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let mut gate = Gate::new()?;
    let manifest = Pod::one("hello", &["Ada"], Value::Null).to_string();
    let first = run(&manifest, &gate, data.path())?.start()?;
    let second = run(&manifest, &gate, data.path())?.start()?;
    gate.open_for(2)?;
    let ended = [first.finish()?, second.finish()?];
    let mut compiled = 0;
    for ended in &ended {
        let transcript = ended.said.transcript();
        assert_eq!(ended.code, Some(0), "{transcript}");
        assert!(greets(ended, "p", "c", "Hello, Ada."), "{transcript}");
        compiled += compilations(&ended.said.text());
    }
    assert_eq!(compiled, 1);
    Ok(())
}

#[test]
fn one_run_asks_once_for_an_image_of_many_pods() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let mut gate = Gate::new()?;
    let hello = |pod: &str| {
        let pod = Pod::new(pod);
        pod.container("a", "hello", &["Ada"], Value::Null)
            .container("b", "hello", &["Bob"], Value::Null)
    };
    let manifest = pods(&[hello("one"), hello("two"), hello("three")]);
    let running = run(&manifest, &gate, data.path())?.start()?;
    // A second compiler would wait for ever, and its pod with it.
    gate.open_for(1)?;
    let ended = running.finish()?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.code, Some(0), "{transcript}");
    assert_eq!(compilations(&ended.said.text()), 1, "{transcript}");
    for (pod, container, greeting) in [("one", "a", "Hello, Ada."), ("three", "b", "Hello, Bob.")] {
        assert!(greets(&ended, pod, container, greeting), "{transcript}");
    }
    Ok(())
}
