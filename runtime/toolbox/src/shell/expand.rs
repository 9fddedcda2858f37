//! Words: variables, substitutions and quotes become the fields of a command line.

use std::io::Write as _;

use glob::Pattern;

use super::fields::{self, Piece};
use super::syntax::{Cut, Operation, Parameter, Part, Script, Word};
use super::{Fatal, Shell};
use crate::streams::{Output, Streams};

/// What separates fields where IFS is not set.
const USUAL_SEPARATORS: &str = " \t\n";

/// The value of a parameter: one text, several, or none.
enum Value {
    None,
    One(String),
    Many(Vec<String>),
}

// === impl Shell ===

impl Shell {
    /// The fields of several words.
    pub(super) fn fields(
        &mut self,
        words: &[Word],
        streams: &Streams,
    ) -> Result<Vec<String>, Fatal> {
        let mut all = Vec::new();
        for word in words {
            all.extend(self.word_fields(word, streams)?);
        }
        Ok(all)
    }

    /// The fields of one word: split, and matched with files.
    pub(super) fn word_fields(
        &mut self,
        word: &Word,
        streams: &Streams,
    ) -> Result<Vec<String>, Fatal> {
        let pieces = self.pieces(word, streams)?;
        let separators = self.separators();
        let cwd = (!self.options.no_glob).then_some(self.cwd.as_path());
        Ok(fields::split(pieces, &separators, cwd))
    }

    /// A word as one text, as after `x=`.
    pub(super) fn text(&mut self, word: &Word, streams: &Streams) -> Result<String, Fatal> {
        Ok(fields::join(self.pieces(word, streams)?))
    }

    /// A word as a pattern, as in `case`.
    pub(super) fn pattern(&mut self, word: &Word, streams: &Streams) -> Result<String, Fatal> {
        Ok(fields::pattern(self.pieces(word, streams)?))
    }

    pub(super) fn separators(&self) -> String {
        self.variable("IFS").unwrap_or(USUAL_SEPARATORS).to_owned()
    }

    fn pieces(&mut self, word: &Word, streams: &Streams) -> Result<Vec<Piece>, Fatal> {
        let mut pieces = Vec::new();
        for part in word {
            self.part(part, false, &mut pieces, streams)?;
        }
        Ok(pieces)
    }

    fn part(
        &mut self,
        part: &Part,
        quoted: bool,
        pieces: &mut Vec<Piece>,
        streams: &Streams,
    ) -> Result<(), Fatal> {
        match part {
            Part::Literal(text) if quoted => pieces.push(Piece::Quoted(text.clone())),
            Part::Literal(text) => pieces.push(Piece::Literal(text.clone())),
            Part::Quoted(text) => pieces.push(Piece::Quoted(text.clone())),
            Part::Glob(letter) => pieces.push(Piece::Glob(*letter)),
            Part::Tilde => pieces.push(Piece::Quoted(
                self.variable("HOME").unwrap_or("~").to_owned(),
            )),
            Part::DoubleQuoted(parts) => {
                // Quotes make a field even where nothing is between them, but `"$@"` makes none.
                if !matches!(parts.as_slice(), [Part::Parameter(Parameter::All)]) {
                    pieces.push(Piece::Quoted(String::new()));
                }
                for part in parts {
                    self.part(part, true, pieces, streams)?;
                }
            }
            Part::Parameter(parameter) => {
                let value = self.checked(parameter)?;
                self.push_value(value, quoted, *parameter == Parameter::Joined, pieces);
            }
            Part::Expansion(parameter, operation) => {
                self.expansion(parameter, operation, quoted, pieces, streams)?;
            }
            Part::Command(script) => {
                let text = self.output(script, streams)?;
                self.push_value(Value::One(text), quoted, false, pieces);
            }
            Part::Arithmetic(word) => {
                let text = self.text(word, streams)?;
                let value = self.compute(&text)?;
                self.push_value(Value::One(value.to_string()), quoted, false, pieces);
            }
        }
        Ok(())
    }

