//! Whether a body was sent to its end: what a guest of WASI 0.3 is told of its own.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use wasmtime_wasi_http::Error;

/// A body that tells how it fared.
pub(super) struct Transmitted<B> {
    body: B,
    teller: Option<Teller>,
}

/// Who tells; dropped without a word it tells that nothing was sent.
pub(super) struct Teller(oneshot::Sender<()>);

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
    pub(super) fn new(body: B, teller: Teller) -> Self {
        Self {
            body,
            teller: Some(teller),
        }
    }

    fn tell(&mut self) {
        if let Some(Teller(teller)) = self.teller.take() {
            // Nobody may want to know.
            let _ = teller.send(());
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
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            // Whoever knows that it is the last piece asks for no other.
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.tell(),
            Poll::Ready(Some(Err(_))) => self.teller = None,
            Poll::Ready(None) => self.tell(),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
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
    use http_body_util::{BodyExt as _, Empty, Full};

    use super::*;

    #[tokio::test]
    async fn what_was_sent_to_its_end_is_told_apart_from_what_was_not() {
        let (teller, whole) = told();
        let body = Transmitted::new(Full::from("body"), teller);
        assert!(body.collect().await.is_ok());
        assert!(whole.await.is_ok());
        let (teller, half) = told();
        drop(Transmitted::new(Full::from("body"), teller));
        assert!(matches!(half.await, Err(Error::ConnectionTerminated)));
        let (teller, empty) = told();
        let mut body = Transmitted::new(Empty::new(), teller);
        assert!(body.frame().await.is_none());
        assert!(empty.await.is_ok());
        let (teller, never) = told();
        drop(teller);
        assert!(never.await.is_err());
    }
}
