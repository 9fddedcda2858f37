//! What a client gets: a guest's answer, or ours where it has none.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{Notify, oneshot};
use wasmtime_wasi_http::{Error, WasiBody};

use super::activity::Busy;
use super::deadline::Deadline;
use super::length::Measured;
use super::pace::Pace;

/// The body of an answer.
pub(super) struct AnswerBody {
    content: Content,
    /// The connection is in use until it is sent.
    busy: Busy,
}

enum Content {
    Guest { body: Measured, course: Arc<Course> },
    Text(Full<Bytes>),
}

/// How a guest and the body of its answer fare: each is told of the other.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// The guest ended before it was done: what it has written is not the whole.
    cut: AtomicBool,
    /// The body has been sent, or nobody takes it any more.
    gone: Notify,
    /// Until when there has to be a head.
    deadline: Deadline,
    /// How the client takes it.
    pace: Arc<Pace>,
}

/// Cuts the course of a guest that is dropped before it was done.
pub(super) struct Uncut(Option<Arc<Course>>);

/// A body whose guest has ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("the guest ended before the end of its answer")]
pub(super) struct Cut;

/// What a guest gives for an answer.
pub(super) type Head = Result<Response<WasiBody>, Error>;

/// Where it goes.
pub(super) type Out = oneshot::Sender<Head>;

type BodyError = Box<dyn std::error::Error + Send + Sync>;

// === impl AnswerBody ===

impl AnswerBody {
    pub(super) fn of_guest(body: Measured, course: Arc<Course>, busy: Busy) -> Self {
        Self::new(Content::Guest { body, course }, busy)
    }

    fn new(content: Content, busy: Busy) -> Self {
        busy.pace().given();
        Self { content, busy }
    }

    fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.content {
            Content::Guest { body, course } => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(frame)) => Poll::Ready(Some(frame.map_err(Into::into))),
                // Also where a stream of the host's may still bring something.
                Poll::Ready(None) | Poll::Pending if course.is_cut() => {
                    Poll::Ready(Some(Err(Cut.into())))
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            },
            Content::Text(text) => Pin::new(text)
                .poll_frame(cx)
                .map_err(|never| match never {}),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = self.poll_content(cx);
        match frame {
            Poll::Ready(_) => self.busy.pace().given(),
            Poll::Pending => self.busy.pace().awaited(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Guest { body, .. } => body.is_end_stream(),
            Content::Text(text) => text.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Guest { body, .. } => body.size_hint(),
            Content::Text(text) => text.size_hint(),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Content::Guest { course, .. } = &self.content {
            course.gone.notify_one();
        }
    }
}

// === impl Course ===

impl Course {
    /// One that begins now.
    pub(super) fn new(pace: &Arc<Pace>) -> Self {
        Self {
            cut: AtomicBool::new(false),
            gone: Notify::new(),
            deadline: Deadline::default(),
            pace: Arc::clone(pace),
        }
    }

    /// There is no body, and will be none.
    pub(super) fn has_no_body(&self) {
        self.gone.notify_one();
    }

    /// Waits until the body is sent or given up.
    pub(super) async fn body_gone(&self) {
        self.gone.notified().await;
    }

    /// Until when there has to be a head.
    pub(super) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// How the client takes the answer.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Whether its guest ended before it was done.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }
}

// === impl Uncut ===

impl Uncut {
    pub(super) fn new(course: Arc<Course>) -> Self {
        Self(Some(course))
    }

