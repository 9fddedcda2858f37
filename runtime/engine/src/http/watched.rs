//! The body of a request, seen to when it is let go of before its end.
//!
//! A guest may drop it at any time. What becomes of the rest is decided by whoever made it: over
//! HTTP/1.1 that is noted for the end of the connection (`linger`), over HTTP/2 it is taken (`rest`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::linger::Unread;
use super::rest::Left;

/// A body of which it is seen to what is left when it is let go of before its end.
pub(super) struct Watched<B: Body> {
    /// `None` only inside `Drop`.
    body: Option<B>,
    is_over: bool,
    leftover: Leftover<B>,
}

/// What becomes of the rest of a body that is let go of.
pub(super) enum Leftover<B> {
    /// Of HTTP/1.1: hyper sees to it, and it is noted.
    Noted(Unread),
    /// Of HTTP/2.
    Taken(Arc<Left<B>>),
}

/// The body of a request.
pub(super) type RequestBody = Watched<Incoming>;

// === impl Watched ===

impl<B: Body> Watched<B> {
    pub(super) fn new(body: B, leftover: Leftover<B>) -> Self {
        Self {
            body: Some(body),
            is_over: false,
            leftover,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(cx);
        self.is_over |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(Body::size_hint);
        hint.unwrap_or_default()
    }
}

impl<B: Body> Drop for Watched<B> {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        let Some(rest) = rest.filter(|_| !self.is_over) else {
            return;
        };
        match &self.leftover {
            // It is dropped after that, at which hyper looks.
            Leftover::Noted(unread) => unread.note(),
            Leftover::Taken(left) => left.let_go(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    #[tokio::test]
    async fn a_body_that_was_read_to_its_end_is_told_apart_from_one_that_was_not() {
        for (text, is_read, is_unread) in
            [("", false, false), ("a", true, false), ("a", false, true)]
        {
            let unread = Unread::default();
            unread.clear();
            let body = Full::<Bytes>::from(text);
            let mut body = Watched::new(body, Leftover::Noted(unread.clone()));
            if is_read {
                assert!(body.frame().await.is_some());
            }
            drop(body);
            assert_eq!(unread.is_some(), is_unread, "{text:?} {is_read}");
        }
    }
}
