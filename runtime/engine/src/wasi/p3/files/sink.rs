//! A stream that a file takes. One piece at a time is under way; what comes behind it waits in the
//! guest.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use volume::Node;
use wasmtime::StoreContextMut;
use wasmtime::component::{Source, StreamConsumer, StreamResult};
use wasmtime_wasi::p3::bindings::filesystem::types::ErrorCode;

use super::super::outcome::Teller;
use super::values;
use crate::files::{FileCall, Files, PIECE, Position};

/// A file written from some position on.
pub(super) struct FileSink {
    node: Node,
    files: Files,
    position: Position,
    /// A write under way, of so many bytes.
    writing: Option<(FileCall<u64>, usize)>,
    teller: Teller<ErrorCode>,
}

// === impl FileSink ===

impl FileSink {
    pub(super) fn new(
        node: Node,
        files: Files,
        position: Position,
        teller: Teller<ErrorCode>,
    ) -> Self {
        Self {
            node,
            files,
            position,
            writing: None,
            teller,
        }
    }
}

impl<D> StreamConsumer<D> for FileSink {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let own = self.get_mut();
        let mut source = source.as_direct(store);
        if own.writing.is_none() {
            let rest = source.remaining();
            let piece = rest.get(..PIECE).unwrap_or(rest);
            if piece.is_empty() {
                // A file is always ready.
                return Poll::Ready(Ok(StreamResult::Completed));
            }
            let bytes = Bytes::copy_from_slice(piece);
            let length = bytes.len();
            let write = own.files.write(&own.node, &mut own.position, bytes);
            own.writing = Some((write, length));
        }
        let Some((write, length)) = &mut own.writing else {
            return Poll::Pending;
        };
        // A guest that wants its call back waits for this piece: a write that has begun runs to
        // its end, and only then is known how much of it was taken.
        let Poll::Ready(written) = Pin::new(write).poll(cx) else {
            return Poll::Pending;
        };
        let length = *length;
        own.writing = None;
        match written {
            Ok(_) => {
                source.mark_read(length);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Err(error) => {
                own.teller.tell(Err(values::code(error)));
                Poll::Ready(Ok(StreamResult::Dropped))
            }
        }
    }
}
