//! Standard output and error of a guest: chunks on a channel, held back when nobody takes them.
//!
//! Nothing is lost and nothing is piled up: each instance may have so many bytes on their way,
//! and so many per second; beyond that its writes wait.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::runtime::{InstanceId, Stream};
use tokio::io::AsyncWrite;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_util::sync::PollSemaphore;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::instance::Report;

/// Bytes of one instance on their way: enough for a burst of lines, and 50 flooding guests hold
/// a few MiB.
const ROOM: usize = 64 << 10;

/// What a chunk takes of the room at least: what it costs the host beyond its bytes.
const CHUNK: usize = 256;

/// Bytes per second that one instance may log for long: what a disk and a reader keep up with.
const RATE: u64 = 32 << 20;

/// Bytes that it may log at once before the rate counts.
const BURST: u64 = 64 << 20;

/// A piece of output. Its room is free again when it is dropped.
#[derive(Debug)]
pub struct Chunk {
    /// Whose.
    pub instance: InstanceId,
    /// Which stream.
    pub stream: Stream,
    /// Never empty.
    pub bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Where one instance's output goes. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct OutputSink(Arc<Sink>);

#[derive(Debug)]
struct Sink {
    instance: InstanceId,
    reports: mpsc::UnboundedSender<Report>,
    room: Arc<Semaphore>,
    rate: Mutex<Rate>,
}

/// Standard output or error as WASI sees it.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    sink: OutputSink,
    stream: Stream,
    terminal: bool,
}

/// One stream handed to the guest.
struct Writer {
    output: Output,
    /// Accepted while another stream of this instance had taken the room.
    pending: Option<Bytes>,
}

/// The same for WASI 0.3, which asks in this form.
pub(crate) struct AsyncWriter {
    sink: OutputSink,
    stream: Stream,
    room: PollSemaphore,
    /// Until the rate may allow more.
    pause: Option<Pin<Box<Sleep>>>,
}

/// A bucket of bytes that fills at [`RATE`].
#[derive(Debug)]
struct Rate {
    left: u64,
    at: Instant,
}

// === impl Chunk ===

impl Chunk {
    /// A chunk that takes up no instance's room.
    pub fn detached(instance: InstanceId, stream: Stream, bytes: Bytes) -> Self {
        Self {
            instance,
            stream,
            bytes,
            _room: None,
        }
    }
}

// === impl OutputSink ===

impl OutputSink {
    /// A sink for this instance.
    pub(crate) fn new(instance: InstanceId, reports: mpsc::UnboundedSender<Report>) -> Self {
        let rate = Rate {
            left: BURST,
            at: Instant::now(),
        };
        Self(Arc::new(Sink {
            instance,
            reports,
            room: Arc::new(Semaphore::new(ROOM)),
            rate: Mutex::new(rate),
        }))
    }

    /// Room for what is on its way.
    fn room(&self) -> &Arc<Semaphore> {
        &self.0.room
    }

    /// Sends now if there is room.
    fn try_send(&self, stream: Stream, bytes: &Bytes) -> bool {
        let length = cost(bytes);
        let Ok(room) = Arc::clone(self.room()).try_acquire_many_owned(length) else {
            return false;
        };
        self.send(stream, bytes.clone(), Some(room));
        true
    }

    /// Room for these bytes, as soon as there is. Nothing once the sink is closed.
    async fn room_for(&self, bytes: &Bytes) -> Option<OwnedSemaphorePermit> {
        let length = cost(bytes);
        Arc::clone(self.room())
            .acquire_many_owned(length)
            .await
            .ok()
    }

    fn send(&self, stream: Stream, bytes: Bytes, room: Option<OwnedSemaphorePermit>) {
        if bytes.is_empty() {
            return;
        }
        self.rate().take(bytes.len() as u64);
        let chunk = Chunk {
            instance: self.0.instance,
            stream,
            bytes,
            _room: room,
        };
        // Nobody listens any more only when the host is going away.
        let _ = self.0.reports.send(Report::Output(chunk));
    }

    /// Waits until the rate allows more.
    async fn wait_for_rate(&self) {
        loop {
            // Not in the loop's condition: the lock must be free while this waits.
            let wait = self.rate().wait();
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return,
            }
        }
    }

    fn rate(&self) -> std::sync::MutexGuard<'_, Rate> {
        self.0.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a chunk takes of the room.
fn cost(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len().clamp(CHUNK, ROOM)).unwrap_or(u32::MAX)
}

// === impl Rate ===

impl Rate {
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_micros();
        let earned = u64::try_from(passed)
            .unwrap_or(u64::MAX)
            .saturating_mul(RATE)
            / 1_000_000;
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.at = now;
        }
    }

    fn take(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// How long until something may be written, where not now.
    fn wait(&mut self) -> Option<Duration> {
        if self.left > 0 {
            return None;
        }
        self.refill(Instant::now());
        (self.left == 0).then_some(Duration::from_millis(10))
    }
}

