//! Files as WASI 0.2 streams: each call runs where it may block, and its result waits here.

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;
use volume::{FsError, Node};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::files::{Files, finished};

/// The most that is read or written at once.
const CHUNK: usize = 64 << 10;

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
    Waiting(JoinHandle<Result<Bytes, FsError>>),
    /// It brought this; empty at the end of the file.
    Ready(Result<Bytes, FsError>),
}

/// Where a write goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Position {
    /// At this offset, which moves on.
    At(u64),
    /// At the end of the file, wherever that is by then.
    End,
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
    Waiting(JoinHandle<Result<u64, FsError>>),
    /// The last write failed, and nobody has been told yet.
    Failed(FsError),
    /// The last write has ended the guest: nobody hears what came of it.
    Ended,
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

    fn begin(&self, size: usize) -> JoinHandle<Result<Bytes, FsError>> {
        let (node, offset, size) = (self.node.clone(), self.offset, size.min(CHUNK));
        self.files.spawn(move || {
            let mut buffer = BytesMut::zeroed(size);
            let read = node.read_at(&mut buffer, offset)?;
            buffer.truncate(read);
            Ok(buffer.freeze())
        })
    }

    /// Hands out what has been read, at most `size` of it.
    fn take(&mut self, result: Result<Bytes, FsError>, size: usize) -> StreamResult<Bytes> {
        let mut bytes = result.map_err(failed)?;
        if bytes.is_empty() {
            return Err(StreamError::Closed);
        }
        let taken = bytes.split_to(size.min(bytes.len()));
        self.offset += taken.len() as u64;
        if !bytes.is_empty() {
            self.state = Reading::Ready(Ok(bytes));
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
            self.state = Reading::Waiting(self.begin(CHUNK));
        }
        if let Reading::Waiting(read) = &mut self.state {
            self.state = Reading::Ready(finished(read.await));
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

    fn begin(&mut self, bytes: Bytes) -> JoinHandle<Result<u64, FsError>> {
        let (node, position) = (self.node.clone(), self.position);
        if let Position::At(offset) = &mut self.position {
            *offset += bytes.len() as u64;
        }
        self.files.spawn(move || write_all(&node, position, &bytes))
    }

    /// What the state says to a caller that wants to write.
    fn room(&mut self) -> StreamResult<usize> {
        match std::mem::replace(&mut self.state, Writing::Idle) {
            Writing::Idle => Ok(CHUNK),
            Writing::Failed(error) => Err(failed(error)),
            none @ (Writing::Waiting(_) | Writing::Ended) => {
                self.state = none;
                Ok(0)
            }
        }
    }
}

/// Writes every byte, however short each single write is.
fn write_all(node: &Node, position: Position, bytes: &[u8]) -> Result<u64, FsError> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        let more = match position {
            Position::At(offset) => node.write_at(rest, offset + written as u64)?,
            Position::End => node.append(rest)?,
        };
        if more == 0 {
            return Err(FsError::Io);
        }
        written += more;
    }
    Ok(written as u64)
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
            Writing::Idle | Writing::Waiting(_) | Writing::Ended => Ok(()),
        }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.room()
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for FileWriter {
    async fn ready(&mut self) {
        match &mut self.state {
            Writing::Idle | Writing::Failed(_) => {}
            Writing::Waiting(write) => {
                let written = write.await;
                // Should no result ever come of it, whoever asks again must not wait for the write.
                self.state = Writing::Ended;
                self.state = match self.files.settled(written).await {
                    Ok(_) => Writing::Idle,
                    Err(error) => Writing::Failed(error),
                };
            }
            Writing::Ended => std::future::pending().await,
        }
    }
}

/// A stream's failure that the guest can ask the file error code of.
fn failed(error: FsError) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}

#[cfg(test)]
mod tests;
