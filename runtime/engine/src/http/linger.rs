//! The end of a connection whose client may still be sending.
//!
//! A guest may answer before it has read its request to the end. hyper takes what lies there of the
//! rest, and closes where that is not all of it. If the socket were closed with bytes unread, or more
//! came after that, the kernel would say so with a reset, at which the client's throws away what its
//! program has not read yet of the answer (RFC 9112, 9.6). So it is closed in stages:
//!
//! ```text
//! answered ──own half closed──> what comes is taken ──┬─ the client closes ────────────> closed
//!                                                     └─ LINGER or LINGER_BYTES over ──> closed
//! ```
//!
//! and the answer says so beforehand where hyper knows: an answer waits for hyper to look. Over
//! HTTP/2 the connection goes on, and what is left of a request is `rest`'s. `watched` tells both.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::limits;
use crate::executor::yield_now;

/// Bytes that are taken at once.
const PIECE: usize = 8 << 10;

/// Whether a connection's last request was let go of before its end. Clones tell of the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Unread(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_some: AtomicBool,
    /// hyper is to be polled once more, at once.
    again: AtomicBool,
}

/// Takes what a client still sends, so that it gets to read its answer.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let taking = async {
        stream.shutdown().await?;
        let mut piece = vec![0; PIECE];
        let mut left = limits::LINGER_BYTES;
        while left > 0 {
            let count = stream.read(&mut piece).await?;
            if count == 0 {
                break;
            }
            left = left.saturating_sub(count);
            // Who sends fast does not keep the thread from the others.
            yield_now().await;
        }
        io::Result::Ok(())
    };
    // Whatever it was, the end is the same.
    drop(tokio::time::timeout(limits::LINGER, taking).await);
}

// === impl Unread ===

impl Unread {
    /// Some is left, or may be.
    pub(super) fn note(&self) {
        self.0.is_some.store(true, Relaxed);
    }

    /// All of it was taken.
    pub(super) fn clear(&self) {
        self.0.is_some.store(false, Relaxed);
    }

    pub(super) fn is_some(&self) -> bool {
        self.0.is_some.load(Relaxed)
    }

    /// Has hyper learn that nobody reads a request of HTTP/1.1 any more, before it makes the head of
    /// the answer: where what lies there is not all of the rest it will close the connection, and the
    /// head says so if it knows that by then. For answers on a connection that is driven here.
    pub(super) async fn settle(&self) {
        let mut is_settled = false;
        poll_fn(|_| {
            if std::mem::replace(&mut is_settled, true) {
                return Poll::Ready(());
            }
            // Whoever polls this polls the connection, which comes by again without being woken.
            self.0.again.store(true, Relaxed);
            Poll::Pending
        })
        .await;
    }

    /// Runs a connection of hyper's.
    pub(super) async fn drive<C: Future>(&self, mut connection: Pin<&mut C>) -> C::Output {
        poll_fn(|cx| {
            loop {
                let ended = connection.as_mut().poll(cx);
                if ended.is_ready() || !self.0.again.swap(false, Relaxed) {
                    return ended;
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::time::Instant;

    use super::super::watched::{Leftover, Watched};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_is_taken_until_the_client_closes() {
        let (mut client, server) = tokio::io::duplex(64);
        let sending = async {
            let mut end = [0];
            let count = client.read(&mut end).await.expect("read");
            assert_eq!(count, 0, "the end of the answer comes first");
            client.write_all(&[7; 100_000]).await.expect("taken");
            drop(client);
        };
        let begun = Instant::now();
        tokio::join!(linger(server), sending);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_close_is_closed_after_a_time() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"some").await.expect("there is room");
        let begun = Instant::now();
        linger(server).await;
        assert_eq!(begun.elapsed(), limits::LINGER);
        client.write_all(b"more").await.expect_err("closed");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_end_is_closed_after_so_many_bytes() {
        let (mut client, server) = tokio::io::duplex(PIECE);
        let sending = async {
            let mut sent = 0;
            while let Ok(count) = client.write(&[7; PIECE]).await {
                sent += count;
            }
            sent
        };
        let begun = Instant::now();
        let ((), sent) = tokio::join!(linger(server), sending);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let most = limits::LINGER_BYTES + 2 * PIECE;
        assert!((limits::LINGER_BYTES..=most).contains(&sent), "{sent}");
    }

    /// What a server says that reads nothing of a request, of which so much has come.
    async fn answer_to(request: &[u8]) -> String {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(request).await.expect("there is room");
        let unread = Unread::default();
        let service = {
            let unread = unread.clone();
            service_fn(move |request: Request<Incoming>| {
                let unread = unread.clone();
                async move {
                    let leftover = Leftover::Noted(unread.clone());
                    drop(Watched::new(request.into_body(), leftover));
                    unread.settle().await;
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("read nothing")))
                }
            })
        };
        let connection = http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(server), service);
        let mut connection = pin!(connection);
        let asking = async {
            let mut answer: Vec<u8> = Vec::new();
            while !answer.ends_with(b"read nothing") {
                let count = client.read_buf(&mut answer).await.expect("an answer");
                assert_ne!(count, 0, "{}", String::from_utf8_lossy(&answer));
            }
            drop(client);
            String::from_utf8(answer).expect("text")
        };
        let (answer, ended) = tokio::join!(asking, unread.drive(connection.as_mut()));
        ended.expect("a good end");
        answer
    }

    #[tokio::test]
    async fn a_connection_that_will_be_closed_says_so() {
        let long = [b'x'; 10_000];
        for (length, expects, body, closes) in [
            (2, false, &b"xx"[..], false),
            (10_000, false, &long, false),
            // The rest is on its way, or will never come.
            (10_000, false, b"xx", true),
            (10_000_000, false, &long, true),
            (10_000, true, b"", true),
        ] {
            let expects = if expects {
                "expect: 100-continue\r\n"
            } else {
                ""
            };
            let head =
                format!("POST / HTTP/1.1\r\nhost: a\r\n{expects}content-length: {length}\r\n\r\n");
            let answer = answer_to(&[head.as_bytes(), body].concat()).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            let says = answer.contains("connection: close");
            assert_eq!(says, closes, "{} of {length}: {answer}", body.len());
        }
    }
}
