//! A process from its start to its end, timed, and never left behind.
//!
//! Nothing of ours runs beside it: this thread sleeps until the kernel tells of the end, then
//! reads what was said. A process may therefore say no more than a pipe holds, 64 KiB, unless its
//! output is taken and read meanwhile.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The longest that any process of the bench may take, on a machine that is busy with others.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that runs. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    name: String,
    started: Instant,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// From before its start until after its end.
    pub(crate) took: Duration,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

// === impl Running ===

impl Running {
    /// Starts it, without input.
    ///
    /// # Errors
    /// When there is no such program, or the system refuses a process.
    pub(crate) fn start(mut command: Command) -> anyhow::Result<Self> {
        let name = format!("{command:?}");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            child,
            name,
            started,
        })
    }

    /// Its output, to be read while it runs; [`Ended::stdout`] is then empty.
    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its errors, as [`Running::take_stdout`].
    pub(crate) fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end, and is killed.
    pub(crate) fn ended(mut self) -> anyhow::Result<Ended> {
        let end = pidfd_open(self.pid(), PidfdFlags::empty())?;
        if !is_told(&end)? {
            bail!("{} did not end in {} s", self.name, PATIENCE.as_secs());
        }
        let status = self.child.wait()?;
        let took = self.started.elapsed();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_end(&mut stdout)?;
        }
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_end(&mut stderr)?;
        }
        Ok(Ended {
            took,
            status,
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// Waits for its end, which must be a success.
    ///
    /// # Errors
    /// When it does not end, or fails: with its own words.
    pub(crate) fn succeeded(self) -> anyhow::Result<Ended> {
        let name = self.name.clone();
        let ended = self.ended()?;
        if !ended.status.success() {
            bail!(
                "{name} ended with {}: {}{}",
                ended.status,
                ended.stdout,
                ended.stderr
            );
        }
        Ok(ended)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended and was waited for: nothing is left to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its successful end.
///
/// # Errors
/// When it cannot be started, does not end, or fails.
pub(crate) fn run(command: Command) -> anyhow::Result<Ended> {
    Running::start(command)?.succeeded()
}

/// Waits until the process of this descriptor has ended; false when patience has.
fn is_told(end: &OwnedFd) -> anyhow::Result<bool> {
    let patience = Timespec::try_from(PATIENCE)?;
    let mut waited = [PollFd::new(end, PollFlags::IN)];
    Ok(poll(&mut waited, Some(&patience))? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_process_said_and_how_it_ended() -> anyhow::Result<()> {
        let ended = Running::start(shell("echo out; echo err >&2; exit 3"))?.ended()?;
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(
            (ended.stdout.as_str(), ended.stderr.as_str()),
            ("out\n", "err\n")
        );
        Ok(())
    }

    #[test]
    fn a_failure_tells_its_words() {
        let error = run(shell("echo why >&2; false")).unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
        assert!(run(Command::new("/nonexistent/program")).is_err());
    }

    #[test]
    fn a_process_that_is_dropped_is_gone() -> anyhow::Result<()> {
        let running = Running::start(shell("exec sleep 3600"))?;
        let pid = Pid::from_child(&running.child);
        drop(running);
        assert!(rustix::process::test_kill_process(pid).is_err());
        Ok(())
    }
}
