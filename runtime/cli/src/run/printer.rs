//! Everything that a run prints, as text or as JSON lines.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use model::pod::Identity;
use model::runtime::Stream;
use node::{LogLine, LogSink, PodEvent, PodHandle};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::json;
use super::summary::{Summary, short_name};
use super::terminal::Terminal;
use crate::options::{self, Run};
use crate::output::Output;

/// The Event that says where an http server is: told of the one container of `run IMAGE` too, whose
/// user would not find it otherwise.
const LISTENING: &str = "Listening";

/// Prints what happens.
pub(crate) struct Printer {
    output: Output,
    /// Nothing when JSON is printed.
    terminal: Option<Terminal>,
    /// Whether all events and the table are printed: not for the one container of `run IMAGE`.
    tells: bool,
    /// Whether output is printed as it comes, unfinished lines too: where it is all of one
    /// container, and wanted as it is.
    in_pieces: bool,
}

// === impl Printer ===

impl Printer {
    pub(crate) fn new(options: &Run, output: Output) -> Self {
        let tells = options.image.is_none();
        let terminal = match options.output {
            Some(options::Output::Json) => None,
            None => Some(Terminal::new(options.raw, tells)),
        };
        Self {
            output,
            in_pieces: options.raw && terminal.is_some() && !tells,
            terminal,
            tells,
        }
    }

    /// Where it prints.
    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    /// The last word; `failed` is why nothing ran.
    pub(crate) async fn summary(&self, summary: &Summary, failed: Option<&str>) {
        let text = match &self.terminal {
            None => return self.object(&json::summary(summary, failed)).await,
            Some(terminal) if failed.is_some() => terminal.error(failed.unwrap_or_default()),
            Some(terminal) if self.tells => terminal.table(summary),
            Some(terminal) => terminal.failures(summary),
        };
        self.output.print(Stream::Stderr, text).await;
    }

    fn print_event(&self, event: &PodEvent) {
        match &self.terminal {
            None => {
                let object = json!({
                    "type": "event",
                    "pod": name(&event.pod),
                    "container": event.container,
                    "fieldPath": event.field_path,
                    "severity": if event.warning { "Warning" } else { "Normal" },
                    "reason": event.reason,
                    "message": event.message,
                    "time": json::time(event.time),
                });
                self.output.print_event(Stream::Stdout, line_of(&object));
            }
            Some(terminal) if self.tells || event.warning || event.reason == LISTENING => {
                self.output
                    .print_event(Stream::Stderr, terminal.event(event));
            }
            Some(_) => {}
        }
    }

    async fn log(&self, line: LogLine) {
        let Some(terminal) = &self.terminal else {
            let object = json!({
                "type": "log",
                "pod": name(&line.pod),
                "container": &*line.container,
                "attempt": line.attempt,
                "stream": match line.stream { Stream::Stdout => "stdout", Stream::Stderr => "stderr" },
                "time": json::time(line.time),
                "text": String::from_utf8_lossy(&line.text),
                "partial": line.partial,
            });
            return self.object(&object).await;
        };
        let who = format!("{}/{}", short_name(&line.pod), line.container);
        let text = terminal.line(&who, &line.text, line.partial);
        self.output.print(line.stream, text).await;
    }

    /// A pod's status, where it is another than the one that was printed last. For people its
    /// addresses: all else of it is told by events.
    async fn status(&self, pod: &PodHandle, report: &node::Report, last: Option<&node::Report>) {
        if let Some(terminal) = &self.terminal {
            let ips = &report.status.pod_ips;
            if ips.is_empty() || last.is_some_and(|last| last.status.pod_ips == *ips) {
                return;
            }
            if self.tells {
                let text = terminal.addresses(pod.identity(), ips);
                self.output.print(Stream::Stderr, text).await;
            } else {
                tracing::info!(addresses = ?ips, "the pod can be reached");
            }
            return;
        }
        let status = api::status::to_json(&report.status);
        if last.is_some_and(|last| api::status::to_json(&last.status) == status) {
            return;
        }
        let object = json!({
            "type": "status",
            "pod": name(pod.identity()),
            "time": json::time(SystemTime::now()),
            "status": status,
        });
        self.object(&object).await;
    }

    /// One line on standard output.
    async fn object(&self, value: &Value) {
        self.output.print(Stream::Stdout, line_of(value)).await;
    }
}

impl LogSink for Printer {
    fn line(&self, line: LogLine) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.log(line))
    }

    fn takes_pieces(&self) -> bool {
        self.in_pieces
    }

    fn event(&self, event: &PodEvent) {
        self.print_event(event);
    }
}

/// Prints a pod's status as it changes, until the pod has ended.
pub(crate) async fn statuses(printer: Arc<Printer>, pod: PodHandle) {
    let mut reports = pod.report();
    let ended = pod.ended();
    tokio::pin!(ended);
    // The pod keeps it too, until it has another.
    let mut last = None;
    loop {
        tokio::select! {
            biased;
            changed = reports.changed() => match changed {
                Ok(()) => {
                    let report = Arc::clone(&reports.borrow_and_update());
                    printer.status(&pod, &report, last.as_deref()).await;
                    last = Some(report);
                }
                Err(_) => break,
            },
            _ = &mut ended => break,
        }
    }
    if let Some(report) = unseen(&mut reports).await {
        printer.status(&pod, &report, last.as_deref()).await;
    }
}

/// What was sent last, unless it was seen: also where nothing more can be sent.
async fn unseen<T>(values: &mut watch::Receiver<Arc<T>>) -> Option<Arc<T>> {
    tokio::select! {
        biased;
        Ok(()) = values.changed() => Some(Arc::clone(&values.borrow_and_update())),
        () = std::future::ready(()) => None,
    }
}

fn name(identity: &Identity) -> String {
    identity.key()
}

/// An object as a line.
fn line_of(value: &Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_word_is_heard_of_who_has_gone() {
        let (sender, mut values) = watch::channel(Arc::new(1));
        assert_eq!(unseen(&mut values).await, None);
        sender.send_replace(Arc::new(2));
        drop(sender);
        assert_eq!(unseen(&mut values).await, Some(Arc::new(2)));
        assert_eq!(unseen(&mut values).await, None);
    }
}
