//! Whether a body was sent to its end: what a guest of WASI 0.3 is told of its own.
//!
//! Whoever sends a body need not ask it for its end. Where its length is known, or there can be none,
//! hyper drops it over HTTP/1.1 as soon as nothing is left, or without a look at it.
//!
//! A guest that has ended may have left the whole of its answer behind: what lies there can be
//! taken before it is sent, and the guest is needed no more.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use wasmtime_wasi_http::Error;

use crate::account::Held;

/// A body that tells how it fared.
pub(super) struct Transmitted<B: Body<Data = Bytes> + Unpin> {
    body: B,
    /// Pieces of it that were taken before anybody asked: what a short answer has, and trailers.
    early: [Option<Result<Frame<Bytes>, B::Error>>; 2],
    /// There are no others.
    is_whole: bool,
    /// Nobody once it is told, or once the body has failed.
    teller: Option<Teller>,
    /// Who tells instead, as long as nobody has asked for anything.
    unasked: Option<oneshot::Sender<Teller>>,
    /// What the host holds of it.
    _chunks: Held,
    /// Goes with it.
    _here: Option<oneshot::Sender<Infallible>>,
}

/// Who tells; dropped without a word it tells that nothing was sent.
pub(super) struct Teller(oneshot::Sender<()>);

/// Tells of a request whose body nobody has asked for anything: that it is answered means that it was
/// sent, where its body dropped alone could mean that there was no connection.
pub(super) struct Unasked(oneshot::Receiver<Teller>);

/// Waits for the end of an answer's body.
pub(super) struct Gone(oneshot::Receiver<Infallible>);

/// Who is told, and by whom.
pub(super) fn told() -> (
    Teller,
    impl Future<Output = Result<(), Error>> + Send + 'static,
) {
    let (teller, told) = oneshot::channel();
    let told = async { told.await.map_err(|_| Error::ConnectionTerminated) };
    (Teller(teller), told)
}

// === impl Transmitted ===

impl<B: Body<Data = Bytes> + Unpin> Transmitted<B> {
    /// The body of an answer, and its end.
    pub(super) fn of_answer(body: B, teller: Teller, chunks: Held) -> (Self, Gone) {
        let (here, gone) = oneshot::channel();
        let body = Self {
            body,
            early: [None, None],
            is_whole: false,
            teller: Some(teller),
            unasked: None,
            _chunks: chunks,
            _here: Some(here),
        };
        (body, Gone(gone))
    }

    /// Takes what lies there of a body that nobody has asked for anything, and tells whether that
    /// is all. A longer one than a short answer is left where it is.
    pub(super) fn take_early(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        for place in &mut self.early {
            match Pin::new(&mut self.body).poll_frame(&mut nobody) {
                // Whoever asks next is woken.
                Poll::Pending => return false,
                Poll::Ready(None) => {
                    self.is_whole = true;
                    return true;
                }
                Poll::Ready(Some(frame)) => {
                    // Nothing comes after an error.
                    self.is_whole = frame.is_err();
                    *place = Some(frame);
                }
            }
            if self.is_whole {
                return true;
            }
        }
        self.is_whole = self.body.is_end_stream();
        self.is_whole
    }

    /// The body of a request, and who is to hear that it is answered.
    pub(super) fn of_request(body: B, teller: Teller, chunks: Held) -> (Self, Unasked) {
        let (unasked, left) = oneshot::channel();
        let body = Self {
            body,
            early: [None, None],
            is_whole: false,
            teller: Some(teller),
            unasked: Some(unasked),
            _chunks: chunks,
            _here: None,
        };
        (body, Unasked(left))
    }

    /// The next piece of those that were taken before.
    fn next_early(&mut self) -> Option<Result<Frame<Bytes>, B::Error>> {
        let [first, second] = &mut self.early;
        first.take().or_else(|| second.take())
    }

    /// Bytes of those, and whether they are nothing else.
    fn early_bytes(&self) -> (u64, bool) {
        let (mut bytes, mut is_all) = (0_u64, true);
        for frame in self.early.iter().flatten() {
            let data = frame.as_ref().ok().and_then(Frame::data_ref);
            is_all &= data.is_some();
            let length = data.map_or(0, Bytes::len);
            bytes = bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        }
        (bytes, is_all)
    }

