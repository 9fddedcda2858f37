//! Everything that a run prints, as text or as JSON lines.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;

use api::Object;
use model::pod::Identity;
use model::runtime::Stream;
use node::{LogLine, LogSink, PodEvent, PodHandle};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::json;
use super::summary::{Summary, short_name};
use super::terminal::Terminal;
use crate::options::{Output, Run};

/// Prints what happens.
pub(crate) struct Printer {
    /// Nothing when JSON is printed.
    terminal: Option<Terminal>,
    /// Whether events and the table are printed: not for the one container of `run IMAGE`.
    tells: bool,
}

// === impl Printer ===

impl Printer {
    pub(crate) fn new(options: &Run) -> Self {
        let tells = options.image.is_none();
        let terminal = match options.output {
            Some(Output::Json) => None,
            None => Some(Terminal::new(options.raw, tells)),
        };
        Self { terminal, tells }
    }

    /// The last word.
    pub(crate) fn summary(&self, summary: &Summary) {
        match &self.terminal {
            None => print(&json::summary(summary)),
            Some(terminal) if self.tells => terminal.table(summary),
            Some(terminal) => terminal.failures(summary),
        }
    }

    fn event(&self, event: &PodEvent) {
        match &self.terminal {
            None => print(&json!({
                "type": "event",
                "pod": name(&event.pod),
                "container": event.container,
                "fieldPath": event.field_path,
                "severity": if event.warning { "Warning" } else { "Normal" },
                "reason": event.reason,
                "message": event.message,
                "time": api::status::rfc3339(event.time),
            })),
            Some(terminal) if self.tells || event.warning => {
                let pod = short_name(&event.pod);
                let about = match &event.container {
                    Some(container) => format!("{pod}/{container}"),
                    None => pod,
                };
                terminal.event(&about, event.warning, &event.reason, &event.message);
            }
            Some(_) => {}
        }
    }
}

impl LogSink for Printer {
    fn line(&self, line: LogLine) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        match &self.terminal {
            None => print(&json!({
                "type": "log",
                "pod": name(&line.pod),
                "container": &*line.container,
                "attempt": line.attempt,
                "stream": match line.stream { Stream::Stdout => "stdout", Stream::Stderr => "stderr" },
                "time": api::status::rfc3339(line.time),
                "text": String::from_utf8_lossy(&line.text),
                "partial": line.partial,
            })),
            Some(terminal) => {
                let who = format!("{}/{}", short_name(&line.pod), line.container);
                terminal.line(&who, line.stream, &line.text, line.partial);
            }
        }
        Box::pin(std::future::ready(()))
    }
}

/// Prints events until the node is gone.
pub(crate) async fn events(printer: Arc<Printer>, mut events: broadcast::Receiver<Arc<PodEvent>>) {
    loop {
        match events.recv().await {
            Ok(event) => printer.event(&event),
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "events came faster than they could be printed")
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Prints a pod's status as it changes, until the pod has ended.
pub(crate) async fn statuses(printer: Arc<Printer>, _object: Object, pod: PodHandle) {
    let mut reports = pod.report();
    let ended = pod.ended();
    tokio::pin!(ended);
    let tell = |report: &node::Report| {
        if printer.terminal.is_none() {
            print(&json!({
                "type": "status",
                "pod": name(pod.identity()),
                "status": api::status::to_json(&report.status),
            }));
        }
    };
    loop {
        tokio::select! {
            biased;
            changed = reports.changed() => match changed {
                Ok(()) => {
                    let report = Arc::clone(&reports.borrow_and_update());
                    tell(&report);
                }
                Err(_) => break,
            },
            _ = &mut ended => break,
        }
    }
    if reports.has_changed().unwrap_or(false) {
        let report = Arc::clone(&reports.borrow_and_update());
        tell(&report);
    }
}

fn name(identity: &Identity) -> String {
    identity.key()
}

/// One line on standard output; a reader that is gone is no reason to stop the pods.
fn print(value: &Value) {
    let mut line = value.to_string();
    line.push('\n');
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush());
}
