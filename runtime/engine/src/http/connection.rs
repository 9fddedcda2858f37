//! One connection of a server: hyper inside, its end decided here.
//!
//! ```text
//! serving ──drain──> no new stream for those of HTTP/2; answers of HTTP/1.1 say `Connection: close`
//!    │                  └──listener closed──> what runs is answered, and no more ──> end
//!    ├─ nothing for IDLE ──> end
//!    ├─ an answer of HTTP/1.1 before its request was read to the end ──> end, in stages
//!    ├─ a head that is garbled or too long, which hyper answers ──> told, and the same end
//!    ├─ an answer of HTTP/2 that its client does not take ──> cut
//!    └─ its client has broken off, or ended and heard nothing for AFTERWARDS ──> cut
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use net::{PeerEnd, TcpStream};
use tokio::time::Instant;

use super::activity::{Activity, Busy, End};
use super::answer::AnswerBody;
use super::limits;
use super::linger::linger;
use super::patience::Patient;
use super::rest::{Left, take};
use super::server::{Phase, Server};
use super::tasks::Beside;
use super::watched::{Leftover, Watched};

/// How connections speak.
pub(super) fn builder(tasks: Beside) -> Builder<Beside> {
    let mut builder = Builder::new(tasks);
    builder
        .http1()
        // Who has sent a request whole may say so, and waits for its answer.
        .half_close(true)
        // `Activity` sees to it, without a timer for each request.
        .header_read_timeout(None)
        .max_buf_size(limits::HEAD)
        .max_headers(limits::FIELDS_IN_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits::HEAD_LIST)
        .max_concurrent_streams(limits::STREAMS)
        .initial_stream_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        .max_send_buf_size(limits::CHUNK)
        .keep_alive_interval(limits::PING)
        .keep_alive_timeout(limits::PING);
    builder
}

/// Serves a connection to its end.
pub(super) async fn serve(server: Arc<Server>, stream: TcpStream) {
    let activity = Arc::new(Activity::new());
    let end = converse(server, stream.clone(), &activity).await;
    if end == End::Gently && activity.is_unread() {
        linger(stream).await;
    }
}

/// Serves a connection until there is nothing more to say on it.
async fn converse(server: Arc<Server>, stream: TcpStream, activity: &Arc<Activity>) -> End {
    let mut phase = server.phase();
    let client = stream.clone();
    let stream = TokioIo::new(Patient::new(stream, limits::STALLED));
    let service = {
        let (server, activity) = (Arc::clone(&server), Arc::clone(activity));
        service_fn(move |request| {
            let busy = Busy::new(&activity, request_is_http2(&request));
            answer(Arc::clone(&server), Arc::clone(&activity), request, busy)
        })
    };
    let mut connection = pin!(server.builder().serve_connection(stream, service));
    let mut ending = None;
    loop {
        tokio::select! {
            biased;
            // How it ended is the client's business: what went wrong inside has been told.
            ended = activity.unread.drive(connection.as_mut()) => match ended {
                Ok(()) => return End::Gently,
                Err(error) => match refusal(&*error) {
                    Some(line) => {
                        // It may be at it still, and is to read its answer.
                        activity.unread.note();
                        server.tell_beside(line);
                        return End::Gently;
                    }
                    None => return End::Cut,
                },
            },
            end = activity.ends(&mut phase, ending) => match end {
                End::Gently => {
                    ending = Some(Instant::now());
                    activity.forget_unread();
                    connection.as_mut().graceful_shutdown();
                }
                End::Cut => return End::Cut,
            },
            end = activity.client_ends(&client), if !activity.is_finished() => match end {
                PeerEnd::Finished => activity.finishes(),
                PeerEnd::Broken => return End::Cut,
            },
        }
    }
}

/// What is said of a request that hyper has refused by itself, for its head: with 400, 414 or 431
/// and nothing else.
fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let error = error.downcast_ref::<hyper::Error>()?;
    if !error.is_parse() || error.is_parse_version_h2() {
        return None;
    }
    let (most, fields) = (limits::HEAD >> 10, limits::FIELDS_IN_HEAD);
    let remedy = match error.is_parse_too_large() {
        // hyper says it of a length that it cannot count to, too.
        true => format!(
            ": {most} KiB and {fields} fields are the most; or its Content-Length is beyond 2^64 - 3"
        ),
        false => String::new(),
    };
    Some(format!("a request is refused: {error}{remedy}\n"))
}

fn request_is_http2(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_2
}

