//! The CPU time of a process and of all that it started, thread by thread.
//!
//! From the kernel's own account of each thread, in nanoseconds: what `/proc/PID/stat` tells in
//! hundredths of a second is too coarse for a load of a tenth. What a thread spends between a look
//! and its end is not seen.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use rustix::process::Pid;

/// A tree of processes that is looked at again and again.
#[derive(Debug)]
pub(crate) struct Meter {
    root: i32,
    /// What each thread had spent at the last look.
    threads: HashMap<u32, u64>,
    /// What all threads have spent, ended ones included.
    spent: u64,
}

// === impl Meter ===

impl Meter {
    /// Counts from now on.
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) fn of(root: Pid) -> anyhow::Result<Self> {
        let mut meter = Self {
            root: root.as_raw_nonzero().get(),
            threads: HashMap::new(),
            spent: 0,
        };
        meter.look()?;
        meter.spent = 0;
        Ok(meter)
    }

    /// Seconds on a CPU since it was made.
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) fn seconds(&mut self) -> anyhow::Result<f64> {
        self.look()?;
        Ok(std::time::Duration::from_nanos(self.spent).as_secs_f64())
    }

    fn look(&mut self) -> anyhow::Result<()> {
        let mut now = HashMap::new();
        threads_of(self.root, &mut now)
            .with_context(|| format!("process {} is gone", self.root))?;
        for (thread, nanos) in &now {
            let before = self.threads.get(thread).copied().unwrap_or_default();
            // A number that another thread has got meanwhile begins anew.
            self.spent += nanos.checked_sub(before).unwrap_or(*nanos);
        }
        self.threads = now;
        Ok(())
    }
}

/// What each thread of a process and of its children has spent. Children that end meanwhile are
/// passed over.
fn threads_of(process: i32, found: &mut HashMap<u32, u64>) -> anyhow::Result<()> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let path = thread?.path();
        let Some((number, nanos)) = spent(&path) else {
            continue;
        };
        found.insert(number, nanos);
        let children = fs::read_to_string(path.join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|it| it.parse().ok()) {
            let _ = threads_of(child, found);
        }
    }
    Ok(())
}

/// A thread's number and nanoseconds; nothing where it has just ended.
fn spent(thread: &Path) -> Option<(u32, u64)> {
    let number = thread.file_name()?.to_str()?.parse().ok()?;
    let told = fs::read_to_string(thread.join("schedstat")).ok()?;
    Some((number, told.split(' ').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::Command;

    use super::*;
    use crate::process::Running;

    #[test]
    fn what_children_spend_counts() -> anyhow::Result<()> {
        // The shell's child computes, and tells when it has.
        let script =
            "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; sleep 60'; :";
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut running = Running::start(command)?;
        let mut meter = Meter::of(running.pid())?;
        let stdout = running.take_stdout().context("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        assert_eq!(line, "done\n");
        let spent = meter.seconds()?;
        assert!(spent > 0.001, "{spent}");
        Ok(())
    }

    #[test]
    fn a_process_that_is_gone_is_told() {
        let gone = Meter {
            root: i32::MAX,
            threads: HashMap::new(),
            spent: 0,
        };
        let mut gone = gone;
        assert!(gone.seconds().is_err());
    }
}
