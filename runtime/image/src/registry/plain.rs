//! A connection without TLS, which notices where the other side has it.
//!
//! A server of TLS answers what is none with an alert, or with text in plain http. Text says it by
//! itself; an alert is told by its first byte, which no answer of HTTP begins with.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What records of TLS begin with that are alerts.
const ALERT: u8 = 21;

/// The connection.
pub(super) struct Plain {
    stream: TcpStream,
    begins: Begins,
}

/// With what the answers of a connection begin. Clones are of the same connection.
#[derive(Clone, Default)]
pub(super) struct Begins(Arc<OnceLock<u8>>);

// === impl Plain ===

impl Plain {
    pub(super) fn new(stream: TcpStream, begins: &Begins) -> Self {
        Self {
            stream,
            begins: begins.clone(),
        }
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if let Some(first) = buffer.filled().get(before) {
            self.begins.0.get_or_init(|| *first);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

// === impl Begins ===

impl Begins {
    /// Whether it is an alert of TLS.
    pub(super) fn with_alert(&self) -> bool {
        self.0.get() == Some(&ALERT)
    }
}
