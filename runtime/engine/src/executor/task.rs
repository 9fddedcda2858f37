//! One guest's future on the executor.
//!
//! ```text
//! idle ──wake──> queued ──worker──> running ──pending──> idle
//!                   ^                  │ └─ready / killed──> done
//!                   └─ woken while running, or yielded
//! ```

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::Shared;
use super::bill::Bill;
use crate::account::Account;

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
/// Running, and woken meanwhile: goes back in line after this poll.
const WOKEN: u8 = 3;
const DONE: u8 = 4;

thread_local! {
    static ON_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// A future with the account that pays for it.
pub(super) struct Task {
    work: Mutex<Option<Work>>,
    state: AtomicU8,
    killed: AtomicBool,
    account: Arc<Account>,
    shared: Arc<Shared>,
}

type Work = Box<dyn Guest>;

/// A future and what to call with its result.
trait Guest: Send {
    /// Polls; true when it has ended and is dropped.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool;
    /// Drops the future.
    fn kill(&mut self);
    /// Tells the result, or that there is none.
    fn finish(self: Box<Self>);
}

struct Spawned<F: Future, D> {
    future: Option<Pin<Box<F>>>,
    output: Option<F::Output>,
    done: D,
}

/// Ends a task from outside. Dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct TaskHandle {
    task: Arc<Task>,
}

/// This thread runs guests, until it is dropped.
pub(super) struct OnWorker(());

/// Whether this thread runs guests.
pub(super) fn on_worker() -> bool {
    ON_WORKER.get()
}

/// Declares this thread one that runs guests, as long as the answer lives.
pub(super) fn mark_worker() -> OnWorker {
    ON_WORKER.set(true);
    OnWorker(())
}

// === impl OnWorker ===

impl Drop for OnWorker {
    fn drop(&mut self) {
        ON_WORKER.set(false);
    }
}

// === impl Task ===

impl Task {
    pub(super) fn new<F, D>(
        shared: Arc<Shared>,
        account: Arc<Account>,
        future: F,
        done: D,
    ) -> Arc<Self>
    where
        F: Future + Send + 'static,
        F::Output: Send,
        D: FnOnce(Option<F::Output>) + Send + 'static,
    {
        let spawned = Spawned {
            future: Some(Box::pin(future)),
            output: None,
            done,
        };
        Arc::new(Self {
            work: Mutex::new(Some(Box::new(spawned))),
            state: AtomicU8::new(IDLE),
            killed: AtomicBool::new(false),
            account,
            shared,
        })
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Puts a new task in line.
    pub(super) fn wake_first(self: &Arc<Self>) {
        Wake::wake_by_ref(self);
    }

    /// Polls once on this worker, and puts itself back in line if it was woken meanwhile.
    pub(super) fn run(self: Arc<Self>, bill: &mut Bill) {
        // A swap, so that whoever woke it before is seen: what it wrote, this poll reads.
        self.state.swap(RUNNING, Ordering::AcqRel);
        bill.begin(&self.account);
        let ended = self.poll();
        bill.end(ended.is_some());
        if let Some(work) = ended {
            self.state.store(DONE, Ordering::Release);
            work.finish();
            return;
        }
        let slept = self
            .state
            .compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire);
        if slept.is_err() {
            self.state.store(QUEUED, Ordering::Release);
            let shared = Arc::clone(&self.shared);
            shared.enqueue(self);
        }
    }

    /// The work, once its future is gone and nothing is left to do but to tell.
    fn poll(self: &Arc<Self>) -> Option<Work> {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let guest = work.as_mut()?;
        let ended = if self.is_killed() {
            guest.kill();
            true
        } else {
            let waker = Waker::from(Arc::clone(self));
            let mut cx = Context::from_waker(&waker);
            // A defect in a host call ends its guest, not the thread that others run on.
            catch_unwind(AssertUnwindSafe(|| guest.poll(&mut cx))).unwrap_or_else(|_| {
                tracing::error!("a host call panicked: its guest is ended");
                guest.kill();
                true
            })
        };
        if ended { work.take() } else { None }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let woken =
            self.state
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| match state {
                    // A write even where nothing changes, for the same reason.
                    IDLE | QUEUED => Some(QUEUED),
                    RUNNING => Some(WOKEN),
                    _ => None,
                });
        if woken == Ok(IDLE) {
            self.shared.enqueue(Arc::clone(self));
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

// === impl Spawned ===

impl<F, D> Guest for Spawned<F, D>
where
    F: Future + Send,
    F::Output: Send,
    D: FnOnce(Option<F::Output>) + Send,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(future) = self.future.as_mut() else {
            return true;
        };
        let Poll::Ready(output) = future.as_mut().poll(cx) else {
            return false;
        };
        // The guest's memory is given back before anybody hears of its end.
        self.future = None;
        self.output = Some(output);
        true
    }

    fn kill(&mut self) {
        self.future = None;
    }

    fn finish(self: Box<Self>) {
        (self.done)(self.output);
    }
}

// === impl TaskHandle ===

impl TaskHandle {
    pub(super) fn new(task: Arc<Task>) -> Self {
        Self { task }
    }

    /// Drops the task's future at the next chance: at once when it waits, at the next tick when
    /// it computes. Its `done` is called with `None`, unless it ended by itself before.
    pub fn kill(&self) {
        self.task.killed.store(true, Ordering::Release);
        Wake::wake_by_ref(&self.task);
        // Already in line, and perhaps held there for its budget or by a pause.
        if self.task.state.load(Ordering::Acquire) == QUEUED {
            self.task.shared.lock().release_killed();
            self.task.shared.call_one();
        }
    }
}
