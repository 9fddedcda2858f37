//! One call of one command: its words, its surroundings, its streams, and how it may fail.

use std::fmt::Display;
use std::io::{self, Write as _};

use crate::session::Session;
use crate::streams::{Input, Streams};

/// An exit code, or why there is only a failure.
pub(crate) type Outcome = Result<u8, Failure>;

/// What a command that failed tells, after its name.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

/// One call of one command.
pub(crate) struct Call<'a> {
    pub(crate) name: &'a str,
    pub(crate) args: &'a [String],
    pub(crate) session: &'a Session,
    pub(crate) streams: &'a Streams,
}

/// Options and operands, parsed.
pub(crate) struct Options {
    given: Vec<(&'static str, String)>,
    pub(crate) operands: Vec<String>,
}

// === impl Failure ===

impl Failure {
    /// Wrong words: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: message.into(),
        }
    }

    /// Right words that did not work: exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: message.into(),
        }
    }

    /// What happened to a file.
    pub(crate) fn at(path: impl Display, error: &io::Error) -> Self {
        Self::new(format!("{path}: {}", reason(error)))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(reason(&error))
    }
}

/// An error as a person reads it, without the number that std adds.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

// === impl Call ===

impl<'a> Call<'a> {
    /// Another command with the same surroundings.
    pub(crate) fn run(&self, words: &[String]) -> u8 {
        crate::command::run(self.session, self.streams, words)
    }

    /// Tells of something that went wrong while the command goes on.
    pub(crate) fn warn(&self, message: impl Display) {
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(&self.streams.err, "{}: {message}", self.name);
    }

    /// Parses the arguments. The form of `spec` is `"n:,lines: q,quiet"`: names of one option
    /// apart by commas, the first being the key, with a colon where it takes a value.
    ///
    /// # Errors
    /// An option that is not in `spec`, or lacks its value.
    pub(crate) fn options(&self, spec: &'static str) -> Result<Options, Failure> {
        self.parse(spec, true)
    }

    /// The same, but everything after the first operand is an operand.
    ///
    /// # Errors
    /// As for [`Self::options`].
    pub(crate) fn options_first(&self, spec: &'static str) -> Result<Options, Failure> {
        self.parse(spec, false)
    }

    fn parse(&self, spec: &'static str, everywhere: bool) -> Result<Options, Failure> {
        let mut parser = lexopt::Parser::from_args(self.args);
        let mut options = Options {
            given: Vec::new(),
            operands: Vec::new(),
        };
        let wrong = |error: lexopt::Error| Failure::usage(error.to_string());
        while let Some(argument) = parser.next().map_err(wrong)? {
            let name = match argument {
                lexopt::Arg::Value(value) => {
                    options.operands.push(value.to_string_lossy().into_owned());
                    if !everywhere {
                        let rest = parser.raw_args().map_err(wrong)?;
                        options
                            .operands
                            .extend(rest.map(|word| word.to_string_lossy().into_owned()));
                    }
                    continue;
                }
                lexopt::Arg::Short(letter) => letter.to_string(),
                lexopt::Arg::Long(name) => name.to_owned(),
            };
            let (key, takes_value) = find(spec, &name).ok_or_else(|| {
                Failure::usage(format!("no option `{name}`; see `help {}`", self.name))
            })?;
            let value = match takes_value {
                true => parser
                    .value()
                    .map_err(wrong)?
                    .to_string_lossy()
                    .into_owned(),
                false => String::new(),
            };
            options.given.push((key, value));
        }
        Ok(options)
    }

    /// Reads every named file in turn, `-` and none at all being standard input. A file that
    /// cannot be read is told, and the exit code becomes 1.
    ///
    /// # Errors
    /// Those of `action`.
    pub(crate) fn each_input(
        &self,
        names: &[String],
        mut action: impl FnMut(&str, &Input) -> Result<(), Failure>,
    ) -> Outcome {
        let standard = ["-".to_owned()];
        let mut code = 0;
        for name in if names.is_empty() { &standard } else { names } {
            match self.open(name) {
                Ok(input) => action(name, &input)?,
                Err(failure) => {
                    self.warn(failure.message);
                    code = 1;
                }
            }
        }
        Ok(code)
    }

