//! `wasi:logging`: each message is a line of the container's standard error.
//!
//! It goes the way of everything that is written there, at the same cost and held back as well. A
//! message stays one line whatever is in it: nobody forges a second one.

use std::fmt;

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker};

use crate::guest::Guest;

/// The names under which components ask for it.
pub(crate) const INTERFACES: [&str; 2] =
    ["wasi:logging/logging", "wasi:logging/logging@0.1.0-draft"];

/// Bytes written at once, as streams of standard error allow. Of a longer line others may be
/// written between the parts.
const PART: usize = 64 << 10;

/// How much a message matters.
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "a guest's number is read as one of them")
)]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

/// Level, context, text.
type Message = (Level, String, String);

/// Adds it under all names.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    for name in INTERFACES {
        linker.instance(name)?.func_wrap_async(
            "log",
            |store: StoreContextMut<'_, Guest>, (level, context, message): Message| {
                let errors = store.data().stderr.clone();
                Box::new(async move {
                    let mut line = Bytes::from(line(level, &context, message));
                    while !line.is_empty() {
                        let part = line.split_to(line.len().min(PART));
                        errors.write(part).await;
                    }
                    Ok(())
                })
            },
        )?;
    }
    Ok(())
}

/// `LEVEL context: message`, with its end.
fn line(level: Level, context: &str, mut message: String) -> String {
    let end = message.trim_end_matches(['\r', '\n']).len();
    message.truncate(end);
    let text = match context {
        "" => format!("{level} {message}"),
        context => format!("{level} {context}: {message}"),
    };
    if text.contains(['\r', '\n']) {
        return text.replace('\r', "\\r").replace('\n', "\\n") + "\n";
    }
    text + "\n"
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        for (level, context, message, expected) in [
            (Level::Info, "cart", "added", "INFO cart: added\n"),
            (Level::Trace, "", "added", "TRACE added\n"),
            (Level::Warn, "cart", "ends\r\n\n", "WARN cart: ends\n"),
            (Level::Error, "", "", "ERROR \n"),
            (
                Level::Critical,
                "a\nb",
                "one\nINFO x: two\r\n",
                "CRITICAL a\\nb: one\\nINFO x: two\n",
            ),
            (Level::Debug, "c", "\x1b[2J", "DEBUG c: \x1b[2J\n"),
        ] {
            assert_eq!(line(level, context, message.to_owned()), expected);
        }
    }
}
