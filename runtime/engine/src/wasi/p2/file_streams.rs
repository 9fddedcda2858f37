//! Files as WASI 0.2 streams: each call runs where it may block, and its result waits here.

use bytes::Bytes;
use volume::{FsError, Node};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::files::{FileCall, Files, PIECE, Piece, Position};

/// A file read from some offset on.
pub(crate) struct FileReader {
    node: Node,
    files: Files,
    offset: u64,
    state: Reading,
}

enum Reading {
    /// Nothing is under way.
    Idle,
    /// A read is under way.
    Waiting(FileCall<Piece>),
    /// It brought this; empty at the end of the file.
    Ready(Result<Piece, FsError>),
}

/// A file written from some position on.
pub(crate) struct FileWriter {
    node: Node,
    files: Files,
    position: Position,
    state: Writing,
}

enum Writing {
    Idle,
    /// A write is under way.
    Waiting(FileCall<u64>),
    /// The last write failed, and nobody has been told yet.
    Failed(FsError),
}

// === impl FileReader ===

impl FileReader {
    pub(crate) fn new(node: Node, files: Files, offset: u64) -> Self {
        Self {
            node,
            files,
            offset,
            state: Reading::Idle,
        }
    }

    fn begin(&self, size: usize) -> FileCall<Piece> {
        self.files.read(&self.node, self.offset, size)
    }

    /// Hands out what has been read, at most `size` of it.
    fn take(&mut self, result: Result<Piece, FsError>, size: usize) -> StreamResult<Bytes> {
        let mut piece = result.map_err(failed)?;
        if piece.bytes.is_empty() {
            return Err(StreamError::Closed);
        }
        let taken = piece.bytes.split_to(size.min(piece.bytes.len()));
        self.offset += taken.len() as u64;
        if !piece.bytes.is_empty() {
            self.state = Reading::Ready(Ok(piece));
        }
        Ok(taken)
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for FileReader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        match std::mem::replace(&mut self.state, Reading::Idle) {
            Reading::Ready(result) => self.take(result, size),
            Reading::Waiting(read) => {
                self.state = Reading::Waiting(read);
                Ok(Bytes::new())
            }
            Reading::Idle => {
                self.state = Reading::Waiting(self.begin(size));
                Ok(Bytes::new())
            }
        }
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        if let Reading::Idle = self.state {
            self.state = Reading::Waiting(self.begin(size));
        }
        self.ready().await;
        self.read(size)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for FileReader {
    async fn ready(&mut self) {
        if let Reading::Idle = self.state {
            self.state = Reading::Waiting(self.begin(PIECE));
        }
        if let Reading::Waiting(read) = &mut self.state {
            self.state = Reading::Ready(read.await);
        }
    }
}

// === impl FileWriter ===

impl FileWriter {
    pub(crate) fn new(node: Node, files: Files, position: Position) -> Self {
        Self {
            node,
            files,
            position,
            state: Writing::Idle,
        }
    }

    fn begin(&mut self, bytes: Bytes) -> FileCall<u64> {
        self.files.write(&self.node, &mut self.position, bytes)
    }

    /// What the state says to a caller that wants to write.
    fn room(&mut self) -> StreamResult<usize> {
        match std::mem::replace(&mut self.state, Writing::Idle) {
            Writing::Idle => Ok(PIECE),
            Writing::Failed(error) => Err(failed(error)),
            Writing::Waiting(write) => {
                self.state = Writing::Waiting(write);
                Ok(0)
            }
        }
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for FileWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.room()? < bytes.len() {
            return Err(StreamError::trap("a write beyond what check-write allowed"));
        }
        if !bytes.is_empty() {
            self.state = Writing::Waiting(self.begin(bytes));
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        // What was accepted is under way; check-write says 0 until it has arrived.
        match self.state {
            Writing::Failed(_) => self.room().map(drop),
            Writing::Idle | Writing::Waiting(_) => Ok(()),
        }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.room()
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for FileWriter {
    async fn ready(&mut self) {
        if let Writing::Waiting(write) = &mut self.state {
            self.state = match write.await {
                Ok(_) => Writing::Idle,
                Err(error) => Writing::Failed(error),
            };
        }
    }
}

/// A stream's failure that the guest can ask the file error code of.
fn failed(error: FsError) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}

#[cfg(test)]
mod tests;