    fn push_value(&self, value: Value, quoted: bool, joined: bool, pieces: &mut Vec<Piece>) {
        let piece = |text| {
            if quoted {
                Piece::Quoted(text)
            } else {
                Piece::Split(text)
            }
        };
        match value {
            Value::None => {}
            Value::One(text) => pieces.push(piece(text)),
            Value::Many(texts) if quoted && joined => {
                let separator: String = self.separators().chars().take(1).collect();
                pieces.push(Piece::Quoted(texts.join(&separator)));
            }
            Value::Many(texts) => {
                for (index, text) in texts.into_iter().enumerate() {
                    if index > 0 {
                        pieces.push(if quoted {
                            Piece::Break
                        } else {
                            Piece::Split(" ".to_owned())
                        });
                    }
                    pieces.push(piece(text));
                }
            }
        }
    }

    /// The value of a parameter.
    fn value(&self, parameter: &Parameter) -> Value {
        let one = |text: String| Value::One(text);
        match parameter {
            Parameter::All | Parameter::Joined => Value::Many(self.positional.clone()),
            Parameter::Count => one(self.positional.len().to_string()),
            Parameter::Status => one(self.status.to_string()),
            Parameter::Options => one(self.option_letters()),
            // The instance is the only process that a script can see.
            Parameter::Process => one("1".to_owned()),
            Parameter::Job => Value::None,
            Parameter::Positional(0) => one(self.name.clone()),
            Parameter::Positional(number) => self
                .positional
                .get(number - 1)
                .cloned()
                .map_or(Value::None, one),
            Parameter::Variable(name) => self
                .variable(name)
                .map(str::to_owned)
                .map_or(Value::None, one),
        }
    }

    /// The value of a parameter, which under `set -u` must be set.
    fn checked(&self, parameter: &Parameter) -> Result<Value, Fatal> {
        let value = self.value(parameter);
        if self.options.no_unset && matches!(value, Value::None) {
            return Err(Fatal::new(format!("{parameter}: is not set")));
        }
        Ok(value)
    }

