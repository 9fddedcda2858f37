//! The body of an answer, held against the Content-Length that its guest has declared.
//!
//! Of one that is longer the client gets as much as was declared, and of one that is shorter what
//! there is, as half an answer; hyper says nothing to either. So it is told from here, once.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use hyper::body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::{Error, WasiBody};

/// A body of declared length, or of any.
pub(super) struct Measured {
    body: WasiBody,
    declared: Option<Declared>,
}

/// The length that a body is to have.
struct Declared {
    length: u64,
    /// How much of it is still to come.
    left: u64,
    /// Who hears that it has another; nobody once it was told, or known to be the same.
    differs: Option<Box<dyn FnOnce(u64) + Send>>,
    /// There was more; nobody gets it.
    is_exceeded: bool,
}

// === impl Measured ===

impl Measured {
    /// Holds a body against its head, which declares nothing of one that is not sent. Where they
    /// differ, the length that was declared is told.
    pub(super) fn new(
        body: WasiBody,
        head: &HeaderMap,
        differs: impl FnOnce(u64) + Send + 'static,
    ) -> Self {
        let length = head.get(CONTENT_LENGTH).filter(|_| !body.is_end_stream());
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let declared = length.map(|length| Declared {
            length,
            left: length,
            differs: Some(Box::new(differs)),
            is_exceeded: false,
        });
        Self { body, declared }
    }
}

impl Body for Measured {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Self { body, declared } = &mut *self;
        let Some(declared) = declared else {
            return Pin::new(body).poll_frame(cx);
        };
        if declared.is_exceeded {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => declared.take(frame).map(Ok),
            Some(Err(error)) => {
                declared.end(matches!(error, Error::HttpResponseBodySize(_)));
                Some(Err(error))
            }
            None => {
                declared.end(false);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        let declared = self.declared.as_ref();
        declared.is_some_and(|declared| declared.is_exceeded) || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        // Over HTTP/1.1 nobody asks for more once there is as much as was declared. What a guest of 0.2
        // has written beyond that lies there; one of 0.3 was kept from it.
        let is_full = |declared: &Declared| declared.left == 0 && declared.differs.is_some();
        let is_held = self.body.size_hint().exact().is_some();
        if !is_held && self.declared.as_ref().is_some_and(is_full) {
            let mut context = Context::from_waker(Waker::noop());
            let _ = Pin::new(self).poll_frame(&mut context);
        }
    }
}

// === impl Declared ===

impl Declared {
    /// What a piece has within the length; nothing where all of it lies beyond.
    fn take(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let mut bytes = match frame.into_data() {
            Ok(bytes) => bytes,
            Err(trailers) => {
                self.end(false);
                return Some(trailers);
            }
        };
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if let Some(left) = self.left.checked_sub(count) {
            self.left = left;
            return Some(Frame::data(bytes));
        }
        // Less than the piece has.
        bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left = 0;
        self.is_exceeded = true;
        self.end(true);
        (!bytes.is_empty()).then(|| Frame::data(bytes))
    }

    /// There is nothing more to hold against it.
    fn end(&mut self, is_exceeded: bool) {
        let differs = self.differs.take();
        if let Some(differs) = differs.filter(|_| is_exceeded || self.left > 0) {
            differs(self.length);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use http::header::HeaderValue;
    use http_body_util::BodyExt as _;

    use super::*;

    /// What comes of a guest, one after another, and then the end.
    struct Pieces(VecDeque<Result<&'static str, Error>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            let piece = self.0.pop_front();
            Poll::Ready(piece.map(|piece| piece.map(|text| Frame::data(Bytes::from(text)))))
        }
    }

    /// A body of which `declared` is said, and the length that is told of it.
    fn measured(
        pieces: Vec<Result<&'static str, Error>>,
        declared: Option<&'static str>,
    ) -> (Measured, Arc<AtomicU64>) {
        let mut head = HeaderMap::new();
        if let Some(length) = declared {
            head.insert(CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        let told = Arc::<AtomicU64>::default();
        let differs = {
            let told = Arc::clone(&told);
            move |length| told.store(length, Relaxed)
        };
        let body = Pieces(pieces.into()).boxed_unsync();
        (Measured::new(body, &head, differs), told)
    }

    #[tokio::test]
    async fn a_body_of_another_length_is_told_and_cut_where_it_is_longer() {
        let refused = || Err(Error::HttpResponseBodySize(None));
        for (pieces, declared, got, told) in [
            (vec![Ok("any"), Ok("thing")], None, Some("anything"), 0),
            (vec![Ok("two"), Ok("two")], Some("6"), Some("twotwo"), 0),
            (vec![Ok("more")], Some("3"), Some("mor"), 3),
            (vec![Ok("mo"), Ok("re")], Some("3"), Some("mor"), 3),
            (vec![Ok("mor"), Ok("e")], Some("3"), Some("mor"), 3),
            (vec![Ok("less")], Some("5"), Some("less"), 5),
            (vec![], Some("5"), Some(""), 5),
            (vec![Ok("less"), refused()], Some("5"), None, 5),
            (vec![Ok("more"), refused()], Some("4"), None, 4),
            (
                vec![Ok("same"), Err(Error::HttpProtocolError)],
                Some("4"),
                None,
                0,
            ),
        ] {
            let why = format!("{pieces:?} of {declared:?}");
            let (body, differs) = measured(pieces, declared);
            let whole = body.collect().await.ok();
            let whole = whole.map(http_body_util::Collected::to_bytes);
            assert_eq!(whole.as_deref(), got.map(str::as_bytes), "{why}");
            assert_eq!(differs.load(Relaxed), told, "{why}");
        }
    }

    #[tokio::test]
    async fn more_is_told_where_nobody_asks_for_it() {
        for (pieces, asked, told) in [
            (vec![Ok("four"), Ok("more")], 1, 4),
            (
                vec![Ok("four"), Err(Error::HttpResponseBodySize(None))],
                1,
                4,
            ),
            (vec![Ok("four")], 1, 0),
            (vec![Ok("four"), Ok("more")], 2, 4),
            // Its client has left.
            (vec![Ok("fo"), Ok("urmore")], 1, 0),
        ] {
            let why = format!("{pieces:?} {asked}");
            let (mut body, differs) = measured(pieces, Some("4"));
            for _ in 0..asked {
                drop(body.frame().await);
            }
            drop(body);
            assert_eq!(differs.load(Relaxed), told, "{why}");
        }
    }
}
