//! Standard input, output and error as descriptors.

use bytes::Bytes;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream};

use super::abi::FileType;
use super::errno::Errno;
use crate::output::Output;
use crate::stdin::Stdin;

/// The most that is taken from standard input at once, or given to standard output.
pub(super) const CHUNK: usize = 64 << 10;

/// Standard input.
pub(super) struct Input {
    /// Nothing once it has ended, or where there is none: that reads as the end of a file.
    stream: Option<Box<dyn InputStream>>,
    /// Taken from the stream and not yet read.
    ahead: Bytes,
    terminal: bool,
    pub(super) nonblocking: bool,
}

/// Standard output or error.
pub(super) struct StandardOutput {
    output: Output,
    /// The same output as a stream that tells whether it has room; made when first asked.
    stream: Option<Box<dyn OutputStream>>,
    pub(super) nonblocking: bool,
}

// === impl Input ===

impl Input {
    pub(super) fn new(stdin: Option<Stdin>) -> Self {
        Self {
            stream: stdin.as_ref().map(StdinStream::p2_stream),
            ahead: Bytes::new(),
            terminal: stdin.as_ref().is_some_and(IsTerminal::is_terminal),
            nonblocking: false,
        }
    }

    pub(super) fn file_type(&self) -> FileType {
        of_terminal(self.terminal)
    }

    /// How many bytes can be read now, 0 at the end, nothing if that is not known yet.
    pub(super) fn available(&mut self) -> Option<usize> {
        if self.ahead.is_empty()
            && let Some(stream) = &mut self.stream
        {
            match stream.read(CHUNK) {
                Ok(bytes) if bytes.is_empty() => return None,
                Ok(bytes) => self.ahead = bytes,
                // Closed: what the host gives to a guest does not fail in any other way.
                Err(_) => self.stream = None,
            }
        }
        Some(self.ahead.len())
    }

    /// Resolves when [`Input::available`] should be asked again.
    pub(super) async fn ready(&mut self) {
        if self.ahead.is_empty()
            && let Some(stream) = &mut self.stream
        {
            stream.ready().await;
        }
    }

    /// Reads at most so many bytes, waiting for the first unless it is non-blocking; empty at the
    /// end.
    pub(super) async fn read(&mut self, most: usize) -> Result<Bytes, Errno> {
        if most == 0 {
            return Ok(Bytes::new());
        }
        loop {
            match self.available() {
                Some(available) => return Ok(self.ahead.split_to(most.min(available))),
                None if self.nonblocking => return Err(Errno::Again),
                None => self.ready().await,
            }
        }
    }
}

// === impl StandardOutput ===

impl StandardOutput {
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            stream: None,
            nonblocking: false,
        }
    }

    pub(super) fn file_type(&self) -> FileType {
        of_terminal(self.output.is_terminal())
    }

    /// How many bytes it takes without waiting.
    pub(super) fn room(&mut self) -> usize {
        self.stream().check_write().unwrap_or(0)
    }

    /// Resolves when [`StandardOutput::room`] is more than nothing.
    pub(super) async fn ready(&mut self) {
        self.stream().ready().await;
    }

    /// Writes, waiting for room; or, non-blocking, what there is room for.
    pub(super) async fn write(&mut self, mut bytes: Bytes) -> Result<usize, Errno> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if !self.nonblocking {
            let written = bytes.len();
            self.output.write(bytes).await;
            return Ok(written);
        }
        let room = self.room();
        if room == 0 {
            return Err(Errno::Again);
        }
        bytes.truncate(room);
        let written = bytes.len();
        self.stream().write(bytes).map_err(|_| Errno::Io)?;
        Ok(written)
    }

    fn stream(&mut self) -> &mut dyn OutputStream {
        self.stream
            .get_or_insert_with(|| self.output.p2_stream())
            .as_mut()
    }
}

/// isatty(3) of wasi-libc asks for a character device.
fn of_terminal(terminal: bool) -> FileType {
    if terminal {
        FileType::CharacterDevice
    } else {
        FileType::Unknown
    }
}
