//! What this program prints while pods run: it goes out on threads of its own.
//!
//! ```text
//! printer ──> lane (a queue that is bounded) ──> thread ──> standard output, standard error
//! ```
//!
//! A reader that is slow, or none at all, holds back whoever has something to print, as a pipe
//! does: in the end the guests whose output it is. It never holds back the threads on which pods
//! are looked after and signals are heard. Both streams share a lane where they are the same file,
//! so that lines come out in their order, and have one each where they are not, so that one that
//! nobody reads does not silence the other.
//!
//! wasmpod's own messages never wait: those for which there is no room are lost.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{PoisonError, RwLock};

use anyhow::Context as _;
use model::runtime::Stream;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Pieces that wait in a lane; one is a line, 16 KiB at most before it is made readable.
const LANE: usize = 64;

/// Bytes that are gathered for one write: those of a pipe of usual size.
const BATCH: usize = 64 << 10;

/// Standard output and error.
pub(crate) struct Output {
    out: Lane,
    err: Lane,
    /// Whoever waits for room gives up.
    hurry: CancellationToken,
    /// Nobody will read standard output any more.
    unread: CancellationToken,
}

type Lane = mpsc::Sender<Piece>;

enum Piece {
    Text(Stream, Vec<u8>),
    /// Answered when all before it is written.
    Flush(oneshot::Sender<()>),
}

/// What one thread writes to.
struct Writer {
    files: [Option<File>; 2],
    unread: CancellationToken,
}

/// The lane for wasmpod's own messages while an [`Output`] is open.
static MESSAGES: RwLock<Option<Lane>> = RwLock::new(None);

// === impl Output ===

impl Output {
    /// Opens this program's standard output and error; its own messages go the same way from now
    /// on, until it is finished.
    ///
    /// # Errors
    /// When the system refuses descriptors or threads.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let own = |fd: io::Result<OwnedFd>| {
            fd.map(File::from)
                .context("cannot open standard output and error")
        };
        let out = own(io::stdout().as_fd().try_clone_to_owned())?;
        let err = own(io::stderr().as_fd().try_clone_to_owned())?;
        let output = Self::to(out, err).context("cannot start threads for output")?;
        *MESSAGES.write().unwrap_or_else(PoisonError::into_inner) = Some(output.err.clone());
        Ok(output)
    }

    fn to(out: File, err: File) -> io::Result<Self> {
        let unread = CancellationToken::new();
        let thread = |files| {
            let (lane, pieces) = mpsc::channel(LANE);
            let unread = unread.clone();
            let writer = Writer { files, unread };
            std::thread::Builder::new()
                .name("output".to_owned())
                .spawn(move || writer.run(pieces))
                .map(|_| lane)
        };
        let (out, err) = if is_same(&out, &err) {
            let both = thread([Some(out), Some(err)])?;
            (both.clone(), both)
        } else {
            (thread([Some(out), None])?, thread([None, Some(err)])?)
        };
        Ok(Self {
            out,
            err,
            hurry: CancellationToken::new(),
            unread,
        })
    }

    /// Prints, as soon as there is room. In a hurry what finds no room is lost.
    pub(crate) async fn print(&self, stream: Stream, bytes: Vec<u8>) {
        self.put(self.lane(stream), Piece::Text(stream, bytes))
            .await;
    }

    /// Waits until all that was printed before is written, or never will be. wasmpod's own messages
    /// go straight to standard error from then on.
    pub(crate) async fn finish(&self) {
        *MESSAGES.write().unwrap_or_else(PoisonError::into_inner) = None;
        for lane in [&self.out, &self.err] {
            let (written, all) = oneshot::channel();
            self.put(lane, Piece::Flush(written)).await;
            // Without an answer there was no room for the question.
            let _ = all.await;
        }
    }

    /// Nobody waits for a reader any more.
    pub(crate) fn hurry(&self) {
        self.hurry.cancel();
    }

    /// Whether nobody does.
    pub(crate) fn is_in_a_hurry(&self) -> bool {
        self.hurry.is_cancelled()
    }

    /// Resolves when the reader of standard output has gone.
    pub(crate) async fn unread(&self) {
        self.unread.cancelled().await;
    }

    fn lane(&self, stream: Stream) -> &Lane {
        match stream {
            Stream::Stdout => &self.out,
            Stream::Stderr => &self.err,
        }
    }

    async fn put(&self, lane: &Lane, piece: Piece) {
        tokio::select! {
            biased;
            // The thread outlives its lanes.
            room = lane.reserve() => if let Ok(room) = room { room.send(piece) },
            () = self.hurry.cancelled() => {}
        }
    }
}

// === impl Writer ===

