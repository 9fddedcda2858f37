//! A guest's files: its mount table, and the threads that blocking calls run on.
//!
//! A file call may block for as long as the disk or the network file system behind it pleases, so
//! none runs on a guest thread. Each pod has a few such calls under way at most, and the time
//! that they take on a CPU is the container's.
//!
//! A call that finds no memory left for a file has ended its guest, and never answers it.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use volume::{FsError, MountTable};

use crate::account::{Account, thread_time};

/// File calls of one pod that may be under way at once: a pod that hangs on a dead disk takes so
/// many threads and no more.
const CALLS_PER_POD: usize = 8;

/// The bound on one pod's blocking file calls; shared by its instances.
#[derive(Debug, Clone)]
pub struct FileCalls {
    permits: Arc<Semaphore>,
}

/// The files of one instance.
#[derive(Clone)]
pub(crate) struct Files {
    /// What it sees.
    pub(crate) table: MountTable,
    calls: FileCalls,
    account: Arc<Account>,
}

// === impl FileCalls ===

impl FileCalls {
    /// For a new pod.
    pub fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(CALLS_PER_POD)),
        }
    }
}

impl Default for FileCalls {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Files ===

impl Files {
    pub(crate) fn new(table: MountTable, calls: FileCalls, account: Arc<Account>) -> Self {
        Self {
            table,
            calls,
            account,
        }
    }

    /// Runs a blocking call and waits for it.
    pub(crate) async fn call<T, F>(&self, call: F) -> Result<T, FsError>
    where
        F: FnOnce() -> Result<T, FsError> + Send + 'static,
        T: Send + 'static,
    {
        self.settled(self.spawn(call).await).await
    }

    /// The result of a call. None ever comes to a guest that the call has ended: it would go on with
    /// it until its end reaches it, where a process killed by the kernel does not return.
    pub(crate) async fn settled<T>(
        &self,
        joined: Result<Result<T, FsError>, tokio::task::JoinError>,
    ) -> Result<T, FsError> {
        let result = finished(joined);
        if matches!(result, Err(FsError::InsufficientMemory)) && self.account.is_over() {
            return std::future::pending().await;
        }
        result
    }

    /// Begins a blocking call. It runs to its end even if nobody waits for it any more.
    pub(crate) fn spawn<T, F>(&self, call: F) -> JoinHandle<Result<T, FsError>>
    where
        F: FnOnce() -> Result<T, FsError> + Send + 'static,
        T: Send + 'static,
    {
        let account = Arc::clone(&self.account);
        let timed = move || {
            let before = thread_time();
            let result = call();
            account.charge(thread_time().saturating_sub(before));
            result
        };
        match Arc::clone(&self.calls.permits).try_acquire_owned() {
            Ok(permit) => tokio::task::spawn_blocking(move || {
                let _permit = permit;
                timed()
            }),
            Err(_) => {
                let permits = Arc::clone(&self.calls.permits);
                tokio::spawn(async move {
                    let _permit = permits.acquire_owned().await;
                    finished(tokio::task::spawn_blocking(timed).await)
                })
            }
        }
    }
}

/// The result of a call; one that panicked or was dropped with the runtime is an I/O error.
pub(crate) fn finished<T>(
    joined: Result<Result<T, FsError>, tokio::task::JoinError>,
) -> Result<T, FsError> {
    joined.unwrap_or_else(|error| {
        tracing::error!(%error, "a file call did not finish");
        Err(FsError::Io)
    })
}
