//! What `run` prints for people, as text: each line of a container's output behind its name, events
//! as they happen, and a table at the end.
//!
//! Control characters are shown, not obeyed, unless the caller wants the output as it is: a guest
//! must not repaint the screen or answer for the terminal.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;
use model::pod::Identity;
use model::quantity::memory_text;
use node::PodEvent;

use super::summary::{ContainerRow, Summary, short_name};

/// Colours for prefixes, in turn: those that can be read on dark and on light.
const COLOURS: [&str; 6] = [
    "\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[31m",
];
const DIM: &str = "\x1b[2m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// Writes output and events, line by line.
pub(crate) struct Terminal {
    raw: bool,
    /// Whether names stand before lines: not for the one container of `run IMAGE`.
    prefixes: bool,
    colours: bool,
    /// The colours given so far, by name.
    given: Mutex<HashMap<String, &'static str>>,
}

// === impl Terminal ===

impl Terminal {
    /// A printer for standard output and error.
    pub(crate) fn new(raw: bool, prefixes: bool) -> Self {
        let is_terminal = io::stdout().is_terminal() && io::stderr().is_terminal();
        let colours =
            is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            raw,
            prefixes: prefixes && !raw,
            colours,
            given: Mutex::default(),
        }
    }

    /// A line of the container named so; `partial` where the line goes on.
    pub(crate) fn line(&self, who: &str, text: &[u8], partial: bool) -> Vec<u8> {
        let mut printed = self.prefix(who).into_bytes();
        if self.raw {
            printed.extend_from_slice(text);
        } else {
            printed.extend_from_slice(escaped(text).as_bytes());
        }
        if !partial || (self.prefixes && !self.raw) {
            printed.push(b'\n');
        }
        printed
    }

    /// An event about a pod or container, with its time as in wasmpod's own messages: UTC.
    pub(crate) fn event(&self, event: &PodEvent) -> Vec<u8> {
        let (start, end) = match (self.colours, event.warning) {
            (false, _) => ("", ""),
            (true, true) => (YELLOW, PLAIN),
            (true, false) => (DIM, PLAIN),
        };
        let mut about = short_name(&event.pod);
        if let Some(container) = &event.container {
            about.push('/');
            about.push_str(container);
        }
        let kind = if event.warning { "Warning" } else { "Normal" };
        let (time, reason) = (time_of_day(event.time), &event.reason);
        let message = indented(&escaped(event.message.as_bytes()));
        format!("{start}{time} {about}: {kind} {reason}: {message}{end}\n").into_bytes()
    }

    /// Where a pod can be reached.
    pub(crate) fn addresses(&self, pod: &Identity, addresses: &[IpAddr]) -> Vec<u8> {
        let (start, end) = if self.colours { (DIM, PLAIN) } else { ("", "") };
        let (time, name) = (time_of_day(SystemTime::now()), short_name(pod));
        let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let addresses = addresses.join(", ");
        format!("{start}{time} {name}: podIP {addresses}{end}\n").into_bytes()
    }

    /// Why nothing ran.
    pub(crate) fn error(&self, why: &str) -> Vec<u8> {
        format!("error: {}\n", indented(&escaped(why.as_bytes()))).into_bytes()
    }

    /// The last word: a table of all containers.
    pub(crate) fn table(&self, summary: &Summary) -> Vec<u8> {
        let header = [
            "POD",
            "CONTAINER",
            "STATE",
            "EXIT",
            "RESTARTS",
            "CPU",
            "PEAK MEMORY",
        ]
        .map(str::to_owned);
        let mut rows = vec![header];
        let mut messages = String::new();
        for pod in &summary.pods {
            if !pod.reason.is_empty() {
                // Writing to a string does not fail.
                let message = indented(&pod.message);
                let _ = writeln!(messages, "{}: {}: {message}", pod.name, pod.reason);
            }
            for container in &pod.containers {
                rows.push(row(&pod.name, container));
                if !container.message.is_empty() {
                    let _ = writeln!(
                        messages,
                        "{}/{}: {}",
                        pod.name,
                        container.name,
                        indented(&container.message)
                    );
                }
            }
        }
        format!("\n{}{}", aligned(&rows), escaped(messages.as_bytes())).into_bytes()
    }

    /// The last word where no table is wanted: what went wrong.
    pub(crate) fn failures(&self, summary: &Summary) -> Vec<u8> {
        let mut failures = String::new();
        for pod in &summary.pods {
            for container in pod
                .containers
                .iter()
                .filter(|container| !container.message.is_empty())
            {
                if container.exit_code == Some(0) {
                    continue;
                }
                let message = indented(&escaped(container.message.as_bytes()));
                // Writing to a string does not fail.
                let _ = writeln!(failures, "{}: {message}", container.state);
            }
        }
        failures.into_bytes()
    }

    fn prefix(&self, who: &str) -> String {
        if !self.prefixes {
            return String::new();
        }
        if !self.colours {
            return format!("{who} | ");
        }
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let next = COLOURS
            .get(given.len() % COLOURS.len())
            .copied()
            .unwrap_or(PLAIN);
        let colour = given.entry(who.to_owned()).or_insert(next);
        format!("{colour}{who} |{PLAIN} ")
    }
}

