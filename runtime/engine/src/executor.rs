//! The threads that guests run on, and who runs next.
//!
//! Guests never run on the async runtime that serves probes, sockets and the API. They run here:
//! one thread per core at lower priority, each taking the runnable guest whose account is
//! furthest behind its fair share. A guest leaves its thread when it waits, when the epoch tick
//! tells it to yield, or when it ends.
//!
//! ```text
//! wake ──> ready (by virtual time) ──pop──> poll on a worker ──> pending: idle until woken
//!              ^        │                        │
//!              │        └─ out of budget ──> throttled until the budget is back
//!              └──────────── yielded ────────────┘
//! ```
//!
//! A guest that wakes another one is about to wait in most cases, so its own thread takes the
//! other next and no second thread is woken; if it goes on computing instead, the next tick wakes
//! one. That makes a round trip between two guests cost two switches of stack, not two of thread.

mod queue;
mod task;
mod tick;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::runtime::Handle;

use crate::account::Account;
use queue::{Next, Queue};
use task::Task;
pub use task::TaskHandle;
use tick::Tick;

/// How much nicer than everything else the guests' threads are.
const NICENESS: i32 = 5;

/// The guest threads of one process. Stops them when the last handle is dropped.
#[derive(Debug)]
pub struct Executor {
    shared: Arc<Shared>,
}

/// What workers, tasks and the tick share.
#[derive(Debug)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    /// Idle workers wait here.
    work: Condvar,
    tick: Tick,
}

// === impl Executor ===

impl Executor {
    /// Starts one thread per core that this process may use, and the tick. `runtime` serves the
    /// timers and kernel sockets of guests.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(runtime: &Handle) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            tick: Tick::default(),
        });
        let executor = Self {
            shared: Arc::clone(&shared),
        };
        let workers = thread::available_parallelism().map_or(1, usize::from);
        for n in 0..workers {
            let (shared, runtime) = (Arc::clone(&shared), runtime.clone());
            thread::Builder::new()
                .name(format!("guests-{n}"))
                .spawn(move || {
                    lower_priority();
                    let _runtime = runtime.enter();
                    shared.work();
                })?;
        }
        thread::Builder::new()
            .name("epoch-tick".to_owned())
            .spawn(move || shared.keep_ticking())?;
        Ok(executor)
    }

    /// Runs a future for a guest and charges its time to `account`. `done` is called on a worker
    /// with the result, or with `None` when the task was killed and its future dropped.
    pub fn spawn<F, D>(&self, account: Arc<Account>, future: F, done: D) -> TaskHandle
    where
        F: Future + Send + 'static,
        F::Output: Send,
        D: FnOnce(Option<F::Output>) + Send + 'static,
    {
        let task = Task::new(Arc::clone(&self.shared), account, future, done);
        task.wake_first();
        TaskHandle::new(task)
    }

    /// Lets tasks be scheduled again after [`Account::set_paused`] or new limits; those that may
    /// still not run are held back again at their turn.
    pub fn resume(&self) {
        let mut queue = self.shared.lock();
        queue.release_throttled(None);
        queue.release_paused();
        drop(queue);
        self.shared.work.notify_all();
    }

    /// Has the epoch of an engine advance with the tick.
    pub(crate) fn tick_for(&self, engine: &wasmtime::Engine) {
        self.shared.tick.add(engine);
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic on a worker leaves the queue as it was before its poll: still whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a task in line and wakes a worker where one is of use.
    fn enqueue(&self, task: Arc<Task>) {
        let mut queue = self.lock();
        queue.push(task);
        let wakes_from_guest = task::on_worker();
        let wake = queue.has_idle_worker() && !(wakes_from_guest && queue.len() <= 1);
        drop(queue);
        if wake {
            self.work.notify_one();
        }
    }

    /// One worker's life: take the next task, poll it, until stopped.
    fn work(&self) {
        task::mark_worker();
        let mut queue = self.lock();
        loop {
            match queue.next() {
                Next::Run(task) => {
                    if queue.start_running() {
                        self.tick.start();
                    }
                    drop(queue);
                    task.run();
                    queue = self.lock();
                    queue.stop_running();
                }
                Next::Wait(timeout) => {
                    queue.worker_rests();
                    queue = match timeout {
                        None => self
                            .work
                            .wait(queue)
                            .unwrap_or_else(PoisonError::into_inner),
                        Some(time) => {
                            self.work
                                .wait_timeout(queue, time)
                                .unwrap_or_else(PoisonError::into_inner)
                                .0
                        }
                    };
                    queue.worker_returns();
                }
                Next::Stop => return,
            }
        }
    }

    /// The tick's life: advance epochs while guests run, wait while none does.
    fn keep_ticking(&self) {
        loop {
            let mut queue = self.lock();
            if queue.is_stopped() {
                return;
            }
            let quiet = queue.rest_tick_if_quiet();
            let rescue = queue.has_idle_worker() && queue.len() > 0;
            drop(queue);
            if rescue {
                self.work.notify_one();
            }
            if quiet {
                self.tick.rest();
            } else {
                self.tick.advance();
                self.tick.pass();
            }
        }
    }

    fn stop(&self) {
        let left = self.lock().stop();
        self.work.notify_all();
        self.tick.start();
        drop(left);
    }
}

/// Guests yield to everything else on the machine. Where the system refuses, they do not.
fn lower_priority() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::debug!(%error, "guest threads keep the normal priority");
    }
}

#[cfg(test)]
mod tests;
