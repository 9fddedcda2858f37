//! What a guest leaves of a request of HTTP/2.
//!
//! A stream whose answer is sent is closed, with a reset of no error where its client is not done
//! (RFC 9113, 8.1). Some clients take that for a failure, so what is left of a request is taken
//! first, LINGER_BYTES of it at most. Some also send no more once they are answered: where a guest
//! lets go of a request before it answers, and the length of the rest is told, the answer waits.
//!
//! ```text
//! let go of ──what comes is taken──> answered ──┬─ its length is told ──LINGER, or its end──┐
//!     │                                         └─ else ────────────────> the head is sent <┘
//!     └─ later, or not at its end by then ──what comes is taken──> closed
//!                                           LINGER after the answer ──> closed with a reset
//! ```

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use tokio::sync::oneshot;

use super::limits;
use crate::executor::yield_now;

/// What is left of a request's body once that is let go of.
pub(super) struct Left<B>(Mutex<Leaving<B>>);

struct Leaving<B> {
    /// What was let go of, and how much of it may still be taken, until there is a head.
    rest: Option<(B, usize)>,
    has_head: bool,
    /// Its client waits to be asked for it.
    is_held: bool,
    /// Takes it from then on.
    after: Option<After<B>>,
}

/// What takes the rest of a body, so many bytes at most, beside everything else.
type After<B> = Box<dyn FnOnce(B, usize) + Send>;

/// Takes the rest of a body, so many bytes at most, until so long after its request is answered.
pub(super) async fn take<B>(mut body: B, most: usize, answered: oneshot::Receiver<()>)
where
    B: Body<Data = Bytes> + Unpin,
{
    let taking = async {
        let mut left = most;
        while !is_long(&body, left) {
            let Some(Ok(frame)) = body.frame().await else {
                return;
            };
            left = left.saturating_sub(bytes_of(&frame));
            drop(frame);
            // Who sends fast does not keep the thread from the others.
            yield_now().await;
        }
    };
    let late = async {
        // An error is the end of whoever answers.
        let _ = answered.await;
        tokio::time::sleep(limits::LINGER).await;
    };
    tokio::select! {
        biased;
        () = taking => {}
        () = late => {}
    }
}

// === impl Left ===

impl<B: Body<Data = Bytes> + Unpin> Left<B> {
    /// Nothing yet. What is left after the head of the answer goes to `after`.
    pub(super) fn new(is_held: bool, after: impl FnOnce(B, usize) + Send + 'static) -> Self {
        Self(Mutex::new(Leaving {
            rest: None,
            has_head: false,
            is_held,
            after: Some(Box::new(after)),
        }))
    }

    /// Waits for an answer, and takes what is left meanwhile; then for the rest, if it is known to
    /// be short.
    pub(super) async fn taken_before<T>(
        &self,
        mut answering: Pin<&mut impl Future<Output = T>>,
    ) -> T {
        let answer = poll_fn(|cx| {
            let answered = answering.as_mut().poll(cx);
            // What was let go of just now, too. Whether it is over does not matter yet.
            let _ = self.poll_taken(cx);
            answered
        })
        .await;
        let taken = poll_fn(|cx| self.poll_taken(cx));
        let is_late = self.is_short() && {
            let waited = tokio::time::timeout(limits::LINGER, taken).await;
            waited.is_err()
        };
        self.go_on(is_late);
        answer
    }

    /// Takes a piece of what is there; ready where there is nothing left to be taken.
    fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut leaving = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((body, most)) = leaving.rest.as_mut() else {
            return Poll::Ready(());
        };
        *most = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => most.saturating_sub(bytes_of(&frame)),
            Some(Err(_)) | None => 0,
        };
        if *most == 0 || body.is_end_stream() {
            leaving.rest = None;
            return Poll::Ready(());
        }
        drop(leaving);
        // Who sends fast does not keep the thread from the others.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether it is known to end soon.
    fn is_short(&self) -> bool {
        let leaving = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_short = |(body, most): &(B, usize)| {
            let is_told = body.size_hint().exact().is_some();
            is_told && !is_long(body, *most)
        };
        !leaving.is_held && leaving.rest.as_ref().is_some_and(is_short)
    }

    /// There is a head: what is left then, unless it is too late, is taken beside.
    fn go_on(&self, is_late: bool) {
        let mut leaving = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.has_head = true;
        let (rest, after) = match leaving.rest.take() {
            None => return,
            Some(rest) => (rest, leaving.after.take()),
        };
        drop(leaving);
        if let (Some(after), false) = (after, is_late) {
            after(rest.0, rest.1);
        }
    }
}

impl<B> Left<B> {
    /// A body is let go of.
    pub(super) fn let_go(&self, body: B) {
        let mut leaving = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !leaving.has_head {
            leaving.rest = Some((body, limits::LINGER_BYTES));
            return;
        }
        let after = leaving.after.take();
        drop(leaving);
        if let Some(after) = after {
            after(body, limits::LINGER_BYTES);
        }
    }
}

/// Whether more is known to come than may be taken.
fn is_long(body: &impl Body, most: usize) -> bool {
    most == 0 || body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX)
}

fn bytes_of(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests;