async fn answer(
    server: Arc<Server>,
    activity: Arc<Activity>,
    request: Request<Incoming>,
    busy: Busy,
) -> Result<Response<AnswerBody>, Infallible> {
    let is_http2 = request_is_http2(&request);
    let is_http10 = request.version() == Version::HTTP_10;
    if is_http2 && server.phase_now() != Phase::Serving {
        activity.late.notify_one();
    }
    if is_http2 && !request.body().is_end_stream() {
        return Ok(answer_and_take(server, request, busy).await);
    }
    let leftover = Leftover::Noted(activity.unread.clone());
    let request = request.map(|body| Watched::new(body, leftover));
    let mut answer = Arc::clone(&server).answer(request, busy).await;
    if is_http2 {
        return Ok(answer);
    }
    if activity.unread.is_some() {
        activity.unread.settle().await;
    }
    let is_last = server.phase_now() != Phase::Serving;
    tell_end(&mut answer, is_http10, is_last);
    Ok(answer)
}

/// Tells a client of HTTP/1 that its connection ends with this answer, where it does.
fn tell_end<B: Body>(answer: &mut Response<B>, is_http10: bool, is_last: bool) {
    // Of HTTP/1.0 an answer without a length ends with its connection.
    if !is_last && (!is_http10 || has_length(answer)) {
        return;
    }
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    if is_http10 {
        // Else hyper says beside it that the connection is kept.
        *answer.version_mut() = Version::HTTP_10;
    }
}

/// Whether a client knows from the head where the body ends.
fn has_length<B: Body>(answer: &Response<B>) -> bool {
    answer.headers().contains_key(CONTENT_LENGTH) || answer.body().size_hint().exact().is_some()
}

/// Answers a request of HTTP/2, and takes what its guest does not read of its body.
async fn answer_and_take(
    server: Arc<Server>,
    request: Request<Incoming>,
    mut busy: Busy,
) -> Response<AnswerBody> {
    let (tasks, answered) = (Arc::clone(server.tasks()), busy.end_told());
    let after = move |body, most| tasks.spawn(take::<Incoming>(body, most, answered));
    let is_held = request.headers().contains_key(EXPECT);
    let left = Arc::new(Left::new(is_held, after));
    let leftover = Leftover::Taken(Arc::clone(&left));
    let request = request.map(|body| Watched::new(body, leftover));
    let answering = pin!(server.answer(request, busy));
    left.taken_before(answering).await
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use hyper::body::{Frame, SizeHint};
    use hyper::server::conn::http1;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const TEXT: &str = "an answer";

    /// A body of one piece.
    struct Piece {
        left: Option<Bytes>,
        tells_length: bool,
    }

    impl Body for Piece {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.left.take().map(|bytes| Ok(Frame::data(bytes))))
        }

        fn size_hint(&self) -> SizeHint {
            if !self.tells_length {
                return SizeHint::default();
            }
            let left = self.left.as_ref().map_or(0, Bytes::len);
            SizeHint::with_exact(u64::try_from(left).unwrap())
        }
    }

    /// All that a client hears who asks twice at once, and wants to keep its connection.
    async fn heard(version: &str, tells_length: bool, is_last: bool) -> String {
        let (mut client, server) = tokio::io::duplex(1 << 12);
        let service = service_fn(move |request: Request<Incoming>| async move {
            let mut answer = Response::new(Piece {
                left: Some(Bytes::from(TEXT)),
                tells_length,
            });
            let is_http10 = request.version() == Version::HTTP_10;
            tell_end(&mut answer, is_http10, is_last);
            Ok::<_, Infallible>(answer)
        });
        let mut builder = http1::Builder::new();
        let serving = builder
            .half_close(true)
            .serve_connection(TokioIo::new(server), service);
        let asking = async {
            let request = format!("GET / HTTP/{version}\r\nConnection: keep-alive\r\n\r\n");
            client
                .write_all(request.repeat(2).as_bytes())
                .await
                .unwrap();
            client.shutdown().await.unwrap();
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            heard
        };
        let (served, heard) = tokio::join!(serving, asking);
        served.unwrap();
        heard
    }

    #[tokio::test]
    async fn who_is_told_that_his_connection_is_kept_can_ask_again() {
        for (version, tells_length, is_last, count, told) in [
            ("1.0", true, false, 2, Some("keep-alive")),
            ("1.0", false, false, 1, Some("close")),
            ("1.0", true, true, 1, Some("close")),
            ("1.0", false, true, 1, Some("close")),
            ("1.1", true, false, 2, None),
            ("1.1", false, false, 2, None),
            ("1.1", true, true, 1, Some("close")),
            ("1.1", false, true, 1, Some("close")),
        ] {
            let heard = heard(version, tells_length, is_last).await;
            let why = format!("{version} {tells_length} {is_last}: {heard}");
            assert_eq!(heard.matches(TEXT).count(), count, "{why}");
            let fields = heard
                .lines()
                .filter_map(|line| line.strip_prefix("connection: "));
            let wanted = told.map_or(Vec::new(), |told| vec![told; count]);
            assert_eq!(fields.collect::<Vec<_>>(), wanted, "{why}");
            let has_length = heard.contains("content-length: ");
            assert_eq!(has_length, tells_length, "{why}");
        }
    }
}
