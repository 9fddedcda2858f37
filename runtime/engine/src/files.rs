//! A guest's files: its mount table, and the threads that blocking calls run on.
//!
//! A file call may block for as long as the disk or the network file system behind it pleases, so
//! none runs on a guest thread. Each pod has a few such calls under way at most, and the time
//! that they take on a CPU is the container's.
//!
//! A call that finds no memory left for a file has ended its guest, and never answers it.

mod call;
mod listing;
mod piece;

use std::sync::Arc;

use tokio::sync::Semaphore;
use volume::{FsError, MountTable};

pub(crate) use self::call::FileCall;
use self::call::finished;
pub(crate) use self::listing::Entries;
pub(crate) use self::piece::{PIECE, Piece, Position};
use crate::account::{Account, Held, thread_time};

/// File calls of one pod that may be under way at once: a pod that hangs on a dead disk takes so
/// many threads and no more.
const CALLS_PER_POD: usize = 8;

/// What a call that is in line or under way costs the host beside what it was given: its task.
const CALL: usize = 1024;

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
        self.spawn(call).await
    }

    /// The same for a guest that may have many under way, with so many bytes of text in their
    /// arguments. They count as its memory until the call has run, whoever waits for it: one that is
    /// in line when its guest takes it back keeps them all the same.
    pub(crate) async fn call_with<T, F>(&self, text: usize, call: F) -> Result<T, FsError>
    where
        F: FnOnce() -> Result<T, FsError> + Send + 'static,
        T: Send + 'static,
    {
        let held = self.held(CALL.saturating_add(text)).await;
        self.spawn(move || {
            let _held = held;
            call()
        })
        .await
    }

    /// Has so many bytes that are kept for the guest count as its memory.
    ///
    /// # Errors
    /// Insufficient-memory, where there is none left: the guest has been ended.
    pub(crate) fn hold(&self, bytes: usize) -> Result<Held, FsError> {
        let held = self.account.hold(bytes);
        held.map_err(|_| FsError::InsufficientMemory)
    }

    /// The same, waited for: it never comes where there is no memory left.
    pub(crate) async fn held(&self, bytes: usize) -> Held {
        match self.hold(bytes) {
            Ok(held) => held,
            Err(_) => std::future::pending().await,
        }
    }

    /// Begins a blocking call. It runs to its end even if nobody waits for it any more, and until
    /// then it may be in line: what it keeps for the guest has to be held by the call itself.
    pub(crate) fn spawn<T, F>(&self, call: F) -> FileCall<T>
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
        let call = match Arc::clone(&self.calls.permits).try_acquire_owned() {
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
        };
        FileCall::new(call, Arc::clone(&self.account))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Barrier;
    use std::task::{Context, Waker};

    use model::runtime::Limits;
    use volume::{PodVolumes, RootSpec};

    use super::*;

    fn files(folder: &tempfile::TempDir) -> Files {
        let account = Account::new(Limits {
            cpu_weight: 100,
            cpu_limit: None,
            memory: None,
            storage: None,
        });
        let volumes = PodVolumes::new(folder.path().to_owned(), BTreeMap::new());
        let root = RootSpec {
            container: "guest".to_owned(),
            ..RootSpec::default()
        };
        let table = MountTable::new(&volumes, root, &[]).expect("a table");
        Files::new(table, FileCalls::new(), Arc::new(account))
    }

    #[tokio::test]
    async fn what_a_call_in_line_keeps_is_held_though_nobody_waits_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(&folder);
        let held = || files.account.stats().memory;
        let gate = Arc::new(Barrier::new(CALLS_PER_POD + 1));
        for _ in 0..CALLS_PER_POD {
            let gate = Arc::clone(&gate);
            drop(files.spawn(move || {
                gate.wait();
                Ok(())
            }));
        }
        let before = held();
        let mut call = Box::pin(files.call_with(100, || Ok(())));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        drop(call);
        assert_eq!(held() - before, (CALL + 100) as u64);
        drop(files.read(&files.table.root(), 0, 10));
        assert_eq!(held() - before, (2 * CALL + 110) as u64);
        // They are in line before this one.
        let last = files.spawn(|| Ok(()));
        gate.wait();
        assert_eq!(last.await, Ok(()));
        let all = u32::try_from(CALLS_PER_POD).expect("a few");
        assert!(files.calls.permits.acquire_many(all).await.is_ok());
        assert_eq!(held(), before);
    }
}
