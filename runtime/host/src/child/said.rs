//! What a child writes to standard error, in its parent's log.
//!
//! A child may be in a guest's hands, and the log may be a terminal: control characters are shown
//! and not sent, and only so much is passed on.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::allowance::{Allowance, Rate};

/// Lines passed on. A host writes few; the rest is counted and left out.
const LINES: Rate = Rate {
    burst: 200,
    each: Duration::from_millis(100),
};

/// The longest line, in bytes: what is longer comes as several.
const LINE: usize = 4 << 10;

/// Passes on what a child says, until it has closed its end.
pub(super) async fn pass_on(from: impl AsyncRead + Unpin, process: u32) {
    let mut from = BufReader::with_capacity(LINE, from);
    let mut allowance = Allowance::new(LINES);
    let mut left_out = 0_u64;
    while let Some(line) = next_line(&mut from).await {
        if !allowance.spend(Instant::now()) {
            left_out += 1;
            continue;
        }
        if left_out > 0 {
            tracing::warn!(process, left_out, "lines of a pod host were left out");
            left_out = 0;
        }
        tracing::warn!(process, "pod host: {}", shown(&line));
    }
}

/// The next line, or as much of it as is passed on at once; `None` at the end.
async fn next_line(from: &mut (impl AsyncBufRead + Unpin)) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        // What cannot be read is the end.
        let there = from.fill_buf().await.unwrap_or_default();
        if there.is_empty() {
            return (!line.is_empty()).then_some(line);
        }
        let room = there.len().min(LINE - line.len());
        let there = there.get(..room).unwrap_or_default();
        let end = there.iter().position(|byte| *byte == b'\n');
        let part = there.get(..end.unwrap_or(room)).unwrap_or_default();
        line.extend_from_slice(part);
        let used = part.len() + usize::from(end.is_some());
        from.consume(used);
        if end.is_some() || line.len() >= LINE {
            return Some(line);
        }
    }
}

/// A line with its control characters, and what changes the direction of writing, as escapes.
fn shown(line: &[u8]) -> String {
    let mut shown = String::with_capacity(line.len());
    for character in String::from_utf8_lossy(line).chars() {
        let turns = matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_line_reaches_a_terminal_as_a_command() {
        let cases: [(&[u8], &str); 5] = [
            (b"WARN as it is: \xc3\xa9", "WARN as it is: \u{e9}"),
            (b"\x1b[2Jgone", "\\u{1b}[2Jgone"),
            (b"tab\tbell\x07\r", "tab\\tbell\\u{7}\\r"),
            ("\u{9b}2J \u{202e}x".as_bytes(), "\\u{9b}2J \\u{202e}x"),
            (b"\xff", "\u{fffd}"),
        ];
        for (line, expected) in cases {
            assert_eq!(shown(line), expected);
        }
    }

    #[tokio::test]
    async fn lines_end_at_their_end_or_their_limit() {
        let long = vec![b'x'; LINE + 1];
        let said = [b"one\n\n".as_slice(), &long, b"\nlast"].concat();
        let mut from = BufReader::with_capacity(7, said.as_slice());
        for expected in [b"one".as_slice(), b"", &long[1..], b"x", b"last"] {
            assert_eq!(next_line(&mut from).await.as_deref(), Some(expected));
        }
        assert_eq!(next_line(&mut from).await, None);
    }
}
