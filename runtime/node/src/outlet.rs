//! Where one instance's output goes: a container's to its log, an exec's to whoever asked for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use model::pod::Identity;
use model::runtime::{Exit, Stream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::config::{Clock, Config};
use crate::logs::{Cut, Lines, LogFile, LogLine, LogSink, Tail, pieces};

/// Where output goes.
pub(crate) enum Outlet {
    /// To a container's log.
    Log(Box<Log>),
    /// To the one who asked for a command.
    Exec(ExecOutlet),
}

/// A container's log: lines to a sink and a file, the last of it kept.
pub(crate) struct Log {
    pod: Arc<Identity>,
    container: Arc<str>,
    attempt: u32,
    sink: Option<Arc<dyn LogSink>>,
    clock: Clock,
    /// Closed once the container's start has been told: what it writes comes after that.
    told: Semaphore,
    state: Mutex<LogState>,
}

struct LogState {
    lines: Lines,
    /// Kept only where the termination message may come from it.
    tail: Option<Tail>,
    file: Option<LogFile>,
}

/// An exec's output and end.
pub(crate) struct ExecOutlet {
    output: mpsc::Sender<(Stream, Bytes)>,
    ended: Mutex<Option<oneshot::Sender<Exit>>>,
}

// === impl Outlet ===

impl Outlet {
    /// The instance's start has been told, or never will be: its output may follow.
    pub(crate) fn start_told(&self) {
        if let Self::Log(log) = self {
            log.told.close();
        }
    }
}

// === impl Log ===

impl Log {
    /// A log of one attempt; `tail`: whether its end may become the termination message.
    pub(crate) fn new(
        pod: Arc<Identity>,
        container: &str,
        attempt: u32,
        tail: bool,
        file: Option<PathBuf>,
        config: &Config,
    ) -> Self {
        let state = LogState {
            lines: Lines::default(),
            tail: tail.then(Tail::default),
            file: file.map(LogFile::new),
        };
        Self {
            pod,
            container: container.into(),
            attempt,
            sink: config.sink.clone(),
            clock: config.clock,
            told: Semaphore::new(0),
            state: Mutex::new(state),
        }
    }

    /// Takes output, waiting for the sink, and at first for [`Outlet::start_told`].
    pub(crate) async fn take(&self, stream: Stream, bytes: &[u8]) {
        // Nobody is ever given anything: it resolves when it is closed.
        let _ = self.told.acquire().await;
        let cuts = {
            let mut state = self.state();
            if let Some(tail) = &mut state.tail {
                tail.push(bytes);
            }
            let cuts = state.lines.push(stream, bytes);
            self.write(&mut state, &cuts);
            cuts
        };
        if self.is_told_in_pieces() {
            self.tell(pieces(stream, bytes)).await;
        } else {
            self.tell(cuts).await;
        }
    }

    /// Ends the log: what is left of its last lines goes out.
    pub(crate) async fn finish(&self) {
        let cuts = {
            let mut state = self.state();
            let cuts = state.lines.finish();
            self.write(&mut state, &cuts);
            state.file = None;
            cuts
        };
        if !self.is_told_in_pieces() {
            self.tell(cuts).await;
        }
    }

    fn is_told_in_pieces(&self) -> bool {
        self.sink.as_ref().is_some_and(|sink| sink.takes_pieces())
    }

    /// The last of the output, where it is kept: FallbackToLogsOnError.
    pub(crate) fn tail(&self, limit: usize) -> String {
        let state = self.state();
        let tail = state.tail.as_ref();
        tail.map(|tail| tail.text(limit)).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, state: &mut LogState, cuts: &[Cut]) {
        let Some(file) = &mut state.file else { return };
        if let Err(error) = file.write(cuts, self.clock.now().wall) {
            tracing::warn!(pod = self.pod.key(), container = &*self.container, %error, "log lines are lost: the log cannot be written");
        }
    }

    async fn tell(&self, cuts: Vec<Cut>) {
        let Some(sink) = &self.sink else { return };
        for (stream, text, partial) in cuts {
            let line = LogLine {
                pod: Arc::clone(&self.pod),
                container: Arc::clone(&self.container),
                attempt: self.attempt,
                stream,
                time: self.clock.now().wall,
                text,
                partial,
            };
            sink.line(line).await;
        }
    }
}

// === impl ExecOutlet ===

impl ExecOutlet {
    pub(crate) fn new(output: mpsc::Sender<(Stream, Bytes)>, ended: oneshot::Sender<Exit>) -> Self {
        Self {
            output,
            ended: Mutex::new(Some(ended)),
        }
    }

    /// Takes output; nobody who reads it any more is no error of the guest's.
    pub(crate) async fn take(&self, stream: Stream, bytes: Bytes) {
        let _ = self.output.send((stream, bytes)).await;
    }

    pub(crate) fn end(&self, exit: Exit) {
        let ended = self
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(ended) = ended {
            let _ = ended.send(exit);
        }
    }
}
