//! A running command whose lines we read while a person sees them too.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Context as _;

use crate::step::shown;

/// Which stream a line came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A command under way, and its lines in the order in which they came.
///
/// The channel closes when both streams do, which is when the command and what it started have
/// ended.
pub(crate) struct Running {
    /// The process.
    pub(crate) child: Child,
    /// Its lines.
    pub(crate) lines: Receiver<(Stream, String)>,
}

/// Starts a command with both streams read line by line. It gets no standard input.
pub(crate) fn start(command: &mut Command) -> anyhow::Result<Running> {
    let shown = shown(command);
    println!("   $ {shown}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{shown}` could not be started"))?;
    let (sender, lines) = channel();
    if let Some(out) = child.stdout.take() {
        forward(out, Stream::Out, sender.clone());
    }
    if let Some(err) = child.stderr.take() {
        forward(err, Stream::Err, sender);
    }
    Ok(Running { child, lines })
}

/// Reads one stream to its end on a thread of its own.
fn forward(stream: impl Read + Send + 'static, which: Stream, sender: Sender<(Stream, String)>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.send((which, line)).is_err() {
                return;
            }
        }
    });
}
