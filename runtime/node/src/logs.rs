//! Container logs: files in CRI's form, and the tail that a termination message may come from.
//!
//! Each line is `TIME stream F text`, or `P` for a part of a line that is longer than the file
//! format's own limit. A file is opened when something is written and closed with its container.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use model::pod::Identity;
use model::runtime::Stream;

use crate::handle::PodEvent;

/// The size at which a log is rotated: kubelet's containerLogMaxSize.
const FILE: u64 = 10 << 20;

/// Files kept, the current one included: kubelet's containerLogMaxFiles.
const FILES: usize = 5;

/// The longest text of one entry; CRI runtimes cut at this length.
const ENTRY: usize = 16 << 10;

/// What FallbackToLogsOnError shows at most.
const TAIL_BYTES: usize = 2048;
/// See [`TAIL_BYTES`].
const TAIL_LINES: usize = 80;

/// A line of a container's output, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The pod.
    pub pod: Arc<Identity>,
    /// The container.
    pub container: Arc<str>,
    /// How many instances the container had before this one.
    pub attempt: u32,
    /// Which stream.
    pub stream: Stream,
    /// When it was complete.
    pub time: SystemTime,
    /// Without its newline.
    pub text: Bytes,
    /// The line goes on in the next one.
    pub partial: bool,
}

/// Takes the lines of all containers and what happens to their pods, in the order of it all.
pub trait LogSink: Send + Sync + 'static {
    /// Takes a line. Until it resolves, the container whose line it is waits.
    fn line(&self, line: LogLine) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Whether it takes output in the pieces in which it is written, rather than line by line: a
    /// question without a newline is then shown before its answer is waited for.
    fn takes_pieces(&self) -> bool {
        false
    }

    /// Takes a Kubernetes Event, at once: the pod's worker waits for nobody.
    fn event(&self, _event: &PodEvent) {}
}

/// Cuts output into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Unfinished lines of standard output and error.
    unfinished: [Vec<u8>; 2],
}

/// A line as [`Lines`] cuts it: the text, and whether it goes on.
pub(crate) type Cut = (Stream, Bytes, bool);

/// A container's log file and those rotated away.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    size: u64,
}

/// The last of a container's output.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
}

// === impl Lines ===

impl Lines {
    /// The lines that this output completes, and parts of those that are longer than an entry.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) -> Vec<Cut> {
        let [out, err] = &mut self.unfinished;
        let line = match stream {
            Stream::Stdout => out,
            Stream::Stderr => err,
        };
        let mut cuts = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            line.extend_from_slice(text);
            while line.len() > ENTRY {
                let rest = line.split_off(ENTRY);
                cuts.push((stream, Bytes::from(std::mem::replace(line, rest)), true));
            }
            if ends {
                cuts.push((stream, Bytes::from(std::mem::take(line)), false));
            }
        }
        cuts
    }

    /// What is left of unfinished lines: parts of lines that never ended, so that readers can give
    /// back exactly what was written.
    pub(crate) fn finish(&mut self) -> Vec<Cut> {
        let streams = [Stream::Stdout, Stream::Stderr];
        let left = streams
            .into_iter()
            .zip(&mut self.unfinished)
            .filter(|(_, line)| !line.is_empty());
        left.map(|(stream, line)| (stream, Bytes::from(std::mem::take(line)), true))
            .collect()
    }
}

/// Output in the pieces in which it was written; none is longer than an entry.
pub(crate) fn pieces(stream: Stream, bytes: &[u8]) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (text, ends) = match line.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (line, false),
        };
        let parts = text.chunks(ENTRY).map(Bytes::copy_from_slice);
        cuts.extend(parts.map(|part| (stream, part, true)));
        match cuts.last_mut().filter(|_| !text.is_empty()) {
            Some((.., partial)) => *partial = !ends,
            None => cuts.push((stream, Bytes::new(), false)),
        }
    }
    cuts
}

// === impl LogFile ===

impl LogFile {
    /// A log at this path; nothing is opened yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            size: 0,
        }
    }

    /// Appends lines.
    ///
    /// # Errors
    /// What the file system says; what could not be written is lost, later lines are tried again.
    pub(crate) fn write(&mut self, lines: &[Cut], now: SystemTime) -> io::Result<()> {
        let time = timestamp(now);
        let mut entries = Vec::new();
        for (stream, text, partial) in lines {
            entry(
                &mut entries,
                &time,
                *stream,
                if *partial { 'P' } else { 'F' },
                text,
            );
        }
        self.append(&entries)
    }

    fn append(&mut self, entries: &[u8]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        if self.size >= FILE {
            self.rotate()?;
        }
        if self.file.is_none() {
            if let Some(directory) = self.path.parent() {
                fs::create_dir_all(directory)?;
            }
            let file = File::options().create(true).append(true).open(&self.path)?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            file.write_all(entries)?;
            self.size += entries.len() as u64;
        }
        Ok(())
    }

    /// `0.log` becomes `0.log.1`, and so on; the oldest is removed.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        for n in (1..FILES - 1).rev() {
            rename_if_there(&numbered(&self.path, n), &numbered(&self.path, n + 1))?;
        }
        self.size = 0;
        rename_if_there(&self.path, &numbered(&self.path, 1))
    }
}