impl Writer {
    /// Writes until nobody prints any more.
    fn run(mut self, mut pieces: mpsc::Receiver<Piece>) {
        let (mut batch, mut of) = (Vec::with_capacity(BATCH), Stream::Stdout);
        while let Some(piece) = pieces.blocking_recv() {
            let mut next = Some(piece);
            while let Some(piece) = next.take() {
                match piece {
                    Piece::Text(stream, text) => {
                        if stream != of || batch.len() + text.len() > BATCH {
                            self.write(of, &mut batch);
                            of = stream;
                        }
                        batch.extend_from_slice(&text);
                    }
                    Piece::Flush(written) => {
                        self.write(of, &mut batch);
                        // Whoever asked may have given up.
                        let _ = written.send(());
                    }
                }
                next = pieces.try_recv().ok();
            }
            self.write(of, &mut batch);
        }
    }

    /// Writes a batch, and empties it. A stream that takes no more is not tried again.
    fn write(&mut self, stream: Stream, batch: &mut Vec<u8>) {
        let [out, err] = &mut self.files;
        let file = match stream {
            Stream::Stdout => out,
            Stream::Stderr => err,
        };
        let result = file.as_mut().map(|file| write_all(file, batch));
        batch.clear();
        let Some(Err(error)) = result else { return };
        *file = None;
        if error.kind() != io::ErrorKind::BrokenPipe {
            tracing::warn!(%error, "{stream:?} cannot be written to: further output is lost");
        } else if stream == Stream::Stdout {
            self.unread.cancel();
        }
    }
}

/// Writes all, waiting where the file is one that others have made not to wait.
fn write_all(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wanted = [PollFd::new(file, PollFlags::OUT)];
                match poll(&mut wanted, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether both are the same terminal, pipe or file.
fn is_same(one: &File, other: &File) -> bool {
    let id = |file: &File| rustix::fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

/// Where wasmpod's own messages go: standard error, without ever waiting while pods run.
pub(crate) struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let lane = MESSAGES.read().unwrap_or_else(PoisonError::into_inner);
        match lane.as_ref() {
            // Lost where there is no room: nobody reads them then.
            Some(lane) => drop(lane.try_send(Piece::Text(Stream::Stderr, bytes.to_vec()))),
            None => io::stderr().lock().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read as _, pipe};

    use super::*;

    /// A pipe as a file to write to.
    fn file() -> (PipeReader, File) {
        let (reader, writer) = pipe().expect("a pipe");
        (reader, OwnedFd::from(writer).into())
    }

    /// Prints more than pipe, thread and queue can hold.
    async fn flood(output: &Output, stream: Stream) {
        for _ in 0..10 * LANE {
            output.print(stream, vec![b'x'; 16 << 10]).await;
        }
    }

    #[tokio::test]
    async fn lines_of_both_streams_keep_their_order_in_one_file() {
        let (mut reader, out) = file();
        let err = out.try_clone().expect("a copy");
        let output = Output::to(out, err).expect("threads");
        let mut expected = String::new();
        for number in 0..100 {
            let stream = if number % 3 == 0 {
                Stream::Stderr
            } else {
                Stream::Stdout
            };
            let line = format!("{number}\n");
            expected.push_str(&line);
            output.print(stream, line.into_bytes()).await;
        }
        output.finish().await;
        drop(output);
        let mut written = String::new();
        reader.read_to_string(&mut written).expect("all of it");
        assert_eq!(written, expected);
    }

    #[tokio::test]
    async fn a_stream_that_nobody_reads_does_not_silence_the_other() {
        let (_unread, out) = file();
        let (mut reader, err) = file();
        let output = Output::to(out, err).expect("threads");
        let heard = async {
            output.print(Stream::Stderr, b"heard\n".to_vec()).await;
            let mut heard = [0; 6];
            reader.read_exact(&mut heard).expect("the line");
            assert_eq!(&heard, b"heard\n");
        };
        tokio::select! {
            () = flood(&output, Stream::Stdout) => panic!("written, and nobody reads"),
            () = heard => {}
        }
    }

    #[tokio::test]
    async fn in_a_hurry_nobody_waits_for_a_reader() {
        let (_unread, out) = file();
        let (_also, err) = file();
        let output = Output::to(out, err).expect("threads");
        // The first would not end without the second.
        tokio::join!(flood(&output, Stream::Stdout), async { output.hurry() });
    }

    #[tokio::test]
    async fn a_reader_that_goes_ends_the_output_and_is_told() {
        let (reader, out) = file();
        let (_reader, err) = file();
        let output = Output::to(out, err).expect("threads");
        drop(reader);
        output.print(Stream::Stdout, b"to nobody\n".to_vec()).await;
        output.unread().await;
        flood(&output, Stream::Stdout).await;
        output.finish().await;
    }
}
