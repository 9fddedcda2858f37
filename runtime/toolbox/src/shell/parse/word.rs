//! Words: quotes, variables and substitutions.

use super::{Parsed, Parser, SyntaxError, is_delimiter};
use crate::shell::syntax::{Cut, Operation, Parameter, Part, Word};

/// What ends a text in which double quotes' rules hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// A closing `"`.
    Quote,
    /// A closing `}`.
    Brace,
    /// The end of the text.
    Text,
}

// === impl Parser ===

impl Parser<'_> {
    /// Reads a text that is part of this one.
    fn inner<T>(
        &mut self,
        text: &str,
        action: impl FnOnce(&mut Parser<'_>) -> Parsed<T>,
    ) -> Parsed<T> {
        let letters: Vec<char> = text.chars().collect();
        let depth = self.depth;
        self.nested(|_| {
            action(&mut Parser {
                text: &letters,
                at: 0,
                after_here: None,
                depth: depth + 1,
            })
        })
    }

    /// A text in which only `$`, backticks and backslashes are special, as between double quotes.
    pub(super) fn in_quotes(&mut self, text: &str) -> Parsed<Word> {
        let parts = self.inner(text, |parser| parser.quoted_parts(End::Text))?;
        Ok(vec![Part::DoubleQuoted(parts)])
    }

    /// A name of a variable.
    pub(super) fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        while let Some(letter) = self.peek() {
            let belongs = letter.is_ascii_alphabetic()
                || letter == '_'
                || letter.is_ascii_digit() && !name.is_empty();
            if !belongs {
                break;
            }
            name.push(letter);
            self.at += 1;
        }
        (!name.is_empty()).then_some(name)
    }

    pub(super) fn needed_word(&mut self) -> Parsed<Word> {
        self.word()?.ok_or_else(|| self.missing("a word"))
    }

    /// The word that begins here, if one does.
    pub(super) fn word(&mut self) -> Parsed<Option<Word>> {
        if self.peek().is_none_or(is_delimiter) {
            return Ok(None);
        }
        self.parts(is_delimiter).map(Some)
    }

    /// Parts up to an unquoted letter that ends them.
    fn parts(&mut self, ends: fn(char) -> bool) -> Parsed<Word> {
        let mut word = Word::new();
        while let Some(letter) = self.peek() {
            if ends(letter) {
                break;
            }
            self.at += 1;
            let part = match letter {
                '\\' => match self.next() {
                    Some('\n') => continue,
                    Some(escaped) => Part::Quoted(escaped.into()),
                    None => {
                        return Err(SyntaxError::Incomplete(
                            "a letter is missing after `\\`".to_owned(),
                        ));
                    }
                },
                '\'' => Part::Quoted(self.until_quote()?),
                '"' => Part::DoubleQuoted(self.quoted_parts(End::Quote)?),
                '$' => self.dollar(false)?,
                '`' => self.backticks(false)?,
                '*' | '?' | '[' | ']' => Part::Glob(letter),
                '~' if word.is_empty()
                    && self.peek().is_none_or(|next| next == '/' || ends(next)) =>
                {
                    Part::Tilde
                }
                letter => {
                    append(&mut word, letter);
                    continue;
                }
            };
            word.push(part);
        }
        Ok(word)
    }

    fn until_quote(&mut self) -> Parsed<String> {
        let mut text = String::new();
        loop {
            match self.next() {
                Some('\'') => return Ok(text),
                Some(letter) => text.push(letter),
                None => return Err(self.missing("`'`")),
            }
        }
    }

    /// Parts between double quotes, or in a text that is read like one.
    fn quoted_parts(&mut self, end: End) -> Parsed<Word> {
        let mut word = Word::new();
        loop {
            let letter = match (self.next(), end) {
                (None, End::Text) | (Some('"'), End::Quote) | (Some('}'), End::Brace) => {
                    return Ok(word);
                }
                (None, End::Quote) => return Err(self.missing("`\"`")),
                (None, End::Brace) => return Err(self.missing("`}`")),
                (Some(letter), _) => letter,
            };
            match letter {
                '\\' => match self.peek() {
                    Some('\n') => self.at += 1,
                    Some(special @ ('$' | '`' | '\\')) => {
                        self.at += 1;
                        append(&mut word, special);
                    }
                    Some(special @ ('"' | '}')) if end != End::Text => {
                        self.at += 1;
                        append(&mut word, special);
                    }
                    _ => append(&mut word, '\\'),
                },
                '$' => word.push(self.dollar(true)?),
                '`' => word.push(self.backticks(true)?),
                // Within `"${x:-"a b"}"` the inner quotes only come and go.
                '"' if end == End::Brace => {}
                letter => append(&mut word, letter),
            }
        }
    }

    // --- what follows a dollar ---

    fn dollar(&mut self, in_quotes: bool) -> Parsed<Part> {
        if self.starts_with("((") {
            return self.arithmetic();
        }
        if self.next_is("(") {
            let script = self.nested(Self::list)?;
            self.expect(")")?;
            return Ok(Part::Command(script));
        }
        if self.next_is("{") {
            return self.nested(|parser| parser.braces(in_quotes));
        }
        if let Some(name) = self.name() {
            return Ok(Part::Parameter(Parameter::Variable(name)));
        }
        match self.peek().and_then(special) {
            Some(parameter) => {
                self.at += 1;
                Ok(Part::Parameter(parameter))
            }
            None => Ok(Part::Literal("$".to_owned())),
        }
    }

    /// `$(( … ))`, from the first parenthesis on.
    fn arithmetic(&mut self) -> Parsed<Part> {
        self.at += 2;
        let mut text = String::new();
        let mut open = 0_u32;
        loop {
            match self.next() {
                Some(')') if open == 0 => {
                    self.expect(")")?;
                    return Ok(Part::Arithmetic(self.in_quotes(&text)?));
                }
                Some(letter) => {
                    open = match letter {
                        '(' => open + 1,
                        ')' => open - 1,
                        _ => open,
                    };
                    text.push(letter);
                }
                None => return Err(self.missing("`))`")),
            }
        }
    }

    /// `` `…` ``: within it a backslash protects `` ` ``, `\` and `$`.
    fn backticks(&mut self, in_quotes: bool) -> Parsed<Part> {
        let mut text = String::new();
        loop {
            match self.next() {
                Some('`') => break,
                Some('\\') => match self.next() {
                    Some(special @ ('`' | '\\' | '$')) => text.push(special),
                    Some('"') if in_quotes => text.push('"'),
                    Some(other) => text.extend(['\\', other]),
                    None => return Err(self.missing("`` ` ``")),
                },
                Some(letter) => text.push(letter),
                None => return Err(self.missing("`` ` ``")),
            }
        }
        self.inner(&text, |parser| parser.script())
            .map(Part::Command)
    }

    /// `${ … }`, from after the brace on.
    fn braces(&mut self, in_quotes: bool) -> Parsed<Part> {
        let measures = self.starts_with("#") && self.peek_at(1) != Some('}');
        if measures {
            self.at += 1;
        }
        let parameter = self.braced_parameter()?;
        if measures {
            self.expect("}")?;
            return Ok(Part::Expansion(parameter, Operation::Length));
        }
        if self.next_is("}") {
            return Ok(Part::Parameter(parameter));
        }
        let cuts = [
            ("%%", Cut::LargestSuffix),
            ("%", Cut::SmallestSuffix),
            ("##", Cut::LargestPrefix),
            ("#", Cut::SmallestPrefix),
        ];
        for (sign, cut) in cuts {
            if self.next_is(sign) {
                // A pattern is a pattern, in quotes or not.
                let word = self.parts(|letter| letter == '}')?;
                self.expect("}")?;
                return Ok(Part::Expansion(parameter, Operation::Cut(cut, word)));
            }
        }
        let null = self.next_is(":");
        let at = self.at;
        let operation: fn(bool, Word) -> Operation = match self.next() {
            Some('-') => Operation::Default,
            Some('=') => Operation::Assign,
            Some('?') => Operation::Require,
            Some('+') => Operation::Alternative,
            _ => {
                self.at = at;
                return Err(self.missing("`}`"));
            }
        };
        let word = match in_quotes {
            true => self.quoted_parts(End::Brace)?,
            false => {
                let word = self.parts(|letter| letter == '}')?;
                self.expect("}")?;
                word
            }
        };
        Ok(Part::Expansion(parameter, operation(null, word)))
    }

    fn braced_parameter(&mut self) -> Parsed<Parameter> {
        if let Some(name) = self.name() {
            return Ok(Parameter::Variable(name));
        }
        let mut digits = String::new();
        while let Some(digit) = self.peek().filter(char::is_ascii_digit) {
            digits.push(digit);
            self.at += 1;
        }
        if !digits.is_empty() {
            return Ok(Parameter::Positional(digits.parse().unwrap_or(usize::MAX)));
        }
        let parameter = self
            .peek()
            .and_then(special)
            .ok_or_else(|| self.missing("the name of a variable"))?;
        self.at += 1;
        Ok(parameter)
    }
}

/// A parameter of one letter.
fn special(letter: char) -> Option<Parameter> {
    Some(match letter {
        '@' => Parameter::All,
        '*' => Parameter::Joined,
        '#' => Parameter::Count,
        '?' => Parameter::Status,
        '-' => Parameter::Options,
        '$' => Parameter::Process,
        '!' => Parameter::Job,
        digit => Parameter::Positional(usize::try_from(digit.to_digit(10)?).ok()?),
    })
}

/// Adds a letter to the text at the end of a word.
fn append(word: &mut Word, letter: char) {
    if let Some(Part::Literal(text)) = word.last_mut() {
        text.push(letter);
    } else {
        word.push(Part::Literal(letter.into()));
    }
}