    fn tell(&mut self) {
        if let Some(teller) = self.teller.take() {
            teller.tell();
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Transmitted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.unasked = None;
        let frame = match self.next_early() {
            None if self.is_whole => Poll::Ready(None),
            None => Pin::new(&mut self.body).poll_frame(cx),
            early => Poll::Ready(early),
        };
        match &frame {
            // Whoever knows that it is the last piece asks for no other.
            Poll::Ready(Some(Ok(_))) if self.is_end_stream() => self.tell(),
            Poll::Ready(Some(Err(_))) => self.teller = None,
            Poll::Ready(None) => self.tell(),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let is_early = self.early.iter().any(Option::is_some);
        !is_early && (self.is_whole || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let (early, is_all) = self.early_bytes();
        match self.body.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(rest.saturating_add(early)),
            // Behind a length that is told there is no place for trailers.
            None if self.is_whole && is_all => SizeHint::with_exact(early),
            None => SizeHint::default(),
        }
    }
}

/// Nothing in it is pinned.
impl<B: Body<Data = Bytes> + Unpin> Unpin for Transmitted<B> {}

impl<B: Body<Data = Bytes> + Unpin> Drop for Transmitted<B> {
    fn drop(&mut self) {
        let left = self.size_hint().exact();
        let is_over = left == Some(0) || self.is_end_stream();
        match self.unasked.take() {
            // One of unknown length was not to be sent: a GET has none.
            Some(unasked) if is_over || left.is_none() => {
                if let Some(teller) = self.teller.take() {
                    // Where it is answered already, it was without its body.
                    let _ = unasked.send(teller);
                }
            }
            None if is_over => self.tell(),
            Some(_) | None => {}
        }
    }
}

// === impl Gone ===

impl Gone {
    /// Waits until the body is sent, or nobody takes it any more.
    pub(super) async fn wait(self) {
        // It is never told anything.
        let _ = self.0.await;
    }
}

// === impl Teller ===

impl Teller {
    fn tell(self) {
        // Nobody may want to know.
        let _ = self.0.send(());
    }
}

// === impl Unasked ===

impl Unasked {
    /// The head of the answer is there.
    pub(super) fn answered(mut self) {
        if let Ok(teller) = self.0.try_recv() {
            teller.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::pin;
    use std::sync::Arc;

    use http_body_util::{BodyExt as _, Empty, Full};
    use model::runtime::Limits;

    use super::*;
    use crate::account::Account;

    /// So many bytes, one in each frame, and who knows what comes then.
    struct Counted(u64);

    impl Body for Counted {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            self.0 = self.0.saturating_sub(1);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0)
        }
    }

    fn chunks() -> Held {
        Held::new(Arc::new(Account::new(Limits {
            cpu_weight: 500,
            cpu_limit: None,
            memory: None,
            storage: None,
        })))
    }

    fn answer<B: Body<Data = Bytes> + Unpin>(body: B, teller: Teller) -> Transmitted<B> {
        Transmitted::of_answer(body, teller, chunks()).0
    }

    #[tokio::test]
    async fn the_end_of_an_answer_is_that_of_its_body() {
        let (teller, _sent) = told();
        let (mut body, gone) = Transmitted::of_answer(Full::from("body"), teller, chunks());
        let mut gone = pin!(gone.wait());
        assert!(body.frame().await.is_some());
        let mut context = Context::from_waker(Waker::noop());
        assert!(gone.as_mut().poll(&mut context).is_pending());
        drop(body);
        gone.await;
    }

    /// Frames, after which there is nothing, or nothing yet.
    struct Frames {
        left: VecDeque<Result<Frame<Bytes>, Error>>,
        ends: bool,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            match self.left.pop_front() {
                None if !self.ends => Poll::Pending,
                frame => Poll::Ready(frame),
            }
        }
    }

    /// Whether it is whole, the length that it tells, what it then gives, trailers as `None`, and
    /// whether it is told to be sent.
    type Taken = (bool, Option<u64>, Vec<Option<Bytes>>, bool);

    fn taken(frames: Vec<Result<Frame<Bytes>, Error>>, ends: bool) -> Taken {
        let left = frames.into();
        let (teller, sent) = told();
        let mut body = answer(Frames { left, ends }, teller);
        let is_whole = body.take_early();
        let length = body.size_hint().exact();
        let mut context = Context::from_waker(Waker::noop());
        let mut given = Vec::new();
        while !body.is_end_stream() {
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(frame))) => given.push(frame.into_data().ok()),
                Poll::Ready(Some(Err(_)) | None) | Poll::Pending => break,
            }
        }
        drop(body);
        let is_sent = pin!(sent).poll(&mut context);
        (
            is_whole,
            length,
            given,
            matches!(is_sent, Poll::Ready(Ok(()))),
        )
    }

    #[test]
    fn what_lies_there_of_a_body_is_all_of_it_or_is_given_before_the_rest() {
        let data = || Ok(Frame::data(Bytes::from_static(b"data")));
        let trailers = || Ok(Frame::trailers(http::HeaderMap::new()));
        let error = || Err(Error::ConnectionTerminated);
        let given = |frames: &[usize]| -> Vec<Option<Bytes>> {
            let frame = |bytes: &usize| (*bytes > 0).then(|| Bytes::from_static(b"data"));
            frames.iter().map(frame).collect()
        };
        for (name, frames, ends, wanted) in [
            ("none", vec![], true, (true, Some(0), given(&[]), true)),
            (
                "short",
                vec![data()],
                true,
                (true, Some(4), given(&[4]), true),
            ),
            (
                "with trailers",
                vec![data(), trailers()],
                true,
                (false, None, given(&[4, 0]), true),
            ),
            (
                "long",
                vec![data(), data(), data()],
                true,
                (false, None, given(&[4, 4, 4]), true),
            ),
            (
                "broken",
                vec![data(), error()],
                true,
                (true, None, given(&[4]), false),
            ),
            ("silent", vec![], false, (false, None, given(&[]), false)),
            (
                "not over",
                vec![data()],
                false,
                (false, None, given(&[4]), false),
            ),
        ] {
            assert_eq!(taken(frames, ends), wanted, "{name}");
        }
    }

    #[tokio::test]
    async fn a_body_that_has_no_more_was_sent() {
        for (length, frames, is_sent) in [(0, 0, true), (2, 2, true), (2, 1, false), (2, 0, false)]
        {
            let (teller, sent) = told();
            let mut body = answer(Counted(length), teller);
            for _ in 0..frames {
                assert!(body.frame().await.is_some());
            }
            drop(body);
            assert_eq!(sent.await.is_ok(), is_sent, "{frames} of {length}");
        }
    }

    #[tokio::test]
    async fn a_request_without_a_body_was_sent_once_it_is_answered() {
        for (length, is_answered, is_sent) in [(0, true, true), (0, false, false), (2, true, false)]
        {
            let (teller, sent) = told();
            let (body, unasked) = Transmitted::of_request(Counted(length), teller, chunks());
            drop(body);
            if is_answered {
                unasked.answered();
            } else {
                drop(unasked);
            }
            assert_eq!(sent.await.is_ok(), is_sent, "{length} {is_answered}");
        }
    }

    #[tokio::test]
    async fn what_was_sent_to_its_end_is_told_apart_from_what_was_not() {
        let (teller, whole) = told();
        let body = answer(Full::from("body"), teller);
        assert!(body.collect().await.is_ok());
        assert!(whole.await.is_ok());
        let (teller, half) = told();
        drop(answer(Full::from("body"), teller));
        assert!(matches!(half.await, Err(Error::ConnectionTerminated)));
        let (teller, empty) = told();
        let mut body = answer(Empty::new(), teller);
        assert!(body.frame().await.is_none());
        assert!(empty.await.is_ok());
        let (teller, never) = told();
        drop(teller);
        assert!(never.await.is_err());
    }
}
