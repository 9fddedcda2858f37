//! Requests of HTTP/2 whose guest reads nothing of them, as their client sees it: frame by frame.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Waker;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

use super::super::watched::{Leftover, Watched};
use super::*;

// RFC 9113, 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// What is sent of a body at once.
const PART: [u8; 10] = [7; 10];

/// When a client sends the end of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// With what it sends first.
    AtOnce,
    /// Some time after that.
    Later,
    Never,
}

/// A client that speaks in frames.
struct Client(DuplexStream);

/// A frame as it came.
struct Heard {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

// === impl Client ===

impl Client {
    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short frame");
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.expect("there is room");
    }

    async fn hear(&mut self) -> Heard {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.expect("a frame");
        // None here is longer than two bytes tell.
        let length = u16::from_be_bytes([head[1], head[2]]);
        let mut payload = vec![0; length.into()];
        self.0.read_exact(&mut payload).await.expect("all of it");
        Heard {
            kind: head[3],
            flags: head[4],
            payload,
        }
    }

    /// Waits for the head of the answer: how long since then.
    async fn head(&mut self, begun: Instant) -> Duration {
        while self.hear().await.kind != HEADERS {}
        begun.elapsed()
    }

    /// Whether it has been told to stop, with its answer whole before.
    async fn is_reset(&mut self) -> bool {
        self.send(PING, 0, 0, &[0; 8]).await;
        let (mut is_whole, mut is_reset) = (false, false);
        loop {
            let frame = self.hear().await;
            match frame.kind {
                DATA => is_whole |= frame.flags & END_STREAM != 0,
                RST_STREAM => {
                    assert_eq!(frame.payload, [0; 4], "it is no error");
                    is_reset = true;
                }
                PING if frame.flags & ACK != 0 => break,
                _ => {}
            }
        }
        assert!(is_whole, "there is all of the answer");
        is_reset
    }

    /// Begins to send a body, of which some declare a length.
    async fn post(&mut self, declared: Option<usize>, ends: Ends) {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        self.0.write_all(preface).await.expect("there is room");
        self.send(SETTINGS, 0, 0, &[]).await;
        // RFC 7541: POST, http, / and an authority; a length as text.
        let mut head = vec![0x83, 0x86, 0x84, 0x41, 1, b'a'];
        if let Some(length) = declared {
            let length = length.to_string();
            head.extend([0x0f, 0x0d, u8::try_from(length.len()).expect("short")]);
            head.extend(length.as_bytes());
        }
        self.send(HEADERS, END_HEADERS, 1, &head).await;
        let flags = if ends == Ends::AtOnce { END_STREAM } else { 0 };
        self.send(DATA, flags, 1, &PART).await;
    }
}

/// Reads nothing of a request, and lets go of it before there is an answer, or later.
async fn answer(
    request: Request<Incoming>,
    is_late: bool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (told, answered) = oneshot::channel();
    let after = move |body, most| drop(tokio::spawn(take::<Incoming>(body, most, answered)));
    let left = Arc::new(Left::new(false, after));
    let leftover = Leftover::Taken(Arc::clone(&left));
    let body = Watched::new(request.into_body(), leftover);
    let answering = pin!(async move {
        if is_late {
            tokio::spawn(async move { drop(body) });
        } else {
            drop(body);
        }
        Response::new(Full::<Bytes>::from("read nothing"))
    });
    let answer = left.taken_before(answering).await;
    drop(told);
    Ok(answer)
}

