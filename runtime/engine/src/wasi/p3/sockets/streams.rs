//! What flows through a TCP socket of WASI 0.3: connections, and the bytes of each.
//!
//! ```text
//!   TcpIncoming ── Accepting ──> stream<tcp-socket>
//!                ┌ Receiving ──> stream<u8>, and a future that tells how it ended
//!   TcpStream ───┤
//!                └ Sending <──── stream<u8>, with such a future too
//! ```
//!
//! Nothing is kept between the guest's memory and the connection's own buffers: each piece is copied
//! once, and a guest that does not read, or a peer that does not, holds the other up. Only where a
//! stream leads from one socket to another does the host keep a piece, which is the guest's memory.

use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use net::{NetError, TcpIncoming, TcpStream};
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Destination, Resource, Source, StreamConsumer, StreamProducer, StreamResult,
};
use wasmtime_wasi::p3::bindings::sockets::types::{ErrorCode, TcpSocket};

use super::super::outcome::Teller;
use super::tcp::Socket;
use super::{attempt, code};
use crate::account::Held;
use crate::guest::Guest;
use crate::wasi::p2::theirs;

/// What the host keeps where the reader is its own: another socket's [`Sending`].
const PIECE: usize = 64 << 10;

/// The connections of a listening socket.
pub(super) struct Accepting(TcpIncoming);

/// The bytes that a peer sends.
pub(super) struct Receiving {
    half: Option<Half>,
    /// Pays for the piece that the host keeps, where it does.
    between: Option<Held>,
}

/// The bytes that go to a peer.
pub(super) struct Sending(Option<Half>);

/// One direction of a connection, which is shut down when this is dropped.
struct Half {
    stream: TcpStream,
    direction: Shutdown,
    teller: Teller<ErrorCode>,
}

// === impl Accepting ===

impl Accepting {
    pub(super) fn new(incoming: TcpIncoming) -> Self {
        Self(incoming)
    }
}

impl StreamProducer<Guest> for Accepting {
    type Item = Resource<TcpSocket>;
    type Buffer = Option<Resource<TcpSocket>>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Guest>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(&mut store) == Some(0) {
            let ready = self.0.listener().poll_acceptable(cx);
            return unless_finished(finish, ready.map(|()| Ok(StreamResult::Completed)));
        }
        let accepted = self.0.poll_accept(cx).map(|accepted| {
            let Ok(accepted) = accepted else {
                return Ok(StreamResult::Dropped);
            };
            let socket = store.data_mut().table.push(Socket::new(accepted))?;
            destination.set_buffer(Some(theirs(socket)));
            Ok(StreamResult::Completed)
        });
        unless_finished(finish, accepted)
    }
}

// === impl Receiving ===

impl Receiving {
    pub(super) fn new(stream: TcpStream, teller: Teller<ErrorCode>) -> Self {
        let half = Half::new(stream, Shutdown::Read, teller);
        Self {
            half: Some(half),
            between: None,
        }
    }
}

impl StreamProducer<Guest> for Receiving {
    type Item = u8;
    type Buffer = Option<u8>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Guest>,
        destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let Self { half, between } = self.get_mut();
        let Some(open) = half else {
            return Poll::Ready(Ok(StreamResult::Dropped));
        };
        let wanted = destination.remaining(&mut store);
        if wanted == Some(0) {
            let ready = open.stream.poll_read_ready(cx);
            return unless_finished(finish, ready.map(|()| Ok(StreamResult::Completed)));
        }
        if wanted.is_none() && between.is_none() {
            *between = store.data().limiter.account().hold(PIECE).ok();
            if between.is_none() {
                // The guest has been ended.
                return Poll::Pending;
            }
        }
        let mut destination = destination.as_direct(store, PIECE);
        let read = open.poll_read(cx, destination.remaining()).map(|read| {
            match read {
                Ok(0) => *half = None,
                Ok(count) => {
                    destination.mark_written(count);
                    return Ok(StreamResult::Completed);
                }
                Err(error) => fail(half, error),
            }
            Ok(StreamResult::Dropped)
        });
        unless_finished(finish, read)
    }
}

// === impl Sending ===

impl Sending {
    pub(super) fn new(stream: TcpStream, teller: Teller<ErrorCode>) -> Self {
        Self(Some(Half::new(stream, Shutdown::Write, teller)))
    }
}

impl StreamConsumer<Guest> for Sending {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, Guest>,
        source: Source<'_, Self::Item>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let Some(half) = &mut self.0 else {
            return Poll::Ready(Ok(StreamResult::Dropped));
        };
        let mut source = source.as_direct(store);
        if source.remaining().is_empty() {
            let ready = half.stream.poll_write_ready(cx);
            return unless_finished(finish, ready.map(|()| Ok(StreamResult::Completed)));
        }
        let written = half.poll_write(cx, source.remaining()).map(|written| {
            match written {
                Ok(count) => {
                    source.mark_read(count);
                    return Ok(StreamResult::Completed);
                }
                Err(error) => fail(&mut self.0, error),
            }
            Ok(StreamResult::Dropped)
        });
        unless_finished(finish, written)
    }
}

// === impl Half ===

impl Half {
    fn new(stream: TcpStream, direction: Shutdown, teller: Teller<ErrorCode>) -> Self {
        Self {
            stream,
            direction,
            teller,
        }
    }

    /// Reads what is there; 0 is the end.
    fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, NetError>> {
        let stream = &self.stream;
        attempt(
            cx,
            || stream.try_read(into),
            |cx| stream.poll_read_ready(cx),
        )
    }

    /// Writes what fits, at least one byte.
    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, NetError>> {
        let stream = &self.stream;
        attempt(
            cx,
            || stream.try_write(bytes),
            |cx| stream.poll_write_ready(cx),
        )
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.stream.shutdown(self.direction);
    }
}

/// Ends a direction with an error.
fn fail(half: &mut Option<Half>, error: NetError) {
    if let Some(mut half) = half.take() {
        half.teller.tell(Err(code(error)));
    }
}

/// What a poll comes to where the guest waits no longer.
fn unless_finished(
    finish: bool,
    poll: Poll<wasmtime::Result<StreamResult>>,
) -> Poll<wasmtime::Result<StreamResult>> {
    match poll {
        Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
        poll => poll,
    }
}
