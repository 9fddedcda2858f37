//! What `wasmpod-compile` answers on its standard output: one form, written there and read here.
//!
//! ```text
//! made_ms 8123
//! peak_kib 912345
//! /var/lib/wasmpod/code/4f2a…-sync-1.cwasm
//! ```
//!
//! The path of the code closes it. The lines before it are there only where this call made the code.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MADE: &str = "made_ms ";
const PEAK: &str = "peak_kib ";

/// Where code lies, and how it came there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The file of code.
    pub code: PathBuf,
    /// What making it took; none where it was there already.
    pub made: Option<Making>,
}

/// What a compilation took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Making {
    /// From before the wasm was read until the code was in its place; whole milliseconds arrive.
    pub took: Duration,
    /// The most memory that the compiler had resident at one time, in KiB; none where the system
    /// did not tell.
    pub peak_kib: Option<u64>,
}

// === impl Answer ===

impl Answer {
    /// Code that was there already.
    pub fn found(code: PathBuf) -> Self {
        Self { code, made: None }
    }

    /// Reads an answer. What is no figure is the path, whatever it holds.
    pub fn read(said: &str) -> Self {
        let mut rest = said.strip_suffix('\n').unwrap_or(said);
        let took = figure(&mut rest, MADE).map(Duration::from_millis);
        let peak_kib = took.and_then(|_| figure(&mut rest, PEAK));
        Self {
            code: Path::new(rest).to_owned(),
            made: took.map(|took| Making { took, peak_kib }),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(made) = self.made {
            writeln!(f, "{MADE}{}", made.took.as_millis())?;
            if let Some(peak) = made.peak_kib {
                writeln!(f, "{PEAK}{peak}")?;
            }
        }
        write!(f, "{}", self.code.display())
    }
}

/// Takes the line of a figure off the beginning of a text, if it stands there.
fn figure(text: &mut &str, name: &str) -> Option<u64> {
    let (number, rest) = text.strip_prefix(name)?.split_once('\n')?;
    let number = number.parse().ok()?;
    *text = rest;
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let making = |milliseconds, peak_kib| {
            Some(Making {
                took: Duration::from_millis(milliseconds),
                peak_kib,
            })
        };
        let cases = [
            ("/code/a.cwasm", None),
            ("/code/a.cwasm", making(8123, Some(912_345))),
            ("/code/a.cwasm", making(0, None)),
            ("/two\nlines/a.cwasm", making(1, Some(2))),
        ];
        for (code, made) in cases {
            let answer = Answer {
                code: code.into(),
                made,
            };
            assert_eq!(Answer::read(&format!("{answer}\n")), answer);
        }
    }

    #[test]
    fn what_is_no_figure_is_the_path() {
        for said in ["made_ms many\n/code", "peak_kib 7\n/code", "made_ms 7", ""] {
            assert_eq!(Answer::read(said), Answer::found(said.into()));
        }
    }
}
