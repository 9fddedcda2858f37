//! The tasks of one server, or of one request to outside: all on the guests' threads, all at their
//! container's cost, and none longer than what they belong to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::account::Account;
use crate::executor::TaskHandle;
use crate::instance::{Engine, Farewell};

/// Connections, guests that go on after their answer, and what hyper runs beside either.
pub(super) struct Tasks {
    engine: Engine,
    account: Arc<Account>,
    state: Mutex<State>,
    /// Somebody has ended.
    ended: Notify,
    /// Told once the last task is gone: each holds this.
    _farewell: Arc<Farewell>,
}

#[derive(Default)]
struct State {
    next: u64,
    running: HashMap<u64, TaskHandle>,
    /// Nothing starts any more.
    closed: bool,
}

/// Ends all tasks when it is dropped.
pub(super) struct TasksOwner(pub(super) Arc<Tasks>);

/// Runs what hyper wants to have run beside a connection.
#[derive(Clone)]
pub(super) struct Beside(pub(super) Arc<Tasks>);

// === impl Tasks ===

impl Tasks {
    pub(super) fn new(engine: Engine, account: Arc<Account>, farewell: Arc<Farewell>) -> Self {
        Self {
            engine,
            account,
            state: Mutex::default(),
            ended: Notify::new(),
            _farewell: farewell,
        }
    }

    /// Runs a future, unless its owner has ended.
    pub(super) fn spawn(self: &Arc<Self>, future: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.state();
        if state.closed {
            // What is dropped is dropped with the lock free again.
            drop(state);
            return;
        }
        let number = state.next;
        state.next += 1;
        let tasks = Arc::clone(self);
        let account = Arc::clone(&self.account);
        // Under the lock, so that it is known before it can end.
        let task = self
            .engine
            .executor()
            .spawn(account, future, move |_| tasks.forget(number));
        state.running.insert(number, task);
    }

    /// Waits until none is left.
    pub(super) async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.state().running.is_empty() {
                return;
            }
            ended.await;
        }
    }

    fn forget(&self, number: u64) {
        let task = self.state().running.remove(&number);
        drop(task);
        self.ended.notify_waiters();
    }

    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let running = std::mem::take(&mut state.running);
        drop(state);
        for task in running.values() {
            task.kill();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl TasksOwner ===

impl Drop for TasksOwner {
    fn drop(&mut self) {
        self.0.close();
    }
}

// === impl Beside ===

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Beside {
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
