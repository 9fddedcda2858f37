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
//!
//! A worker without work sleeps; while work comes in quick succession one of them looks for it for
//! a moment before (`patience`).
//!
//! The threads are those of an async runtime of their own, and each worker is a task on it: a worker
//! that sleeps or looks hears of the kernel's sockets and timers at the same time, so that what comes
//! in on one is read by the thread that hears of it, and none is woken by another for every piece.
//! Where the one that heard is kept by its guest, the tick has another one listen. What blocks beside
//! guests (file calls) runs on further threads of that runtime, as nice as they.

mod bill;
mod patience;
mod queue;
mod task;
mod tick;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::unconstrained;

use crate::account::Account;
use bill::Bill;
use patience::Patience;
use queue::{Next, Queue};
use task::Task;
pub use task::TaskHandle;
use tick::Tick;

/// How much nicer than everything else the guests' threads are.
const NICENESS: i32 = 5;

/// For how long a worker runs one task after another before it looks what has come in on sockets, and
/// charges what they have spent.
/// Shorter than a turn of a guest that computes, and long enough for some dozen short ones.
const ROUND: Duration = Duration::from_micros(200);

/// The guest threads of one process. Stops them when it is dropped.
#[derive(Debug)]
pub struct Executor {
    shared: Arc<Shared>,
    runtime: Handle,
    /// Taken when it is dropped.
    threads: Option<Runtime>,
}

/// What workers, tasks and the tick share.
#[derive(Debug)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    /// Idle workers wait here.
    work: Notify,
    workers: usize,
    /// Changes with whatever a worker that looks for work should see.
    posted: AtomicU32,
    /// Whether looking is of use: not where it would hold up the one processor there is.
    may_look: bool,
    tick: Tick,
}

/// One worker, between two rounds.
#[derive(Default)]
struct Worker {
    patience: Patience,
    idle_since: Option<Instant>,
}

/// Why a worker runs nothing.
enum Rest {
    /// It has run for a while.
    Moment,
    /// There is nothing to run, at most for so long; as things stood when so much had been posted.
    Sleep {
        timeout: Option<Duration>,
        posted: u32,
    },
    /// The same, but something may come within this time.
    Look { time: Duration, posted: u32 },
    /// It is to end.
    Stop,
}

// === impl Executor ===

