//! What a guest of 0.2 writes to a body: charged to its container from the write until hyper has sent
//! it, however long it waits in between.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{DynOutputStream, OutputStream, StreamError, StreamResult};

use super::fields;
use crate::account::Account;

/// The stream of a body.
pub(super) struct ChargedStream {
    stream: DynOutputStream,
    account: Arc<Account>,
}

// === impl ChargedStream ===

impl ChargedStream {
    pub(super) fn new(stream: DynOutputStream, account: Arc<Account>) -> Self {
        Self { stream, account }
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for ChargedStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let piece = fields::piece(&self.account, bytes);
        self.stream
            .write(piece.map_err(|error| StreamError::Trap(error.into()))?)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.stream.check_write()
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for ChargedStream {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}
