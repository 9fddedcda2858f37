//! Work that a guest waits for and the host does: in a task of its own, because a guest may be held
//! back for long, out of CPU time or paused, and others must not wait for what it has begun.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Work under way; given up when dropped. As a future it is the result, or nothing where the
/// runtime ends.
#[derive(Debug)]
pub(crate) struct Running<T>(Option<JoinHandle<T>>);

// === impl Running ===

impl<T: Send + 'static> Running<T> {
    /// Begins some work, and does it now where nothing has to be waited for.
    pub(crate) fn start(
        on: &Handle,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Self> {
        let mut work = Box::pin(work);
        let mut cx = Context::from_waker(Waker::noop());
        match work.as_mut().poll(&mut cx) {
            Poll::Ready(result) => Ok(result),
            Poll::Pending => Err(Self(Some(on.spawn(work)))),
        }
    }

    /// Gives it up, and hands out what tells when it is gone.
    pub(crate) fn give_up(&mut self) -> Option<JoinHandle<T>> {
        let task = self.0.take()?;
        task.abort();
        Some(task)
    }
}

impl<T> Future for Running<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(task) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let result = std::task::ready!(Pin::new(task).poll(cx));
        self.0 = None;
        Poll::Ready(result.ok())
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
