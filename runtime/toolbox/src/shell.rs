//! The shell language, run within one program.
//!
//! A command is looked up among functions, builtins and the toolbox, in this order; nothing else can
//! be started.
//!
//! ```text
//! text ─> parse ─> run: lists, pipes, loops ─> expand: words to fields ─> redirect ─> command::run
//! ```
//!
//! It is not a whole POSIX shell: a pipe is a buffer between two commands that run one after the
//! other, there are no jobs, no signals and no descriptors but 0, 1 and 2.

mod arithmetic;
mod builtin;
mod expand;
mod fields;
mod parse;
mod redirect;
mod run;
mod syntax;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::rc::Rc;

use crate::session::Session;
use crate::streams::Streams;
use parse::SyntaxError;
use run::Flow;
use syntax::{Command, Script};

/// Exit code where the text is no script, or an expansion fails.
const WRONG: u8 = 2;

/// How deep functions, subshells and substitutions may nest, so that a script that calls itself
/// is told so before the instance's stack ends.
const DEPTH: u32 = 200;

/// The state of one shell. A subshell is a clone.
#[derive(Clone)]
pub(crate) struct Shell {
    variables: BTreeMap<String, Variable>,
    functions: BTreeMap<String, Rc<Command>>,
    cwd: PathBuf,
    /// `$0`.
    pub(crate) name: String,
    /// `$1` and on.
    pub(crate) positional: Vec<String>,
    /// `$?`.
    pub(crate) status: u8,
    options: Options,
    /// Exit code of the last `$(…)` of the command at hand: that of an assignment without a command.
    status_of_substitution: u8,
    /// What `local` hides, for each function that runs.
    hidden: Vec<Vec<(String, Option<Variable>)>>,
    /// Conditions that are being looked at: in these, `set -e` ends nothing.
    conditions: u32,
    depth: u32,
    /// `exit` was called.
    ended: bool,
}

#[derive(Clone, Default)]
struct Variable {
    value: String,
    exported: bool,
    read_only: bool,
}

/// What `set` switches.
#[derive(Clone, Copy, Default)]
struct Options {
    /// `-e`: a command that fails ends the shell.
    exit_on_error: bool,
    /// `-u`: a variable that is not set is an error.
    no_unset: bool,
    /// `-x`: commands are shown before they run.
    trace: bool,
    /// `-f`: no path names from patterns.
    no_glob: bool,
}

/// Ends the shell: what is wrong with the script, and the exit code.
#[derive(Debug)]
struct Fatal {
    code: u8,
    message: String,
}

/// Reads a script.
fn parse(text: &str) -> Result<Script, Fatal> {
    parse::script(text).map_err(|error| Fatal::new(error.to_string()))
}

/// Whether a text is the beginning of a script that goes on: an open quote, loop or condition.
pub(crate) fn is_incomplete(text: &str) -> bool {
    text.ends_with("\\\n") || matches!(parse::script(text), Err(SyntaxError::Incomplete(_)))
}

// === impl Fatal ===

impl Fatal {
    fn new(message: impl Into<String>) -> Self {
        Self {
            code: WRONG,
            message: message.into(),
        }
    }
}

// === impl Shell ===

impl Shell {
    /// A new shell with a command's surroundings.
    pub(crate) fn new(session: &Session) -> Self {
        let exported = |value: &String| Variable {
            value: value.clone(),
            exported: true,
            read_only: false,
        };
        Self {
            variables: session
                .env
                .iter()
                .map(|(name, value)| (name.clone(), exported(value)))
                .collect(),
            functions: BTreeMap::new(),
            cwd: session.cwd.clone(),
            name: "sh".to_owned(),
            positional: Vec::new(),
            status: 0,
            status_of_substitution: 0,
            options: Options::default(),
            hidden: Vec::new(),
            conditions: 0,
            depth: 0,
            ended: false,
        }
    }

    /// Runs a whole script and answers its exit code.
    pub(crate) fn script(&mut self, text: &str, streams: &Streams) -> u8 {
        let outcome = parse(text).and_then(|commands| self.list(&commands, streams));
        match outcome {
            Ok(Flow::Exit) => self.ended = true,
            Ok(_) => {}
            Err(fatal) => {
                // When standard error is gone, the exit code still tells.
                let _ = (&streams.out).flush();
                let _ = writeln!(&streams.err, "{}: {}", self.name, fatal.message);
                self.status = fatal.code;
            }
        }
        self.status
    }

    /// Whether `exit` was called.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Switches an option by its letter; false where there is no such option.
    pub(crate) fn set_option(&mut self, letter: &str, on: bool) -> bool {
        match letter {
            "e" => self.options.exit_on_error = on,
            "u" => self.options.no_unset = on,
            "x" => self.options.trace = on,
            "f" => self.options.no_glob = on,
            _ => return false,
        }
        true
    }

    /// What a command finds around it.
    fn session(&self) -> Session {
        let exported = self
            .variables
            .iter()
            .filter(|(_, variable)| variable.exported);
        Session {
            env: exported
                .map(|(name, variable)| (name.clone(), variable.value.clone()))
                .collect(),
            cwd: self.cwd.clone(),
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        match name {
            "PWD" => self.cwd.to_str(),
            name => self
                .variables
                .get(name)
                .map(|variable| variable.value.as_str()),
        }
    }

    fn assign(&mut self, name: &str, value: String) -> Result<(), Fatal> {
        let variable = self.variables.entry(name.to_owned()).or_default();
        if variable.read_only {
            return Err(Fatal::new(format!("{name}: is read-only")));
        }
        variable.value = value;
        Ok(())
    }

    /// Another shell in this one's place, for `( … )`, `$( … )` and the parts of a pipe.
    fn subshell(&self) -> Result<Self, Fatal> {
        let mut shell = self.clone();
        shell.deeper()?;
        Ok(shell)
    }

    fn deeper(&mut self) -> Result<(), Fatal> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Fatal::new(format!(
                "more than {DEPTH} calls and subshells in each other"
            )));
        }
        Ok(())
    }
}