    /// The guest was done.
    pub(super) fn keep(&mut self) {
        self.0 = None;
    }
}

impl Drop for Uncut {
    fn drop(&mut self) {
        if let Some(course) = &self.0 {
            course.cut.store(true, Ordering::Release);
        }
    }
}

/// Keeps back the body of a guest's answer that shall have none for its client: hyper would send it
/// over HTTP/2 all the same.
pub(super) fn withhold(answer: &mut Response<WasiBody>, asked: &Method) -> Option<WasiBody> {
    let status = answer.status();
    if status == StatusCode::NO_CONTENT {
        // RFC 9110, 8.6: not even its length is told. Of the others it is what a GET would get.
        answer.headers_mut().remove(CONTENT_LENGTH);
    }
    let is_bare = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !is_bare && asked != Method::HEAD {
        return None;
    }
    let nothing = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Some(std::mem::replace(answer.body_mut(), nothing))
}

/// Takes what nobody shall see, so that its guest can go on.
pub(super) async fn drain(mut body: WasiBody) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// Takes the sentence from an answer of ours, where HEAD was asked.
pub(super) fn without_text(mut answer: Response<AnswerBody>) -> Response<AnswerBody> {
    if let Content::Text(text) = &mut answer.body_mut().content {
        let length = text.size_hint().exact().unwrap_or_default();
        *text = Full::default();
        let length = HeaderValue::from(length);
        answer.headers_mut().insert(CONTENT_LENGTH, length);
    }
    answer
}

/// An answer of ours: a status and a sentence.
pub(super) fn text(status: StatusCode, sentence: &str, busy: Busy) -> Response<AnswerBody> {
    let content = Content::Text(Full::new(Bytes::from(format!("{sentence}\n"))));
    let mut answer = Response::new(AnswerBody::new(content, busy));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// The status of an answer in place of which a guest gave an error: whose fault it is.
pub(super) fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::HttpRequestDenied => StatusCode::FORBIDDEN,
        Error::HttpRequestLengthRequired => StatusCode::LENGTH_REQUIRED,
        Error::HttpRequestBodySize(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::HttpRequestMethodInvalid => StatusCode::METHOD_NOT_ALLOWED,
        Error::HttpRequestUriInvalid => StatusCode::BAD_REQUEST,
        Error::HttpRequestUriTooLong => StatusCode::URI_TOO_LONG,
        Error::HttpRequestHeaderSectionSize(_)
        | Error::HttpRequestHeaderSize { .. }
        | Error::HttpRequestTrailerSectionSize(_)
        | Error::HttpRequestTrailerSize { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Error::LoopDetected => StatusCode::LOOP_DETECTED,
        Error::DnsTimeout
        | Error::ConnectionTimeout
        | Error::ConnectionReadTimeout
        | Error::ConnectionWriteTimeout
        | Error::HttpResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
        Error::ConfigurationError | Error::InternalError(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_GATEWAY,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn empty() -> WasiBody {
        Empty::new().map_err(|never| match never {}).boxed_unsync()
    }

    #[tokio::test]
    async fn a_body_is_whole_only_if_its_guest_was_done() {
        for done in [true, false] {
            let course = Arc::new(Course::default());
            let mut uncut = Uncut::new(Arc::clone(&course));
            if done {
                uncut.keep();
            }
            drop(uncut);
            let body = Measured::new(empty(), &HeaderMap::new(), |_| {});
            let body = AnswerBody::of_guest(body, Arc::clone(&course), Busy::default());
            assert_eq!(body.collect().await.is_ok(), done);
            course.body_gone().await;
        }
    }

    /// A body of which nothing comes.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            Poll::Pending
        }
    }

    #[test]
    fn a_silent_body_is_cut_with_its_guest() {
        for done in [true, false] {
            let course = Arc::new(Course::default());
            let mut uncut = Uncut::new(Arc::clone(&course));
            if done {
                uncut.keep();
            }
            drop(uncut);
            let silent = Measured::new(Silent.boxed_unsync(), &HeaderMap::new(), |_| {});
            let mut body = AnswerBody::of_guest(silent, course, Busy::default());
            let mut context = Context::from_waker(std::task::Waker::noop());
            let is_pending = Pin::new(&mut body).poll_frame(&mut context).is_pending();
            assert_eq!(is_pending, done);
        }
    }

    #[test]
    fn what_shall_have_no_body_has_none_and_tells_its_length_where_it_may() {
        for (method, status, is_bare, length) in [
            (Method::GET, 200, false, Some("4")),
            (Method::HEAD, 200, true, Some("4")),
            (Method::GET, 204, true, None),
            (Method::GET, 304, true, Some("4")),
        ] {
            let body = Full::from("body").map_err(|never| match never {});
            let mut answer = Response::new(body.boxed_unsync());
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            let told = HeaderValue::from_static("4");
            answer.headers_mut().insert(CONTENT_LENGTH, told);
            let kept = withhold(&mut answer, &method);
            let why = format!("{method} {status}");
            assert_eq!(kept.is_some(), is_bare, "{why}");
            assert_eq!(answer.body().is_end_stream(), is_bare, "{why}");
            let told = answer.headers().get(CONTENT_LENGTH);
            assert_eq!(told.map(|told| told.to_str().unwrap()), length, "{why}");
        }
        let answer = text(StatusCode::BAD_REQUEST, "no", Busy::default());
        let answer = without_text(answer);
        assert!(answer.body().is_end_stream());
        assert_eq!(answer.headers()[CONTENT_LENGTH], "3");
    }

    #[test]
    fn a_status_tells_whose_fault_it_was() {
        for (error, status) in [
            (Error::HttpRequestDenied, 403),
            (Error::HttpRequestBodySize(None), 413),
            (Error::ConnectionRefused, 502),
            (Error::ConnectionTimeout, 504),
            (Error::InternalError(None), 500),
        ] {
            assert_eq!(status_of(&error).as_u16(), status, "{error:?}");
        }
    }
}
