//! A file call under way, and what comes of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::{JoinError, JoinHandle};
use volume::FsError;

use crate::account::Account;

/// A call under way. It runs to its end even if this is dropped.
///
/// None ever comes of a call that has ended its guest: that would go on with the answer until its
/// end reaches it, where a process killed by the kernel does not return.
#[derive(Debug)]
pub(crate) struct FileCall<T> {
    /// Nothing once it has answered, or never will.
    call: Option<JoinHandle<Result<T, FsError>>>,
    account: Arc<Account>,
}

// === impl FileCall ===

impl<T> FileCall<T> {
    pub(crate) fn new(call: JoinHandle<Result<T, FsError>>, account: Arc<Account>) -> Self {
        Self {
            call: Some(call),
            account,
        }
    }
}

impl<T> Future for FileCall<T> {
    type Output = Result<T, FsError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(call) = &mut self.call else {
            return Poll::Pending;
        };
        let result = finished(ready!(Pin::new(call).poll(cx)));
        self.call = None;
        if matches!(result, Err(FsError::InsufficientMemory)) && self.account.is_over() {
            return Poll::Pending;
        }
        Poll::Ready(result)
    }
}

/// The result of a call; one that panicked or was dropped with the runtime is an I/O error.
pub(super) fn finished<T>(joined: Result<Result<T, FsError>, JoinError>) -> Result<T, FsError> {
    joined.unwrap_or_else(|error| {
        tracing::error!(%error, "a file call did not finish");
        Err(FsError::Io)
    })
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use model::runtime::Limits;

    use super::*;

    #[tokio::test]
    async fn nothing_comes_of_a_call_that_has_ended_its_guest() {
        for (is_over, result, answer) in [
            (false, Ok(3), Some(Ok(3))),
            (false, Err(FsError::Exist), Some(Err(FsError::Exist))),
            (
                false,
                Err(FsError::InsufficientMemory),
                Some(Err(FsError::InsufficientMemory)),
            ),
            (true, Ok(3), Some(Ok(3))),
            (true, Err(FsError::InsufficientMemory), None),
        ] {
            let account = Arc::new(Account::new(Limits {
                cpu_weight: 100,
                cpu_limit: None,
                memory: Some(1 << 20),
                storage: None,
            }));
            if is_over {
                assert!(account.hold(2 << 20).is_err());
            }
            let work = tokio::spawn(async move { result });
            while !work.is_finished() {
                tokio::task::yield_now().await;
            }
            let mut call = FileCall::new(work, account);
            let mut cx = Context::from_waker(Waker::noop());
            let told = |poll| match poll {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            };
            assert_eq!(told(Pin::new(&mut call).poll(&mut cx)), answer);
            assert_eq!(told(Pin::new(&mut call).poll(&mut cx)), None, "once");
        }
    }
}
