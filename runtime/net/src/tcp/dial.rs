//! A connect that is under way at another switch.
//!
//! One task waits for the answer, because the guest's thread only looks and is woken; it ends with
//! its socket.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use crate::error::NetError;
use crate::lock::Lock;
use crate::stream::TcpStream;
use crate::waiters::Waiters;

/// What a connect has come to.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// A stream; through the kernel it may still be under way.
    Stream(TcpStream),
    /// Another switch has been asked.
    Peer(Dial),
}

/// The question to another switch. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Dial {
    shared: Arc<Lock<Outcome>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Outcome {
    told: Option<Result<TcpStream, NetError>>,
    waiters: Waiters,
}

// === impl Dial ===

impl Dial {
    /// Waits for `socket`, and makes it a stream.
    pub(crate) fn start(
        reactor: &tokio::runtime::Handle,
        socket: impl Future<Output = Result<OwnedFd, NetError>> + Send + 'static,
        stream: impl FnOnce(OwnedFd) -> Result<TcpStream, NetError> + Send + 'static,
    ) -> Self {
        let shared = Arc::<Lock<Outcome>>::default();
        let outcome = Arc::clone(&shared);
        let task = reactor.spawn(async move {
            let told = socket.await.and_then(stream);
            let mut outcome = outcome.lock();
            outcome.told = Some(told);
            let waiters = outcome.waiters.take();
            drop(outcome);
            waiters.wake();
        });
        Self { shared, task }
    }

    /// What came of it; nothing while it is under way.
    pub(crate) fn outcome(&self) -> Option<Result<TcpStream, NetError>> {
        self.shared.lock().told.clone()
    }

    /// Ready when there is an outcome.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut outcome = self.shared.lock();
        if outcome.told.is_some() {
            return Poll::Ready(());
        }
        outcome.waiters.add(cx.waker());
        Poll::Pending
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        self.task.abort();
    }
}
