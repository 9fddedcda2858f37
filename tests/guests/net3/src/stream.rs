//! A connection with both its streams.

use wasip3::sockets::types::{ErrorCode, TcpSocket};
use wasip3::wit_stream;
use wit_bindgen::StreamResult;
use wit_bindgen::rt::async_support::{FutureReader, StreamReader, StreamWriter};

/// What is read at once.
pub(crate) const BUFFER: usize = 64 * 1024;

/// A future that tells how a stream ended.
pub(crate) type Ended = FutureReader<Result<(), ErrorCode>>;

pub(crate) struct Connection {
    pub(crate) socket: TcpSocket,
    pub(crate) input: StreamReader<u8>,
    pub(crate) output: StreamWriter<u8>,
    pub(crate) received: Ended,
    pub(crate) sent: Ended,
}

// === impl Connection ===

impl Connection {
    pub(crate) fn of(socket: TcpSocket) -> Self {
        let (output, reader) = wit_stream::new();
        let sent = socket.send(reader);
        let (input, received) = socket.receive();
        Self {
            socket,
            input,
            output,
            received,
            sent,
        }
    }

    /// What comes next; nothing at the end.
    pub(crate) async fn read(&mut self) -> Option<Vec<u8>> {
        read(&mut self.input, BUFFER).await
    }

    /// Exactly so many bytes; fewer at the end.
    pub(crate) async fn read_exact(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            match read(&mut self.input, length - bytes.len()).await {
                Some(more) if bytes.is_empty() => bytes = more,
                Some(more) => bytes.extend(more),
                None => break,
            }
        }
        bytes
    }

    /// All up to the end.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(more) = self.read().await {
            bytes.extend(more);
        }
        bytes
    }

    /// Whether all of it was taken.
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> bool {
        self.output.write_all(bytes).await.is_empty()
    }

    /// Ends the direction toward the peer, and waits until all is sent.
    pub(crate) async fn finish(self) -> Result<(), ErrorCode> {
        drop(self.output);
        self.sent.await
    }
}

/// Up to so many bytes of a stream; nothing at its end.
pub(crate) async fn read(input: &mut StreamReader<u8>, most: usize) -> Option<Vec<u8>> {
    match input.read(Vec::with_capacity(most)).await {
        (StreamResult::Dropped, bytes) if bytes.is_empty() => None,
        (_, bytes) => Some(bytes),
    }
}
