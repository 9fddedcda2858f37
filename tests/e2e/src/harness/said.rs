//! What `wasmpod run --output json` said: one JSON object per line, each of one type.
//!
//! This is the only place that knows how those lines are spelled.

use std::net::IpAddr;

use serde_json::Value;

/// One line that the program printed.
#[derive(Debug, Clone)]
pub(crate) enum Line {
    /// A JSON object on standard output.
    Told(Value),
    /// Standard output that is no JSON object.
    Stray(String),
    /// Standard error.
    Text(String),
}

/// Everything said so far, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// The lines.
    pub(crate) lines: Vec<Line>,
}

// === impl Line ===

impl Line {
    /// A line of standard output.
    pub(super) fn of_stdout(text: String) -> Self {
        match serde_json::from_str(&text) {
            Ok(value @ Value::Object(_)) => Self::Told(value),
            _ => Self::Stray(text),
        }
    }

    /// The object, if it is of that type.
    pub(crate) fn told(&self, kind: &str) -> Option<&Value> {
        match self {
            Self::Told(value) if value["type"] == kind => Some(value),
            _ => None,
        }
    }

    /// The text that a container logged.
    pub(crate) fn log(&self, pod: &str, container: &str) -> Option<&str> {
        let log = self.told("log")?;
        (is_pod(&log["pod"], pod) && log["container"] == container)
            .then(|| log["text"].as_str())
            .flatten()
    }

    /// The status of a pod.
    pub(crate) fn status(&self, pod: &str) -> Option<&Value> {
        let told = self.told("status")?;
        is_pod(&told["pod"], pod).then_some(&told["status"])
    }

    /// An event of a pod with that reason.
    pub(crate) fn event(&self, pod: &str, reason: &str) -> Option<&Value> {
        let event = self.told("event")?;
        (is_pod(&event["pod"], pod) && event["reason"] == reason).then_some(event)
    }
}

// === impl Said ===

impl Said {
    /// Everything that a container logged.
    pub(crate) fn logs(&self, pod: &str, container: &str) -> Vec<&str> {
        self.lines
            .iter()
            .filter_map(|line| line.log(pod, container))
            .collect()
    }

    /// The latest status of a pod; `null` where it has none yet.
    pub(crate) fn status(&self, pod: &str) -> &Value {
        let mut statuses = self.lines.iter().rev().filter_map(|line| line.status(pod));
        statuses.next().unwrap_or(&Value::Null)
    }

    /// The latest status of one container of a pod; `null` where it has none yet.
    pub(crate) fn container(&self, pod: &str, container: &str) -> &Value {
        container_of(self.status(pod), container)
    }

    /// How a container ended, from the latest status.
    pub(crate) fn terminated(&self, pod: &str, container: &str) -> &Value {
        &self.container(pod, container)["state"]["terminated"]
    }

    /// Standard error: errors and warnings for a person.
    pub(crate) fn text(&self) -> String {
        let text = |line: &Line| match line {
            Line::Text(text) => Some(format!("{text}\n")),
            Line::Told(_) | Line::Stray(_) => None,
        };
        self.lines.iter().filter_map(text).collect()
    }

    /// Standard output that is no JSON.
    pub(crate) fn stray(&self) -> String {
        let stray = |line: &Line| match line {
            Line::Stray(text) => Some(format!("{text}\n")),
            Line::Told(_) | Line::Text(_) => None,
        };
        self.lines.iter().filter_map(stray).collect()
    }

    /// The last word of a run: exit code, and what every container did and used.
    pub(crate) fn summary(&self) -> &Value {
        let last = self
            .lines
            .iter()
            .rev()
            .find_map(|line| line.told("summary"));
        last.unwrap_or(&Value::Null)
    }

    /// All of it, for a person who looks at a failed test.
    pub(crate) fn transcript(&self) -> String {
        let shown = |line: &Line| match line {
            Line::Told(value) => format!("  {value}\n"),
            Line::Stray(text) | Line::Text(text) => format!("  {text}\n"),
        };
        self.lines.iter().map(shown).collect()
    }
}

/// The status of one container in that of its pod; `null` where there is none.
pub(crate) fn container_of<'a>(status: &'a Value, container: &str) -> &'a Value {
    ["containerStatuses", "initContainerStatuses"]
        .iter()
        .filter_map(|list| status[list].as_array())
        .flatten()
        .find(|status| status["name"] == container)
        .unwrap_or(&Value::Null)
}

/// The address of a pod whose Ready condition is true.
pub(crate) fn ready_address(status: &Value) -> Option<IpAddr> {
    let conditions = status["conditions"].as_array()?;
    let is_ready = conditions
        .iter()
        .any(|c| c["type"] == "Ready" && c["status"] == "True");
    is_ready.then_some(())?;
    status["podIP"].as_str()?.parse().ok()
}

/// Whether a line's `pod` (namespace/name) is the one that a test names, with or without its
/// namespace.
fn is_pod(said: &Value, wanted: &str) -> bool {
    said.as_str().is_some_and(|said| {
        said == wanted
            || said
                .strip_prefix("default/")
                .is_some_and(|name| name == wanted)
    })
}