fn row(pod: &str, container: &ContainerRow) -> [String; 7] {
    [
        pod.to_owned(),
        container.name.clone(),
        container.state.clone(),
        container
            .exit_code
            .map_or_else(|| "-".to_owned(), |code| code.to_string()),
        container.restarts.to_string(),
        format!("{:.3}s", container.cpu.as_secs_f64()),
        memory_text(container.memory_peak),
    ]
}

/// `13:04:05.678Z`.
fn time_of_day(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%H:%M:%S.%3fZ").to_string()
}

/// Columns as wide as their widest cell, three spaces between them, as kubectl does.
fn aligned(rows: &[[String; 7]]) -> String {
    let mut widths = [0; 7];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:<width$}", width = width + 3);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Text whose lines after the first cannot be taken for lines of ours: part of it may be a guest's.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

/// Text with its control characters shown; line ends and tabs stay.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            c if c.is_control() => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(escaped(b"a\x1b[2Jb\tc\n"), "a\\u{1b}[2Jb\tc\n");
        assert_eq!(escaped("\u{9b}".as_bytes()), "\\u{9b}");
    }

    #[test]
    fn an_event_is_a_line_with_its_time() {
        let terminal = Terminal {
            raw: false,
            prefixes: true,
            colours: false,
            given: Mutex::default(),
        };
        let identity = |namespace: &str| model::pod::Identity {
            namespace: namespace.to_owned(),
            name: "web".to_owned(),
            uid: "u".to_owned(),
        };
        let event = |namespace, container: Option<&str>, warning| PodEvent {
            pod: std::sync::Arc::new(identity(namespace)),
            container: container.map(str::to_owned),
            field_path: None,
            warning,
            reason: "Started".to_owned(),
            message: "it \u{1b} began\n13:04:05.678Z other: Normal Killing: forged\n".to_owned(),
            time: SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(47_045_678),
        };
        for (event, line) in [
            (
                event("default", Some("c"), false),
                "13:04:05.678Z web/c: Normal Started: it \\u{1b} began\n    13:04:05.678Z other: Normal Killing: forged\n",
            ),
            (
                event("shop", None, true),
                "13:04:05.678Z shop/web: Warning Started: it \\u{1b} began\n    13:04:05.678Z other: Normal Killing: forged\n",
            ),
        ] {
            assert_eq!(String::from_utf8_lossy(&terminal.event(&event)), line);
        }
    }

    #[test]
    fn columns_are_aligned() {
        let row = |cells: [&str; 7]| cells.map(str::to_owned);
        let rows = [
            row(["POD", "C", "S", "E", "R", "U", "M"]),
            row(["p", "main", "s", "0", "1", "u", "m"]),
        ];
        assert_eq!(
            aligned(&rows),
            "POD   C      S   E   R   U   M\np     main   s   0   1   u   m\n"
        );
    }
}