/// A time as CRI logs carry it: RFC 3339 in UTC, to the nanosecond.
fn timestamp(time: SystemTime) -> String {
    let timestamp = jiff::Timestamp::try_from(time).unwrap_or_default();
    timestamp.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

fn numbered(path: &Path, n: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn entry(entries: &mut Vec<u8>, time: &str, stream: Stream, tag: char, text: &[u8]) {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    entries.extend_from_slice(format!("{time} {stream} {tag} ").as_bytes());
    entries.extend_from_slice(text);
    entries.push(b'\n');
}

// === impl Tail ===

impl Tail {
    /// Takes output, keeping the last of it.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let kept = bytes
            .get(bytes.len().saturating_sub(TAIL_BYTES)..)
            .unwrap_or(bytes);
        let over = (self.bytes.len() + kept.len()).saturating_sub(TAIL_BYTES);
        self.bytes.drain(..over.min(self.bytes.len()));
        self.bytes.extend(kept);
    }

    /// The last lines, at most 80 of them and at most 2048 bytes, or fewer where `limit` is less.
    pub(crate) fn text(&self, limit: usize) -> String {
        let skipped = self.bytes.len().saturating_sub(limit);
        let bytes: Vec<u8> = self.bytes.iter().skip(skipped).copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        lines
            .get(lines.len().saturating_sub(TAIL_LINES)..)
            .unwrap_or_default()
            .concat()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)
    }

    /// Writes output through the cutter into a log at `path`, and finishes it.
    fn written(path: &Path, pieces: &[(Stream, &[u8])]) {
        let (mut lines, mut log) = (Lines::default(), LogFile::new(path.to_owned()));
        for (stream, bytes) in pieces {
            log.write(&lines.push(*stream, bytes), at())
                .expect("written");
        }
        log.write(&lines.finish(), at()).expect("finished");
    }

    #[test]
    fn lines_are_written_whole_and_with_their_stream() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pod/0.log");
        written(
            &path,
            &[
                (Stream::Stdout, b"one\ntw"),
                (Stream::Stderr, b"err\n"),
                (Stream::Stdout, b"o"),
            ],
        );
        let time = "1970-01-01T00:00:01.500000000Z";
        let expected = format!("{time} stdout F one\n{time} stderr F err\n{time} stdout P two\n");
        assert_eq!(fs::read_to_string(path).expect("a log"), expected);
    }

    #[test]
    fn pieces_are_what_was_written() {
        let long = vec![b'x'; ENTRY + 1];
        for (written, expected) in [
            (&b""[..], &[][..]),
            (b"what? ", &[("what? ", true)]),
            (b"\n", &[("", false)]),
            (b"one\n\ntwo", &[("one", false), ("", false), ("two", true)]),
        ] {
            let cuts = pieces(Stream::Stdout, written);
            let found: Vec<_> = cuts
                .iter()
                .map(|(_, text, partial)| (std::str::from_utf8(text).expect("text"), *partial))
                .collect();
            assert_eq!(found, expected);
        }
        let cuts = pieces(Stream::Stderr, &[&*long, b"\n"].concat());
        let lengths: Vec<_> = cuts
            .iter()
            .map(|(_, text, partial)| (text.len(), *partial))
            .collect();
        assert_eq!(lengths, [(ENTRY, true), (1, false)]);
    }

    #[test]
    fn a_long_line_comes_in_parts() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("0.log");
        written(
            &path,
            &[
                (Stream::Stdout, &[b'x'; ENTRY * 2 + 5]),
                (Stream::Stdout, b"\n"),
            ],
        );
        let text = fs::read_to_string(path).expect("a log");
        let tags: Vec<_> = text
            .lines()
            .map(|line| line.split(' ').nth(2).unwrap_or_default())
            .collect();
        assert_eq!(tags, ["P", "P", "F"]);
    }

    #[test]
    fn five_files_are_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut log = LogFile::new(directory.path().join("0.log"));
        let line = [(Stream::Stdout, Bytes::from(vec![b'x'; ENTRY]), false)];
        for _ in 0..(7 * FILE / ENTRY as u64) {
            log.write(&line, at()).expect("written");
        }
        assert_eq!(
            fs::read_dir(directory.path()).expect("a listing").count(),
            FILES
        );
    }

    #[test]
    fn the_tail_is_bounded_in_bytes_and_lines() {
        let mut tail = Tail::default();
        tail.push(&[b'a'; 5000]);
        assert_eq!(tail.text(TAIL_BYTES).len(), TAIL_BYTES);
        tail.push("n\n".repeat(100).as_bytes());
        assert_eq!(tail.text(TAIL_BYTES).lines().count(), TAIL_LINES);
    }
}