/// How long a client waits for its answer, and whether it is told to stop after that.
async fn asked(declared: Option<usize>, is_late: bool, ends: Ends) -> (Duration, bool) {
    let (client, server) = tokio::io::duplex(1 << 16);
    let service = service_fn(move |request| answer(request, is_late));
    let server =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(server), service);
    let serving = tokio::spawn(server);
    let mut client = Client(client);
    client.post(declared, ends).await;
    let begun = Instant::now();
    let mut waited = None;
    if ends == Ends::Later {
        let middle = begun + limits::LINGER / 2;
        let early = tokio::time::timeout_at(middle, client.head(begun)).await;
        waited = early.ok();
        tokio::time::sleep_until(middle).await;
        client.send(DATA, END_STREAM, 1, &PART).await;
    }
    let waited = match waited {
        Some(waited) => waited,
        None => client.head(begun).await,
    };
    // All that is to be said of it is said, once nobody has anything to do.
    tokio::time::sleep(limits::LINGER * 2).await;
    let is_reset = client.is_reset().await;
    drop(client);
    // Its client has left, in whichever way it takes that.
    drop(serving.await);
    (waited, is_reset)
}

#[tokio::test(start_paused = true)]
async fn a_short_rest_is_taken_and_a_long_one_is_reset() {
    let (both, long) = (Some(2 * PART.len()), Some(2 * limits::LINGER_BYTES));
    let (now, middle) = (Duration::ZERO, limits::LINGER / 2);
    for (declared, is_late, ends, waited, is_reset) in [
        (Some(PART.len()), false, Ends::AtOnce, now, false),
        (both, false, Ends::Later, middle, false),
        (both, true, Ends::Later, now, false),
        (both, false, Ends::Never, limits::LINGER, true),
        (both, true, Ends::Never, now, true),
        (long, false, Ends::Never, now, true),
        (long, true, Ends::Never, now, true),
        // It may wait for its answer before it goes on.
        (None, false, Ends::AtOnce, now, false),
        (None, false, Ends::Later, now, false),
        (None, false, Ends::Never, now, true),
    ] {
        let was = asked(declared, is_late, ends).await;
        let told = format!("{declared:?} {is_late} {ends:?}");
        assert_eq!(was, (waited, is_reset), "{told}");
    }
}

/// A body without end, of which it is counted what was taken. It says that it is as long as what
/// may be.
struct Endless(Arc<AtomicUsize>);

/// What is taken of it at once.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let before = self.0.fetch_add(ZEROS.len(), Relaxed);
        assert!(before < limits::LINGER_BYTES, "it is taken without end");
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&ZEROS)))))
    }

    fn size_hint(&self) -> SizeHint {
        let left = limits::LINGER_BYTES.saturating_sub(self.0.load(Relaxed));
        SizeHint::with_exact(u64::try_from(left).expect("it is short"))
    }
}

/// What is left of a body without end, for which nothing is left to do after the answer; and how
/// much of it was taken.
fn endless() -> (Left<Endless>, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let left = Left::new(false, |_: Endless, _| panic!("there is nothing left"));
    (left, taken)
}

#[tokio::test(start_paused = true)]
async fn no_more_is_taken_than_so_many_bytes() {
    let begun = Instant::now();
    let (left, taken) = endless();
    let left = Arc::new(left);
    let leftover = Leftover::Taken(Arc::clone(&left));
    let body = Watched::new(Endless(Arc::clone(&taken)), leftover);
    left.taken_before(pin!(async move { drop(body) })).await;
    assert_eq!(taken.swap(0, Relaxed), limits::LINGER_BYTES);
    let (told, answered) = oneshot::channel();
    let body = Endless(Arc::clone(&taken));
    take(body, limits::LINGER_BYTES, answered).await;
    assert_eq!(taken.load(Relaxed), limits::LINGER_BYTES);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop(told);
}

#[test]
fn who_sends_fast_does_not_keep_the_thread_from_the_others() {
    let (left, taken) = endless();
    left.let_go(Endless(Arc::clone(&taken)));
    let answering = pin!(std::future::pending::<()>());
    let mut taking = pin!(left.taken_before(answering));
    let mut cx = Context::from_waker(Waker::noop());
    for times in 1..=3 {
        assert!(taking.as_mut().poll(&mut cx).is_pending());
        assert_eq!(taken.load(Relaxed), times * ZEROS.len());
    }
}