impl Executor {
    /// Starts one thread per core that this process may use, and the tick.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start() -> io::Result<Self> {
        Self::with_workers(thread::available_parallelism().map_or(1, usize::from))
    }

    fn with_workers(workers: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(workers));
        let started = AtomicUsize::new(0);
        let threads = Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name_fn(move || format!("guests-{}", started.fetch_add(1, Ordering::Relaxed)))
            .on_thread_start(lower_priority)
            .enable_all()
            .build()?;
        for _ in 0..workers {
            // Who has had how much is not for that runtime to say.
            threads.spawn(unconstrained(Arc::clone(&shared).work()));
        }
        let executor = Self {
            shared: Arc::clone(&shared),
            runtime: threads.handle().clone(),
            threads: Some(threads),
        };
        thread::Builder::new()
            .name("epoch-tick".to_owned())
            .spawn(move || shared.keep_ticking())?;
        Ok(executor)
    }

    /// The runtime of the guests' threads: who waits on its reactor is woken where guests run, and
    /// before any other thread is.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
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
        self.shared.call_all();
    }

    /// Says that a task comes in a moment: a worker that sleeps wakes and looks for it.
    pub(crate) fn expect(&self) {
        if self.shared.lock().expect() {
            self.shared.call_one();
        }
    }

    /// Has the epoch of an engine advance with the tick.
    pub(crate) fn tick_for(&self, engine: &wasmtime::Engine) {
        self.shared.tick.add(engine);
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(threads) = self.threads.take() {
            // It may be dropped by a task, which must not wait.
            threads.shutdown_background();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn new(workers: usize) -> Self {
        Self {
            queue: Mutex::default(),
            work: Notify::new(),
            workers,
            posted: AtomicU32::new(0),
            may_look: workers > 1,
            tick: Tick::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic on a worker leaves the queue as it was before its poll: still whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a task in line and wakes a worker where one is of use.
    fn enqueue(&self, task: Arc<Task>) {
        let mut queue = self.lock();
        queue.push(task);
        let on_worker = task::on_worker();
        let is_for_own_thread = on_worker && queue.len() <= 1;
        // The worker that looks takes one, as soon as it is on its processor.
        let is_seen = queue.is_looking() && queue.len() <= 1;
        let wake = queue.has_idle_worker() && !is_seen;
        drop(queue);
        if is_for_own_thread {
            return;
        }
        self.posted.fetch_add(1, Ordering::Release);
        if wake {
            self.wake(1);
        }
    }

    /// Has one worker look at the queue: something in it may run again.
    fn call_one(&self) {
        self.posted.fetch_add(1, Ordering::Release);
        self.wake(1);
    }

    /// Has every worker look at the queue.
    fn call_all(&self) {
        self.posted.fetch_add(1, Ordering::Release);
        self.wake(self.workers);
    }

    /// Wakes idle workers. A task that a thread of tokio wakes is the next of that thread, which no
    /// other takes from it until it has a new next one: so a thread of guests, which may be kept by
    /// its guest, begins one that has nothing to do. Waking one would not do, for it may be awake.
    fn wake(&self, workers: usize) {
        for _ in 0..workers {
            self.work.notify_one();
        }
        if task::on_worker()
            && let Ok(runtime) = Handle::try_current()
        {
            drop(runtime.spawn(std::future::ready(())));
        }
    }

    /// One worker's life: take the next task, poll it, until stopped.
    async fn work(self: Arc<Self>) {
        let mut worker = Worker::default();
        loop {
            match self.run_some(&mut worker) {
                // Sockets are looked at meanwhile.
                Rest::Moment => tokio::task::yield_now().await,
                Rest::Sleep { timeout, posted } => self.sleep(timeout, posted).await,
                Rest::Look { time, posted } => self.look(time, posted).await,
                Rest::Stop => return,
            }
        }
    }

    /// Runs tasks until there is none, or for a while.
    fn run_some(&self, worker: &mut Worker) -> Rest {
        let _marked = task::mark_worker();
        let begun = Instant::now();
        let mut bill = Bill::new(begun, ROUND);
        let mut queue = self.lock();
        loop {
            match queue.next() {
                Next::Run(task) => {
                    queue.take_expected();
                    if let Some(since) = worker.idle_since.take() {
                        let waited = begun.saturating_duration_since(since);
                        worker.patience.waited(waited);
                        // While this worker looked, no other was woken.
                        if queue.len() > 0 && queue.has_idle_worker() {
                            self.wake(1);
                        }
                    }
                    if queue.start_running() {
                        self.tick.start();
                    }
                    drop(queue);
                    task.run(&mut bill);
                    queue = self.lock();
                    queue.stop_running();
                    if queue.len() > 0 && bill.is_over() {
                        return Rest::Moment;
                    }
                }
                Next::Wait(timeout) => {
                    let is_new = worker.idle_since.is_none();
                    worker.idle_since.get_or_insert_with(Instant::now);
                    let look = if queue.take_expected() {
                        Some(patience::MOST)
                    } else {
                        worker.patience.time().filter(|_| is_new)
                    };
                    let may_look = self.may_look && timeout.is_none();
                    let posted = self.posted.load(Ordering::Acquire);
                    return match look.filter(|_| may_look) {
                        Some(time) if queue.begin_looking() => Rest::Look { time, posted },
                        _ => {
                            queue.worker_rests();
                            Rest::Sleep { timeout, posted }
                        }
                    };
                }
                Next::Stop => return Rest::Stop,
            }
        }
    }

    /// Looks for work for some time, on sockets too, as long as nothing was posted since.
    async fn look(&self, time: Duration, posted: u32) {
        let begun = Instant::now();
        while self.posted.load(Ordering::Acquire) == posted && begun.elapsed() < time {
            tokio::task::yield_now().await;
        }
        self.lock().end_looking();
    }

    /// Sleeps until called, or for so long; not at all if something was posted since.
    async fn sleep(&self, timeout: Option<Duration>, posted: u32) {
        let mut called = pin!(self.work.notified());
        called.as_mut().enable();
        if self.posted.load(Ordering::Acquire) == posted {
            match timeout {
                None => called.await,
                // Called or not, it looks.
                Some(time) => drop(tokio::time::timeout(time, called).await),
            }
        }
        self.lock().worker_returns();
    }

    /// The tick's life: advance epochs while guests run, wait while none does.
    fn keep_ticking(&self) {
        loop {
            let mut queue = self.lock();
            if queue.is_stopped() {
                return;
            }
            let rescue = queue.has_idle_worker() && (queue.len() > 0 || queue.is_stuck());
            let quiet = queue.rest_tick_if_quiet();
            drop(queue);
            if rescue {
                self.call_one();
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
        self.call_all();
        self.tick.start();
        drop(left);
    }
}

/// Lets whoever waits for the thread run first.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
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
