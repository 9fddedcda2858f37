//! How an instance ends: from outside, once, or by itself; and what each end is called.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use model::runtime::{Exit, InstanceId};
use net::PodNet;
use tokio::sync::mpsc::UnboundedSender;

use super::{Report, stats};
use crate::account::{Account, OutOfMemory, Victim, killed};
use crate::executor::TaskHandle;

/// Ends an instance from outside, once.
pub(super) struct End {
    told: Told,
    /// Set and looked at under the lock of `told` only. Of being told to end and of getting the
    /// task, whichever comes second sees the other and kills: without the lock both could miss.
    /// It lies outside because the task itself holds what was told.
    task: OnceLock<TaskHandle>,
}

/// Tells how an instance ended once nothing of it is left: whatever runs for it holds this.
pub(crate) struct Farewell {
    pub(super) instance: InstanceId,
    pub(super) reports: UnboundedSender<Report>,
    pub(super) told: Told,
    pub(super) account: Arc<Account>,
    pub(super) net: PodNet,
    /// How it ended, where it was by itself.
    pub(super) exit: OnceLock<Exit>,
}

/// How the instance was told to end, if it was. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Option<Exit>>>);

// === impl End ===

impl End {
    pub(super) fn new() -> Self {
        Self {
            told: Told::default(),
            task: OnceLock::new(),
        }
    }

    /// How it is told to end.
    pub(super) fn told(&self) -> Told {
        self.told.clone()
    }

    /// What is to be ended; it may have been asked for meanwhile.
    pub(super) fn is_for(&self, task: TaskHandle) {
        let told = self.told.lock();
        let task = self.task.get_or_init(|| task);
        let is_told = told.is_some();
        drop(told);
        if is_told {
            task.kill();
        }
    }

    /// Ends it, unless it was told to end before.
    pub(super) fn kill(&self, exit: Exit) {
        let mut told = self.told.lock();
        if told.is_some() {
            return;
        }
        *told = Some(exit);
        let task = self.task.get();
        drop(told);
        if let Some(task) = task {
            task.kill();
        }
    }
}

impl Victim for End {
    fn end(&self, exit: Exit) {
        self.kill(exit);
    }
}

// === impl Farewell ===

impl Farewell {
    /// It has ended by itself.
    pub(super) fn exits(&self, exit: Exit) {
        // It ends once.
        let _ = self.exit.set(exit);
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let exit = self.exit.take().or_else(|| self.told.get());
        // Nobody listens any more only when the host is going away.
        let _ = self.reports.send(Report::Ended {
            instance: self.instance,
            exit: exit.unwrap_or_else(|| signalled(9)),
            stats: stats(&self.account, &self.net),
        });
    }
}

// === impl Told ===

impl Told {
    pub(super) fn get(&self) -> Option<Exit> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Exit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An exit by its own will.
pub(crate) fn exited(code: i32) -> Exit {
    let code = code & 0xff;
    let reason = if code == 0 { "Completed" } else { "Error" };
    Exit {
        code,
        reason: reason.to_owned(),
        message: String::new(),
    }
}

/// An exit by a signal.
pub fn signalled(signal: i32) -> Exit {
    Exit {
        code: 128 + signal,
        reason: "Error".to_owned(),
        message: String::new(),
    }
}

/// An end before the entry point was called.
pub(super) fn start_error(error: &wasmtime::Error) -> Exit {
    match error.downcast_ref::<OutOfMemory>() {
        Some(_) => failed(error),
        None => unstarted(told(error)),
    }
}

/// The end of what was made and did not start, as containerd reports it.
pub(super) fn unstarted(message: String) -> Exit {
    Exit {
        code: 128,
        reason: "StartError".to_owned(),
        message,
    }
}

/// An end that was not the program's own will, or its call of `exit`.
pub(crate) fn failed(error: &wasmtime::Error) -> Exit {
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return exited(exit.0);
    }
    if let Some(memory) = error.downcast_ref::<OutOfMemory>() {
        return memory.exit();
    }
    if error.is::<wasmtime::GcHeapOutOfMemory<()>>() {
        // The collected heap grows through the same limiter, which refused.
        let message = "the container's garbage-collected memory cannot grow within its limit: raise resources.limits.memory or keep less";
        return killed(message.to_owned());
    }
    // As a process that aborts: 128 + SIGABRT.
    Exit {
        code: 134,
        reason: "Error".to_owned(),
        message: told(error),
    }
}

/// The longest message of an end; Kubernetes keeps 4096 bytes of a termination message.
const MESSAGE: usize = 2048;

/// What ended it, and then where and meanwhile: the frames of a trap may be many, and are cut.
fn told(error: &wasmtime::Error) -> String {
    let mut message = error.root_cause().to_string();
    let root = message.clone();
    let others = error.chain().map(ToString::to_string);
    for other in others.filter(|other| *other != root) {
        message.push('\n');
        message.push_str(&other);
    }
    let mut end = MESSAGE.min(message.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::runtime::Limits;

    use wasmtime::error::Context as _;

    use super::*;
    use crate::{Account, Executor};

    #[test]
    fn the_cause_of_an_end_comes_before_a_backtrace_of_any_length() {
        let trap = wasmtime::Error::new(wasmtime::Trap::StackOverflow);
        let error = Err::<(), _>(trap).context("a frame\n".repeat(1000));
        let told = told(&error.expect_err("an error"));
        assert!(
            told.starts_with("wasm trap: call stack exhausted\na frame\n"),
            "{told}"
        );
        assert_eq!(told.len(), MESSAGE);
    }

    /// Told to end and given its task at the same moment, by two threads: it ends.
    #[test]
    fn no_kill_is_lost_between_being_told_and_having_a_task() {
        let executor = Executor::start().unwrap();
        let limits = Limits {
            cpu_weight: 100,
            cpu_limit: None,
            memory: None,
            storage: None,
        };
        for _ in 0..1000 {
            let (ended, end_of) = std::sync::mpsc::channel();
            let end = End::new();
            let told = end.told();
            let done = move |exit: Option<()>| ended.send((exit, told.get())).unwrap();
            let account = Arc::new(Account::new(limits));
            let task = executor.spawn(account, std::future::pending(), done);
            std::thread::scope(|scope| {
                scope.spawn(|| end.kill(signalled(9)));
                scope.spawn(|| end.is_for(task));
            });
            end.kill(signalled(15));
            let end = end_of.recv_timeout(Duration::from_secs(60));
            assert_eq!(end, Ok((None, Some(signalled(9)))));
        }
    }
}