    fn option_letters(&self) -> String {
        let options = self.options;
        let letters = [
            (options.exit_on_error, 'e'),
            (options.no_glob, 'f'),
            (options.no_unset, 'u'),
            (options.trace, 'x'),
        ];
        letters
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, letter)| letter)
            .collect()
    }

    /// `${…}`.
    fn expansion(
        &mut self,
        parameter: &Parameter,
        operation: &Operation,
        quoted: bool,
        pieces: &mut Vec<Piece>,
        streams: &Streams,
    ) -> Result<(), Fatal> {
        let value = match operation {
            Operation::Length => Value::One(self.length(parameter)?),
            Operation::Cut(cut, word) => self.cut(parameter, *cut, word, streams)?,
            Operation::Default(null, word) => match self.present(*null, parameter) {
                Some(value) => value,
                None => return self.alternative(word, quoted, pieces, streams),
            },
            Operation::Alternative(null, word) => match self.present(*null, parameter) {
                Some(_) => return self.alternative(word, quoted, pieces, streams),
                None => Value::None,
            },
            Operation::Assign(null, word) => match self.present(*null, parameter) {
                Some(value) => value,
                None => self.assign_default(parameter, word, streams)?,
            },
            Operation::Require(null, word) => match self.present(*null, parameter) {
                Some(value) => value,
                None => return Err(self.complaint(parameter, word, streams)?),
            },
        };
        self.push_value(value, quoted, false, pieces);
        Ok(())
    }

    /// The value of a parameter that is set, and not empty where `null` asks for that.
    fn present(&self, null: bool, parameter: &Parameter) -> Option<Value> {
        match self.value(parameter) {
            Value::None => None,
            Value::One(text) if null && text.is_empty() => None,
            Value::Many(texts) if texts.is_empty() => None,
            value => Some(value),
        }
    }

    fn alternative(
        &mut self,
        word: &Word,
        quoted: bool,
        pieces: &mut Vec<Piece>,
        streams: &Streams,
    ) -> Result<(), Fatal> {
        if quoted {
            for part in word {
                self.part(part, true, pieces, streams)?;
            }
            return Ok(());
        }
        pieces.extend(
            self.pieces(word, streams)?
                .into_iter()
                .map(|piece| match piece {
                    Piece::Literal(text) => Piece::Split(text),
                    piece => piece,
                }),
        );
        Ok(())
    }

    fn assign_default(
        &mut self,
        parameter: &Parameter,
        word: &Word,
        streams: &Streams,
    ) -> Result<Value, Fatal> {
        let text = self.text(word, streams)?;
        let Parameter::Variable(name) = parameter else {
            return Err(Fatal::new(format!("{parameter}: cannot be assigned")));
        };
        self.assign(name, text.clone())?;
        Ok(Value::One(text))
    }

    fn complaint(
        &mut self,
        parameter: &Parameter,
        word: &Word,
        streams: &Streams,
    ) -> Result<Fatal, Fatal> {
        let text = self.text(word, streams)?;
        let message = if text.is_empty() { "is not set" } else { &text };
        Ok(Fatal::new(format!("{parameter}: {message}")))
    }

    fn length(&self, parameter: &Parameter) -> Result<String, Fatal> {
        Ok(match self.checked(parameter)? {
            Value::None => 0,
            Value::One(text) => text.chars().count(),
            Value::Many(texts) => texts.len(),
        }
        .to_string())
    }

    fn cut(
        &mut self,
        parameter: &Parameter,
        cut: Cut,
        word: &Word,
        streams: &Streams,
    ) -> Result<Value, Fatal> {
        let pattern = self.pattern(word, streams)?;
        let Ok(pattern) = Pattern::new(&pattern) else {
            return self.checked(parameter);
        };
        Ok(match self.checked(parameter)? {
            Value::None => Value::None,
            Value::One(text) => Value::One(cut.apply(&text, &pattern).to_owned()),
            Value::Many(texts) => Value::Many(
                texts
                    .iter()
                    .map(|text| cut.apply(text, &pattern).to_owned())
                    .collect(),
            ),
        })
    }

    /// What commands write, without the newlines at its end.
    fn output(&mut self, commands: &Script, streams: &Streams) -> Result<String, Fatal> {
        let (out, kept) = Output::kept();
        let mut shell = self.subshell()?;
        let inner = Streams {
            out,
            ..streams.clone()
        };
        shell.list(commands, &inner)?;
        (&inner.out)
            .flush()
            .map_err(|error| Fatal::new(error.to_string()))?;
        self.status_of_substitution = shell.status;
        self.status = shell.status;
        let text = String::from_utf8_lossy(&kept.take()).into_owned();
        Ok(text.trim_end_matches('\n').to_owned())
    }
}

// === impl Cut ===

impl Cut {
    fn apply<'a>(self, text: &'a str, pattern: &Pattern) -> &'a str {
        let ends = text
            .char_indices()
            .map(|(index, _)| index)
            .chain([text.len()]);
        let mut ends: Vec<usize> = ends.collect();
        // The first match in this order wins.
        if matches!(self, Self::SmallestSuffix | Self::LargestPrefix) {
            ends.reverse();
        }
        let parts = ends
            .into_iter()
            .filter_map(|end| text.split_at_checked(end));
        let found = match self {
            Self::SmallestSuffix | Self::LargestSuffix => parts
                .map(|(rest, end)| (end, rest))
                .find(|(end, _)| pattern.matches(end)),
            Self::SmallestPrefix | Self::LargestPrefix => {
                parts.into_iter().find(|(start, _)| pattern.matches(start))
            }
        };
        found.map_or(text, |(_, rest)| rest)
    }
}