// === impl Output ===

impl Output {
    pub(crate) fn new(sink: OutputSink, stream: Stream, terminal: bool) -> Self {
        Self {
            sink,
            stream,
            terminal,
        }
    }

    /// For one stream to it.
    pub(crate) fn writer(&self) -> AsyncWriter {
        AsyncWriter {
            room: PollSemaphore::new(Arc::clone(self.sink.room())),
            sink: self.sink.clone(),
            stream: self.stream,
            pause: None,
        }
    }

    /// Writes from preview 1, waiting for room.
    pub(crate) async fn write(&self, bytes: Bytes) {
        self.sink.wait_for_rate().await;
        if !self.sink.try_send(self.stream, &bytes) {
            let room = self.sink.room_for(&bytes).await;
            self.sink.send(self.stream, bytes, room);
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Writer {
            output: self.clone(),
            pending: None,
        })
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.writer())
    }
}

// === impl Writer ===

impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > ROOM || self.pending.is_some() {
            return Err(StreamError::trap("a write beyond what check-write allowed"));
        }
        if !self.output.sink.try_send(self.output.stream, &bytes) {
            self.pending = Some(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.pending.is_some() || self.output.sink.rate().wait().is_some() {
            return Ok(0);
        }
        Ok(self.output.sink.room().available_permits())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        // The guest may stop waiting at any await: what is pending stays until it is sent.
        if let Some(bytes) = &self.pending {
            let room = self.output.sink.room_for(bytes).await;
            self.output
                .sink
                .send(self.output.stream, bytes.clone(), room);
            self.pending = None;
        }
        self.output.sink.wait_for_rate().await;
        // One free byte is enough to go on; the permit is given back at once.
        drop(self.output.sink.room().acquire().await);
    }
}

// === impl AsyncWriter ===

impl AsyncWriter {
    /// Waits until the rate allows more.
    fn poll_rate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
            }
            let wait = self.sink.rate().wait();
            self.pause = wait.map(|wait| Box::pin(tokio::time::sleep(wait)));
            if self.pause.is_none() {
                return Poll::Ready(());
            }
        }
    }

    /// Takes some of these bytes, as soon as there is room; where there are none, tells when some
    /// could be taken.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        ready!(self.poll_rate(cx));
        let bytes = bytes.get(..ROOM).unwrap_or(bytes);
        let room = ready!(self.room.poll_acquire_many(cx, cost(bytes)));
        self.sink
            .send(self.stream, Bytes::copy_from_slice(bytes), room);
        Poll::Ready(bytes.len())
    }

    /// Waits no more. Who leaves has to say so: room is given in turn, and what would be given to
    /// one that never asks again is missing to every other stream of this instance.
    pub(crate) fn give_up(&mut self) {
        self.room = PollSemaphore::new(Arc::clone(self.sink.room()));
    }
}

impl AsyncWrite for AsyncWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_take(cx, bytes).map(Ok)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[tokio::test]
    async fn a_stream_of_0_3_waits_for_room_and_for_the_rate() {
        let (reports, mut heard) = mpsc::unbounded_channel();
        let sink = OutputSink::new(InstanceId(1), reports);
        let mut writer = Output::new(sink.clone(), Stream::Stdout, false).writer();
        let mut cx = Context::from_waker(Waker::noop());
        let more = vec![b'x'; ROOM + 1];
        assert_eq!(writer.poll_take(&mut cx, &more), Poll::Ready(ROOM));
        assert_eq!(writer.poll_take(&mut cx, b"x"), Poll::Pending, "no room");
        assert!(heard.try_recv().is_ok(), "its room is free again");
        assert_eq!(writer.poll_take(&mut cx, b"x"), Poll::Ready(1));
        assert!(heard.try_recv().is_ok());
        assert_eq!(writer.poll_take(&mut cx, &more), Poll::Ready(ROOM));
        assert_eq!(writer.poll_take(&mut cx, b"x"), Poll::Pending);
        writer.give_up();
        assert!(heard.try_recv().is_ok());
        let mut other = Output::new(sink.clone(), Stream::Stderr, false).writer();
        let taken = other.poll_take(&mut cx, &more);
        assert_eq!(taken, Poll::Ready(ROOM), "nobody else waits any more");
        assert!(heard.try_recv().is_ok());
        *sink.rate() = Rate {
            left: 0,
            at: Instant::now(),
        };
        assert_eq!(writer.poll_take(&mut cx, b"x"), Poll::Pending, "no rate");
        let taken = std::future::poll_fn(|cx| writer.poll_take(cx, b"x"));
        assert_eq!(taken.await, 1, "once it has filled again");
    }
}
