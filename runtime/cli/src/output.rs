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
//! Events and wasmpod's own messages never wait. Events take their places among the lines as they
//! happen, and have room of their own; what finds none of either is lost.
//!
//! Output that cannot be written (a full disk) is told, and remembered for the exit code.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use anyhow::Context as _;
use model::runtime::Stream;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Pieces that wait in a lane; one is a line, 16 KiB at most before it is made readable.
const LANE: usize = 64;

/// Events that wait in a lane besides: those of some hundred pods that all start at once.
const EVENTS: usize = 4096;

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
    /// Why some of it is lost.
    lost: Arc<OnceLock<String>>,
    /// Events for which there was no room.
    missed: AtomicU64,
}

/// A queue with two sorts of places in it.
#[derive(Clone)]
struct Lane {
    pieces: mpsc::UnboundedSender<Piece>,
    room: Arc<Semaphore>,
    room_for_events: Arc<Semaphore>,
}

enum Piece {
    /// Something to write, and its place in the queue.
    Text(Stream, Vec<u8>, OwnedSemaphorePermit),
    /// Answered when all before it is written.
    Flush(oneshot::Sender<()>),
}

/// What one thread writes to.
struct Writer {
    files: [Option<File>; 2],
    unread: CancellationToken,
    lost: Arc<OnceLock<String>>,
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
        let (unread, lost) = (CancellationToken::new(), Arc::<OnceLock<String>>::default());
        let thread = |files| {
            let (lane, pieces) = Lane::new();
            let writer = Writer {
                files,
                unread: unread.clone(),
                lost: Arc::clone(&lost),
            };
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
            lost,
            missed: AtomicU64::new(0),
        })
    }

    /// Prints, as soon as there is room. In a hurry what finds no room is lost.
    pub(crate) async fn print(&self, stream: Stream, bytes: Vec<u8>) {
        let lane = self.lane(stream);
        tokio::select! {
            biased;
            // The room is never closed.
            room = Arc::clone(&lane.room).acquire_owned() => if let Ok(room) = room {
                lane.put(Piece::Text(stream, bytes, room));
            },
            () = self.hurry.cancelled() => {}
        }
    }

    /// Prints an event: at once, behind what was printed before it. Beyond [`EVENTS`] that wait it
    /// is lost, and counted.
    pub(crate) fn print_event(&self, stream: Stream, bytes: Vec<u8>) {
        let lane = self.lane(stream);
        match Arc::clone(&lane.room_for_events).try_acquire_owned() {
            Ok(room) => lane.put(Piece::Text(stream, bytes, room)),
            Err(_) => drop(self.missed.fetch_add(1, Relaxed)),
        }
    }

    /// Waits until all that was printed before is written, or never will be. wasmpod's own messages
    /// go straight to standard error from then on.
    pub(crate) async fn finish(&self) {
        *MESSAGES.write().unwrap_or_else(PoisonError::into_inner) = None;
        for lane in [&self.out, &self.err] {
            let (written, all) = oneshot::channel();
            lane.put(Piece::Flush(written));
            // Without an answer the thread is gone.
            let _ = all.await;
        }
        let missed = self.missed.load(Relaxed);
        if missed > 0 {
            tracing::warn!(missed, "events came faster than they could be printed");
        }
    }

    /// Why some of what was printed was not written, if that happened. A reader that goes is
    /// [`Self::unread`] instead.
    pub(crate) fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Nobody waits for a reader any more.
    pub(crate) fn hurry(&self) {
        self.hurry.cancel();
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
}

// === impl Lane ===

impl Lane {
    fn new() -> (Self, mpsc::UnboundedReceiver<Piece>) {
        let (pieces, queue) = mpsc::unbounded_channel();
        let lane = Self {
            pieces,
            room: Arc::new(Semaphore::new(LANE)),
            room_for_events: Arc::new(Semaphore::new(EVENTS)),
        };
        (lane, queue)
    }

    fn put(&self, piece: Piece) {
        // The thread outlives its lanes.
        let _ = self.pieces.send(piece);
    }
}

// === impl Writer ===

impl Writer {
    /// Writes until nobody prints any more.
    fn run(mut self, mut pieces: mpsc::UnboundedReceiver<Piece>) {
        let (mut batch, mut of) = (Vec::with_capacity(BATCH), Stream::Stdout);
        while let Some(piece) = pieces.blocking_recv() {
            let mut next = Some(piece);
            while let Some(piece) = next.take() {
                match piece {
                    Piece::Text(stream, text, _room) => {
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
            let name = match stream {
                Stream::Stdout => "standard output",
                Stream::Stderr => "standard error",
            };
            tracing::warn!(%error, "{name} cannot be written to: further output is lost");
            // The first one counts.
            let _ = self
                .lost
                .set(format!("{name} cannot be written to: {error}"));
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
            Some(lane) => {
                if let Ok(room) = Arc::clone(&lane.room).try_acquire_owned() {
                    lane.put(Piece::Text(Stream::Stderr, bytes.to_vec(), room));
                }
            }
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
    async fn events_keep_their_places_and_wait_for_nobody() {
        let (mut reader, out) = file();
        let err = out.try_clone().expect("a copy");
        let output = Output::to(out, err).expect("threads");
        let filled = async {
            flood(&output, Stream::Stdout).await;
            panic!("written, and nobody reads");
        };
        let mut lines = String::new();
        tokio::select! {
            biased;
            () = filled => {}
            () = std::future::ready(()) => {
                for number in 0..EVENTS {
                    let line = format!("event {number}\n");
                    output.print_event(Stream::Stderr, line.clone().into_bytes());
                    lines.push_str(&line);
                }
                output.print_event(Stream::Stderr, b"one too many\n".to_vec());
            }
        }
        assert_eq!(output.missed.load(Relaxed), 1);
        let read = std::thread::spawn(move || {
            let mut written = String::new();
            reader.read_to_string(&mut written).map(|_| written)
        });
        output.finish().await;
        drop(output);
        let written = read.join().expect("a thread").expect("all of it");
        assert_eq!(written.trim_start_matches('x'), lines);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_remembered() {
        let full = || File::options().write(true).open("/dev/full");
        let (_reader, err) = file();
        let output = Output::to(full().expect("/dev/full"), err).expect("threads");
        assert_eq!(output.lost(), None);
        output.print(Stream::Stdout, b"too much\n".to_vec()).await;
        output.finish().await;
        let lost = output.lost().expect("told");
        assert!(
            lost.starts_with("standard output cannot be written to: No space left"),
            "{lost}"
        );
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
