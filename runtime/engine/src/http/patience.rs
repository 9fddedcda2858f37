//! Waiting for a peer, and for how long at most.
//!
//! The clock runs only while something is waited for, and no timer is made where nothing is.
//!
//! ```text
//! left ──waited for──> less ──a piece comes──> all of it again, or more by what its bytes are worth
//!                       └─ none ──> over
//! ```

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

/// A wait that may last so long.
#[derive(Debug)]
pub(super) struct Wait {
    most: Duration,
    /// How long it may last from when it began.
    left: Duration,
    /// Since when it lasts, and until when it may.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
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
    /// Bytes a second that earn the time that is waited; of nobody asked for where there are none.
    rate: Option<u32>,
}

// === impl Wait ===

impl Wait {
    pub(super) fn new(most: Duration) -> Self {
        Self {
            most,
            left: most,
            waiting: None,
        }
    }

    /// Passes on what is ready; what is pending for too long is over, as nothing.
    pub(super) fn pass<T>(&mut self, cx: &mut Context<'_>, poll: Poll<T>) -> Poll<Option<T>> {
        let most = self.most;
        self.pass_for(cx, poll, |_| most)
    }

    /// The same, where what is ready earns so much more time.
    fn pass_for<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<T>,
        earned: impl FnOnce(&T) -> Duration,
    ) -> Poll<Option<T>> {
        if let Poll::Ready(ready) = poll {
            let waited = self.waiting.take().map(|(since, _)| since.elapsed());
            let left = self.left.saturating_sub(waited.unwrap_or_default());
            self.left = left.saturating_add(earned(&ready)).min(self.most);
            return Poll::Ready(Some(ready));
        }
        let left = self.left;
        let (_, until) = self
            .waiting
            .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
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
        Self {
            body,
            wait: Wait::new(most),
            rate: None,
        }
    }

    /// The time comes back only with so many bytes for each second of it.
    pub(super) fn at_least(mut self, rate: u32) -> Self {
        self.rate = Some(rate);
        self
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
        let (rate, most) = (self.rate, self.wait.most);
        let passed = self.wait.pass_for(cx, frame, |frame| match (rate, frame) {
            (Some(rate), Some(Ok(frame))) => worth(frame, rate),
            _ => most,
        });
        passed.map(|passed| match passed {
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

/// The time that a piece of a body is worth at a rate.
fn worth(frame: &Frame<Bytes>, rate: u32) -> Duration {
    let bytes = frame.data_ref().map_or(0, Bytes::len);
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    Duration::from_secs(bytes)
        .checked_div(rate)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use http_body_util::BodyExt as _;

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

    /// A body whose pieces of so many bytes come after so many seconds each.
    struct Dripping {
        pieces: VecDeque<(u64, usize)>,
        next: Option<Pin<Box<Sleep>>>,
    }

    impl Body for Dripping {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            let Some((seconds, bytes)) = self.pieces.front().copied() else {
                return Poll::Ready(None);
            };
            let next = self
                .next
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_secs(seconds))));
            std::task::ready!(next.as_mut().poll(cx));
            self.next = None;
            self.pieces.pop_front();
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; bytes])))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_drips_a_body_is_cut_and_who_is_only_slow_is_not() {
        let rate = 256;
        for (pieces, whole) in [
            (vec![(59, 1); 10], false),
            (vec![(59, 59 * 256); 10], true),
            // A minute of arrears, and no more.
            (vec![(50, 0), (9, 0)], true),
            (vec![(50, 0), (11, 0)], false),
            // What was sent before is not worth more than that either.
            (vec![(0, 1 << 20), (61, 1)], false),
            (vec![(1, 256); 1000], true),
        ] {
            let told = format!("{pieces:?}");
            let body = Dripping {
                pieces: pieces.into(),
                next: None,
            };
            let body = PatientBody::new(body, Duration::from_secs(60)).at_least(rate);
            assert_eq!(body.collect().await.is_ok(), whole, "{told}");
        }
    }
}
