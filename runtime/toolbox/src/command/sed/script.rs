//! The script of sed, taken apart.

use std::iter::Peekable;
use std::str::Chars;

use regex_lite::{Captures, Regex};

use crate::call::Failure;
use crate::regular::{self, Notation};

/// One command with the lines that it is for.
pub(super) struct Step {
    from: Option<Address>,
    to: Option<Address>,
    negated: bool,
    in_range: bool,
    pub(super) action: Action,
}

/// Which line.
enum Address {
    Number(u64),
    Last,
    Match(Regex),
}

/// What is done.
pub(super) enum Action {
    Delete,
    Print,
    Quit,
    Substitute(Substitution),
}

/// `s/pattern/replacement/flags`.
pub(super) struct Substitution {
    pattern: Regex,
    replacement: Vec<Piece>,
    /// The first occurrence that is replaced, from 1.
    first: usize,
    all: bool,
    pub(super) prints: bool,
}

/// A part of a replacement.
enum Piece {
    Text(String),
    Group(usize),
}

type Letters<'a> = Peekable<Chars<'a>>;

/// Reads a script: commands apart by newlines or semicolons.
pub(super) fn parse(text: &str, notation: Notation) -> Result<Vec<Step>, Failure> {
    let mut letters = text.chars().peekable();
    let mut steps = Vec::new();
    loop {
        while letters
            .next_if(|c| c.is_whitespace() || *c == ';')
            .is_some()
        {}
        if letters.peek().is_none() {
            return Ok(steps);
        }
        steps.push(step(&mut letters, notation)?);
    }
}

fn step(letters: &mut Letters<'_>, notation: Notation) -> Result<Step, Failure> {
    let from = address(letters, notation)?;
    let to = match from.is_some() && letters.next_if_eq(&',').is_some() {
        true => Some(
            address(letters, notation)?.ok_or_else(|| Failure::usage("a range lacks its end"))?,
        ),
        false => None,
    };
    skip_spaces(letters);
    let negated = letters.next_if_eq(&'!').is_some();
    skip_spaces(letters);
    let action = match letters.next() {
        Some('d') => Action::Delete,
        Some('p') => Action::Print,
        Some('q') => Action::Quit,
        Some('s') => Action::Substitute(substitution(letters, notation)?),
        Some(other) => {
            return Err(Failure::usage(format!(
                "`{other}`: not known; there are s d p q"
            )));
        }
        None => return Err(Failure::usage("a command is missing after its address")),
    };
    Ok(Step {
        from,
        to,
        negated,
        in_range: false,
        action,
    })
}

fn skip_spaces(letters: &mut Letters<'_>) {
    while letters.next_if_eq(&' ').is_some() {}
}

fn address(letters: &mut Letters<'_>, notation: Notation) -> Result<Option<Address>, Failure> {
    match letters.peek() {
        Some('$') => {
            letters.next();
            Ok(Some(Address::Last))
        }
        Some('/') => {
            letters.next();
            let pattern = until(letters, '/')?;
            Ok(Some(Address::Match(regular::compile(
                &pattern, notation, false,
            )?)))
        }
        Some(digit) if digit.is_ascii_digit() => {
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let number = digits
                .parse()
                .map_err(|_| Failure::usage(format!("{digits}: no such line")))?;
            Ok(Some(Address::Number(number)))
        }
        _ => Ok(None),
    }
}

/// The text up to a delimiter; an escaped delimiter is part of it.
fn until(letters: &mut Letters<'_>, delimiter: char) -> Result<String, Failure> {
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        if letter == delimiter {
            return Ok(text);
        }
        text.push(letter);
        if letter == '\\'
            && let Some(escaped) = letters.next()
        {
            if escaped == delimiter {
                text.pop();
            }
            text.push(escaped);
        }
    }
    Err(Failure::usage(format!("its `{delimiter}` is missing")))
}

