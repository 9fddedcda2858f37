//! Waiting for a peer, and for how long at most.
//!
//! The clock runs only while something is waited for, and no timer is made where nothing is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use wasmtime_wasi_http::Error;

/// A wait that may last so long.
#[derive(Debug)]
pub(super) struct Wait {
    most: Duration,
    until: Option<Pin<Box<Sleep>>>,
}

/// A stream whose peer has to take what is written to it.
pub(super) struct Patient<S> {
    stream: S,
    writing: Wait,
    flushing: Wait,
}

/// A body whose next piece may take so long.
pub(super) struct PatientBody<B> {
    body: B,
    wait: Wait,
}

// === impl Wait ===

impl Wait {
    pub(super) fn new(most: Duration) -> Self {
        Self { most, until: None }
    }

    /// Passes on what is ready; what is pending for too long is over, as nothing.
    pub(super) fn pass<T>(&mut self, cx: &mut Context<'_>, poll: Poll<T>) -> Poll<Option<T>> {
        if let Poll::Ready(ready) = poll {
            self.until = None;
            return Poll::Ready(Some(ready));
        }
        let most = self.most;
        let until = self
            .until
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(most)));
        until.as_mut().poll(cx).map(|()| None)
    }

    /// The same; what is over is an error.
    fn pass_io<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let passed = self.pass(cx, poll);
        passed.map(|ready| ready.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())))
    }
}

// === impl Patient ===

impl<S> Patient<S> {
    pub(super) fn new(stream: S, most: Duration) -> Self {
        Self {
            stream,
            writing: Wait::new(most),
            flushing: Wait::new(most),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.writing.pass_io(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.flushing.pass_io(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

// === impl PatientBody ===

impl<B> PatientBody<B> {
    pub(super) fn new(body: B, most: Duration) -> Self {
        let wait = Wait::new(most);
        Self { body, wait }
    }
}

impl<B> Body for PatientBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.wait.pass(cx, frame).map(|passed| match passed {
            Some(frame) => frame.map(|frame| frame.map_err(Into::into)),
            None => Some(Err(Error::ConnectionReadTimeout)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_over_after_its_time_and_each_wait_has_the_whole_of_it() {
        let begun = tokio::time::Instant::now();
        let mut wait = Wait::new(Duration::from_secs(60));
        let passed = poll_fn(|cx| wait.pass(cx, Poll::<()>::Pending)).await;
        assert_eq!((passed, begun.elapsed().as_secs()), (None, 60));
        let mut wait = Wait::new(Duration::from_secs(60));
        let short = poll_fn(|cx| wait.pass(cx, Poll::<()>::Pending));
        assert!(
            tokio::time::timeout(Duration::from_secs(59), short)
                .await
                .is_err()
        );
        let ready = poll_fn(|cx| wait.pass(cx, Poll::Ready(1))).await;
        assert_eq!(ready, Some(1));
        let begun = tokio::time::Instant::now();
        assert_eq!(poll_fn(|cx| wait.pass(cx, Poll::<()>::Pending)).await, None);
        assert_eq!(begun.elapsed().as_secs(), 60);
    }
}