    /// A file to read, `-` being standard input.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open(&self, name: &str) -> Result<Input, Failure> {
        if name == "-" {
            return Ok(self.streams.input.clone());
        }
        self.session
            .read(name)
            .map_err(|error| Failure::at(name, &error))
    }

    /// Does the same with every path; one that fails is told, and the exit code becomes 1.
    ///
    /// # Errors
    /// When there is no path.
    pub(crate) fn each_path(
        &self,
        paths: &[String],
        mut action: impl FnMut(&str) -> io::Result<()>,
    ) -> Outcome {
        if paths.is_empty() {
            return Err(Failure::usage("name at least one path"));
        }
        let mut code = 0;
        for path in paths {
            if let Err(error) = action(path) {
                self.warn(Failure::at(path, &error).message);
                code = 1;
            }
        }
        Ok(code)
    }
}

/// The key of an option and whether it takes a value.
fn find(spec: &'static str, wanted: &str) -> Option<(&'static str, bool)> {
    spec.split_whitespace().find_map(|option| {
        let mut names = option.split(',');
        let is_wanted = names.any(|name| name.trim_end_matches(':') == wanted);
        let key = option.split([',', ':']).next()?;
        is_wanted.then_some((key, option.ends_with(':')))
    })
}

// === impl Options ===

impl Options {
    /// Whether the option was given.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Its last value.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.values(key).last()
    }

    /// All its values in order.
    pub(crate) fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.given
            .iter()
            .filter(move |(given, _)| *given == key)
            .map(|(_, value)| value.as_str())
    }

    /// Its value as a number, or what stands for it.
    ///
    /// # Errors
    /// When it is no number.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str, absent: T) -> Result<T, Failure> {
        match self.value(key) {
            None => Ok(absent),
            Some(text) => text
                .parse()
                .map_err(|_| Failure::usage(format!("-{key} {text}: not a number"))),
        }
    }

    /// The only operand, or the one that stands for it.
    ///
    /// # Errors
    /// When there are several.
    pub(crate) fn one<'a>(&'a self, absent: &'a str) -> Result<&'a str, Failure> {
        match self.operands.as_slice() {
            [] => Ok(absent),
            [one] => Ok(one),
            [_, second, ..] => Err(Failure::usage(format!("{second}: one word too many"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::command::testing::{Room, words};

    #[test]
    fn options_are_found_in_every_form() {
        let room = Room::new();
        let spec = "n:,lines: q,quiet a";
        let cases: [(&str, Option<&str>, bool, &[&str]); 5] = [
            ("-n 3 x", Some("3"), false, &["x"]),
            ("-qn3 x y", Some("3"), true, &["x", "y"]),
            ("x --lines=4 --quiet", Some("4"), true, &["x"]),
            ("-- -n", None, false, &["-n"]),
            ("-", None, false, &["-"]),
        ];
        for (text, value, quiet, operands) in cases {
            let args = words(text);
            let options = room.call("x", &args).options(spec).unwrap();
            assert_eq!(
                (options.value("n"), options.has("q")),
                (value, quiet),
                "{text}"
            );
            assert_eq!(options.operands, operands, "{text}");
        }
        for text in ["-z", "--zero", "-n"] {
            let args = words(text);
            let failure = room.call("x", &args).options(spec).map(|_| ()).unwrap_err();
            assert_eq!(failure.code, 2, "{text}");
        }
    }

    #[test]
    fn options_after_the_first_operand_may_belong_to_another_command() {
        let room = Room::new();
        let args = words("-q env -n 3");
        let options = room.call("x", &args).options_first("q").unwrap();
        assert_eq!(options.operands, ["env", "-n", "3"]);
    }
}