fn substitution(letters: &mut Letters<'_>, notation: Notation) -> Result<Substitution, Failure> {
    let delimiter = letters
        .next()
        .ok_or_else(|| Failure::usage("s: its delimiter is missing"))?;
    let pattern = until(letters, delimiter)?;
    let replacement = until(letters, delimiter)?;
    let (mut first, mut all, mut prints, mut ignore_case) = (1, false, false, false);
    while let Some(flag) = letters.next_if(|c| !c.is_whitespace() && *c != ';') {
        match flag {
            'g' => all = true,
            'p' => prints = true,
            'i' | 'I' => ignore_case = true,
            digit @ '1'..='9' => first = digit.to_digit(10).map_or(1, |digit| digit as usize),
            other => {
                return Err(Failure::usage(format!(
                    "s: flag `{other}` is not known; there are g p i 1-9"
                )));
            }
        }
    }
    Ok(Substitution {
        pattern: regular::compile(&pattern, notation, ignore_case)?,
        replacement: pieces(&replacement),
        first,
        all,
        prints,
    })
}

/// `\1` and `&` are groups, `\n` is a newline, everything else escaped is itself.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let group = match letter {
            '&' => Some(0),
            '\\' => match letters.next() {
                Some('n') => {
                    plain.push('\n');
                    None
                }
                Some(other) => match other.to_digit(10) {
                    Some(digit) => Some(digit as usize),
                    None => {
                        plain.push(other);
                        None
                    }
                },
                None => None,
            },
            letter => {
                plain.push(letter);
                None
            }
        };
        if let Some(group) = group {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Group(group));
        }
    }
    pieces.push(Piece::Text(plain));
    pieces
}

// === impl Step ===

impl Step {
    /// Whether it is for this line. Remembers ranges that are open.
    pub(super) fn applies(&mut self, number: u64, is_last: bool, text: &str) -> bool {
        self.is_addressed(number, is_last, text) != self.negated
    }

    /// Forgets open ranges: another file begins.
    pub(super) fn restart(&mut self) {
        self.in_range = false;
    }

    fn is_addressed(&mut self, number: u64, is_last: bool, text: &str) -> bool {
        let Some(from) = &self.from else { return true };
        let Some(to) = &self.to else {
            return from.is(number, is_last, text);
        };
        if self.in_range {
            let ends = match to {
                Address::Number(last) => number >= *last,
                to => to.is(number, is_last, text),
            };
            self.in_range = !ends;
            return true;
        }
        let starts = from.is(number, is_last, text);
        let is_over = matches!(to, Address::Number(last) if number >= *last);
        self.in_range = starts && !is_over;
        starts
    }
}

impl Address {
    fn is(&self, number: u64, is_last: bool, text: &str) -> bool {
        match self {
            Self::Number(wanted) => number == *wanted,
            Self::Last => is_last,
            Self::Match(pattern) => pattern.is_match(text),
        }
    }
}

// === impl Substitution ===

impl Substitution {
    /// The changed text, if anything was found.
    pub(super) fn apply(&self, text: &str) -> Option<String> {
        let mut changed = String::new();
        let mut end = 0;
        let mut found = false;
        for (index, captures) in self.pattern.captures_iter(text).enumerate() {
            let Some(whole) = captures.get(0) else {
                continue;
            };
            if index + 1 < self.first {
                continue;
            }
            found = true;
            changed.push_str(text.get(end..whole.start()).unwrap_or_default());
            self.replace(&captures, &mut changed);
            end = whole.end();
            if !self.all {
                break;
            }
        }
        changed.push_str(text.get(end..).unwrap_or_default());
        found.then_some(changed)
    }

    fn replace(&self, captures: &Captures<'_>, changed: &mut String) {
        for piece in &self.replacement {
            match piece {
                Piece::Text(text) => changed.push_str(text),
                Piece::Group(group) => {
                    changed.push_str(captures.get(*group).map_or("", |found| found.as_str()))
                }
            }
        }
    }
}
