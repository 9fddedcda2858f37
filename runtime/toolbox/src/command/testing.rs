//! A temporary directory to run commands in. For tests only.

use std::collections::BTreeMap;
use std::fs;

use tempfile::TempDir;

use crate::call::Call;
use crate::session::Session;
use crate::streams::{Input, Output, Streams};

/// A directory, an environment and streams that are kept.
pub(crate) struct Room {
    directory: TempDir,
    session: Session,
    streams: Streams,
}

/// What came of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A text as words, split at spaces.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

// === impl Room ===

impl Room {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let env = BTreeMap::from([("HOME".to_owned(), "/home".to_owned())]);
        // The path as `realpath` sees it, wherever temporary files lie.
        let cwd = directory.path().canonicalize().unwrap();
        let streams = Streams {
            input: Input::empty(),
            out: Output::null(),
            err: Output::null(),
        };
        Self {
            directory,
            session: Session { env, cwd },
            streams,
        }
    }

    /// The absolute path of a file in it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.session.path(name).to_string_lossy().into_owned()
    }

    /// Makes a file, with its directories.
    pub(crate) fn file(&self, name: &str, content: &str) {
        let path = self.session.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The content of a file.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.session.path(name)).unwrap()
    }

    /// Whether there is such a file.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.directory.path().join(name).symlink_metadata().is_ok()
    }

    /// A call that writes to nobody.
    pub(crate) fn call<'a>(&'a self, name: &'a str, args: &'a [String]) -> Call<'a> {
        Call {
            name,
            args,
            session: &self.session,
            streams: &self.streams,
        }
    }

    /// Runs a command without input.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        self.run_with(words, "")
    }

    /// Runs a command with this input.
    pub(crate) fn run_with(&self, words: &[&str], input: impl AsRef<[u8]>) -> Ran {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let (out, kept_out) = Output::kept();
        let (err, kept_err) = Output::kept();
        let streams = Streams {
            input: Input::bytes(input.as_ref().to_vec()),
            out,
            err,
        };
        let code = super::run(&self.session, &streams, &words);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran {
            code,
            out: text(kept_out.take()),
            err: text(kept_err.take()),
        }
    }

    /// Runs a shell script.
    pub(crate) fn sh(&self, script: &str) -> Ran {
        self.run(&["sh", "-c", script])
    }

    /// Runs each line of words with an input; the output must be the last of each case.
    pub(crate) fn check(&self, cases: &[(&str, &str, &str)]) {
        for (line, input, wanted) in cases {
            let words: Vec<&str> = line.split_whitespace().collect();
            let ran = self.run_with(&words, input);
            assert_eq!(
                (ran.out.as_str(), ran.err.as_str()),
                (*wanted, ""),
                "{line}"
            );
        }
    }
}
