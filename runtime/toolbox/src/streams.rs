//! Where commands read and write: the instance's own streams, files, or buffers between commands.
//!
//! Both directions are handles that can be cloned, as descriptors are: `2>&1` makes two names of
//! one stream, and every command of a loop reads on where the last one stopped.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, LineWriter, Read, Write};
use std::rc::Rc;

/// What a command may leave for the next one of a pipe: the whole of it lies in memory, because
/// the next one starts when this one has ended.
const PIPE_LIMIT: usize = 64 << 20;

/// The three standard streams.
#[derive(Clone)]
pub(crate) struct Streams {
    pub(crate) input: Input,
    pub(crate) out: Output,
    pub(crate) err: Output,
}

/// Something to read from.
#[derive(Clone)]
pub(crate) struct Input(Rc<RefCell<Box<dyn BufRead>>>);

/// Something to write to.
#[derive(Clone)]
pub(crate) struct Output(Rc<RefCell<Box<dyn Write>>>);

/// What was written to an [`Output`] that keeps it.
pub(crate) struct Kept(Rc<RefCell<Vec<u8>>>);

/// The writing half of [`Kept`].
struct Keeper(Rc<RefCell<Vec<u8>>>);

// === impl Streams ===

impl Streams {
    /// Those of the instance.
    pub(crate) fn of_process() -> Self {
        Self {
            input: Input::new(io::stdin().lock()),
            out: Output::new(BufWriter::new(io::stdout())),
            // By lines, so that a message is one piece for whoever reads it.
            err: Output::new(LineWriter::new(io::stderr())),
        }
    }
}

// === impl Input ===

impl Input {
    fn new(source: impl BufRead + 'static) -> Self {
        Self(Rc::new(RefCell::new(Box::new(source))))
    }

    /// The end at once.
    pub(crate) fn empty() -> Self {
        Self::new(io::empty())
    }

    /// These bytes.
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self::new(io::Cursor::new(bytes))
    }

    /// A file from where it stands.
    pub(crate) fn file(file: File) -> Self {
        Self::new(BufReader::new(file))
    }

    /// One line with its newline; empty at the end.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub(crate) fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.0.borrow_mut().read_until(b'\n', &mut line)?;
        Ok(line)
    }

    /// Every line without its newline, read as it is asked for.
    pub(crate) fn lines(&self) -> impl Iterator<Item = io::Result<Vec<u8>>> {
        std::iter::from_fn(|| match self.line() {
            Ok(line) if line.is_empty() => None,
            Ok(mut line) => {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                Some(Ok(line))
            }
            Err(error) => Some(Err(error)),
        })
    }

    /// Everything up to the end.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub(crate) fn all(&self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.0.borrow_mut().read_to_end(&mut all)?;
        Ok(all)
    }
}

impl Read for &Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

// === impl Output ===

impl Output {
    fn new(sink: impl Write + 'static) -> Self {
        Self(Rc::new(RefCell::new(Box::new(sink))))
    }

    /// Keeps nothing.
    pub(crate) fn null() -> Self {
        Self::new(io::sink())
    }

    /// A file from where it stands.
    pub(crate) fn file(file: File) -> Self {
        Self::new(BufWriter::new(file))
    }

    /// Keeps what is written, up to [`PIPE_LIMIT`].
    pub(crate) fn kept() -> (Self, Kept) {
        let bytes = Rc::new(RefCell::new(Vec::new()));
        (Self::new(Keeper(Rc::clone(&bytes))), Kept(bytes))
    }
}

impl Write for &Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

// === impl Kept ===

impl Kept {
    /// What has been written so far.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.0.take()
    }
}

impl Write for Keeper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.borrow_mut();
        if kept.len() + bytes.len() > PIPE_LIMIT {
            return Err(io::Error::other(
                "more than 64 MiB for the next command: write to a file instead",
            ));
        }
        kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_an_input_read_on_where_the_other_stopped() {
        let input = Input::bytes(b"one\ntwo\nthree".to_vec());
        assert_eq!(input.clone().line().unwrap(), b"one\n");
        let rest: Vec<_> = input.lines().map(Result::unwrap).collect();
        assert_eq!(rest, [b"two".to_vec(), b"three".to_vec()]);
        assert!(input.all().unwrap().is_empty());
    }

    #[test]
    fn a_pipe_keeps_no_more_than_its_limit() {
        let (output, kept) = Output::kept();
        let mebibyte = vec![0; 1 << 20];
        for _ in 0..PIPE_LIMIT >> 20 {
            (&output).write_all(&mebibyte).unwrap();
        }
        assert!((&output).write_all(b"x").is_err());
        assert_eq!(kept.take().len(), PIPE_LIMIT);
    }
}
