//! Standard input of a guest: what its caller gives, in order, held back when it does not read.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream};
use tokio::sync::Mutex;
use wasmtime_wasi::cli::{AsyncStdinStream, IsTerminal, StdinStream};
use wasmtime_wasi::p2::InputStream;

/// Bytes given but not yet read: beyond it the giver waits.
const ROOM: usize = 64 << 10;

/// The guest's end. Clones read from the same input.
#[derive(Clone)]
pub(crate) struct Stdin {
    stream: Arc<AsyncStdinStream>,
    terminal: bool,
}

/// The giver's end; closed when dropped.
#[derive(Debug)]
pub(crate) struct Giver {
    end: Mutex<Option<DuplexStream>>,
}

/// A new input.
pub(crate) fn pair(terminal: bool) -> (Giver, Stdin) {
    let (giver, guest) = tokio::io::duplex(ROOM);
    let stream = Arc::new(AsyncStdinStream::new(guest));
    (
        Giver {
            end: Mutex::new(Some(giver)),
        },
        Stdin { stream, terminal },
    )
}

// === impl Giver ===

impl Giver {
    /// Gives bytes, waiting while there is no room; `None` ends the input. False once the guest
    /// reads no more.
    pub(crate) async fn give(&self, chunk: Option<Bytes>) -> bool {
        let mut end = self.end.lock().await;
        match (chunk, end.as_mut()) {
            (Some(bytes), Some(stream)) => stream.write_all(&bytes).await.is_ok(),
            (Some(_), None) => false,
            (None, _) => {
                *end = None;
                true
            }
        }
    }
}

// === impl Stdin ===

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        self.stream.async_stream()
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        self.stream.p2_stream()
    }
}
