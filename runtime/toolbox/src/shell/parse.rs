//! Reads a script: recursive descent over its characters, as the POSIX grammar goes.
//!
//! Written here because nothing on the shelf fits a guest: one parser is GPL, one brings ninety
//! crates, one no longer builds with coming compilers. Not here: aliases, `&`, and `function`.

mod word;

use std::rc::Rc;

use super::syntax::{
    AndOr, Command, Compound, Join, Part, Pipeline, Redirect, RedirectKind, Script, Simple, Word,
};

/// How deep commands and substitutions may nest: far deeper than any script, far less than what
/// the instance's stack holds.
const DEPTH: u32 = 100;

/// Words that are no commands where a command could stand.
const RESERVED: [&str; 16] = [
    "if", "then", "elif", "else", "fi", "while", "until", "for", "do", "done", "case", "esac",
    "in", "{", "}", "!",
];

/// Why a text is no script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SyntaxError {
    /// It stops in the middle: more lines could make it one.
    Incomplete(String),
    /// Nothing that follows can make it one.
    Wrong(String),
}

type Parsed<T> = Result<T, SyntaxError>;

/// A place in a script.
pub(super) struct Parser<'a> {
    text: &'a [char],
    at: usize,
    /// Where the line after the text of `<<` begins; the parser jumps there at the next newline.
    after_here: Option<usize>,
    depth: u32,
}

/// Reads a whole script.
///
/// # Errors
/// When it is none, or stops in the middle.
pub(super) fn script(text: &str) -> Parsed<Script> {
    let letters: Vec<char> = text.chars().collect();
    Parser {
        text: &letters,
        at: 0,
        after_here: None,
        depth: 0,
    }
    .script()
}

// === impl SyntaxError ===

impl std::fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Incomplete(message) | Self::Wrong(message)) = self;
        write!(f, "syntax: {message}")
    }
}

// === impl Parser ===

impl Parser<'_> {
    /// All of the text.
    fn script(&mut self) -> Parsed<Script> {
        let script = self.nested(Self::list)?;
        match self.peek() {
            None => Ok(script),
            Some(_) => Err(self.unexpected()),
        }
    }

    fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    fn peek_at(&self, offset: usize) -> Option<char> {
        self.text.get(self.at + offset).copied()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(letter)
    }

    fn next_is(&mut self, wanted: &str) -> bool {
        let is = self.starts_with(wanted);
        if is {
            self.at += wanted.chars().count();
        }
        is
    }

    fn starts_with(&self, wanted: &str) -> bool {
        wanted
            .chars()
            .enumerate()
            .all(|(offset, letter)| self.peek_at(offset) == Some(letter))
    }

    fn expect(&mut self, wanted: &str) -> Parsed<()> {
        match self.next_is(wanted) {
            true => Ok(()),
            false => Err(self.missing(&format!("`{wanted}`"))),
        }
    }

    /// Something is needed here that is not there.
    fn missing(&self, what: &str) -> SyntaxError {
        match self.peek() {
            None => SyntaxError::Incomplete(format!("{what} is missing at the end")),
            Some(_) => SyntaxError::Wrong(format!("{what} is missing in line {}", self.line())),
        }
    }

    /// The word or letter that stands here should not.
    fn unexpected(&self) -> SyntaxError {
        let letter = self.peek().map(String::from);
        let what = self
            .reserved()
            .map(str::to_owned)
            .or(letter)
            .unwrap_or_default();
        SyntaxError::Wrong(format!("`{what}` is unexpected in line {}", self.line()))
    }

    fn line(&self) -> usize {
        1 + self
            .text
            .iter()
            .take(self.at)
            .filter(|letter| **letter == '\n')
            .count()
    }

    /// Runs one level deeper.
    fn nested<T>(&mut self, action: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(SyntaxError::Wrong(format!(
                "more than {DEPTH} commands in each other"
            )));
        }
        let outcome = action(self);
        self.depth -= 1;
        outcome
    }

    /// Spaces, joined lines and a comment.
    fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r') => self.at += 1,
                Some('\\') if self.peek_at(1) == Some('\n') => self.at += 2,
                Some('#') => {
                    while self.peek().is_some_and(|letter| letter != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// Blanks and newlines; the texts of `<<` lie behind a newline.
    fn skip_lines(&mut self) {
        self.skip_blanks();
        while self.newline() {
            self.skip_blanks();
        }
    }

    fn newline(&mut self) -> bool {
        let is = self.next_is("\n");
        if is && let Some(after) = self.after_here.take() {
            self.at = after;
        }
        is
    }

    /// The reserved word that stands here.
    fn reserved(&self) -> Option<&'static str> {
        RESERVED.into_iter().find(|word| {
            self.starts_with(word) && self.peek_at(word.len()).is_none_or(is_delimiter)
        })
    }

    fn keyword(&mut self, wanted: &str) -> Parsed<()> {
        self.skip_lines();
        match self.reserved() == Some(wanted) {
            true => self.expect(wanted),
            false => Err(self.missing(&format!("`{wanted}`"))),
        }
    }

    // --- lists and pipes ---

    /// Commands up to something that ends a list: the end, `)`, `;;` or a reserved word.
    fn list(&mut self) -> Parsed<Script> {
        let mut script = Script::new();
        loop {
            self.skip_lines();
            if self.ends_list() {
                return Ok(script);
            }
            script.push(self.nested(Self::and_or)?);
            self.skip_blanks();
            match self.peek() {
                Some(';') if !self.starts_with(";;") => self.at += 1,
                Some('&') => {
                    let why =
                        "`&`: nothing runs in the background, because WASI starts no processes";
                    return Err(SyntaxError::Wrong(why.to_owned()));
                }
                Some('\n') | None => {}
                Some(_) if self.ends_list() => return Ok(script),
                Some(_) => return Err(self.unexpected()),
            }
        }
    }

    fn ends_list(&self) -> bool {
        let closes = ["then", "elif", "else", "fi", "do", "done", "esac", "}"];
        self.peek().is_none_or(|letter| letter == ')')
            || self.starts_with(";;")
            || self.reserved().is_some_and(|word| closes.contains(&word))
    }

    /// A list with at least one command.
    fn commands(&mut self) -> Parsed<Script> {
        let script = self.list()?;
        if script.is_empty() {
            Err(self.missing("a command"))
        } else {
            Ok(script)
        }
    }

    fn and_or(&mut self) -> Parsed<AndOr> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.skip_blanks();
            let join = match () {
                () if self.next_is("&&") => Join::And,
                () if self.next_is("||") => Join::Or,
                () => return Ok(AndOr { first, rest }),
            };
            self.skip_lines();
            rest.push((join, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        let mut negated = false;
        while self.reserved() == Some("!") {
            self.at += 1;
            negated = !negated;
            self.skip_blanks();
        }
        let mut commands = vec![self.command()?];
        loop {
            self.skip_blanks();
            if self.starts_with("||") || !self.next_is("|") {
                return Ok(Pipeline { negated, commands });
            }
            self.skip_lines();
            commands.push(self.command()?);
        }
    }

    // --- commands ---

    fn command(&mut self) -> Parsed<Command> {
        let compound = match self.reserved() {
            Some("{") => self.brace()?,
            Some("if") => self.condition()?,
            Some(word @ ("while" | "until")) => self.repetition(word)?,
            Some("for") => self.iteration()?,
            Some("case") => self.choice()?,
            Some("in") | None if self.peek() != Some('(') => return self.simple(),
            None => {
                self.at += 1;
                let body = self.commands()?;
                self.expect(")")?;
                Compound::Subshell(body)
            }
            Some(_) => return Err(self.unexpected()),
        };
        let mut redirects = Vec::new();
        loop {
            self.skip_blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None => return Ok(Command::Compound(compound, redirects)),
            }
        }
    }

    fn brace(&mut self) -> Parsed<Compound> {
        self.keyword("{")?;
        let body = self.commands()?;
        self.keyword("}")?;
        Ok(Compound::Brace(body))
    }

    fn condition(&mut self) -> Parsed<Compound> {
        self.keyword("if")?;
        let mut branches = Vec::new();
        loop {
            let condition = self.commands()?;
            self.keyword("then")?;
            branches.push((condition, self.commands()?));
            self.skip_lines();
            if self.reserved() == Some("elif") {
                self.keyword("elif")?;
                continue;
            }
            let mut otherwise = Script::new();
            if self.reserved() == Some("else") {
                self.keyword("else")?;
                otherwise = self.commands()?;
            }
            self.keyword("fi")?;
            return Ok(Compound::If {
                branches,
                otherwise,
            });
        }
    }

    fn repetition(&mut self, word: &str) -> Parsed<Compound> {
        self.keyword(word)?;
        let condition = self.commands()?;
        Ok(Compound::Loop {
            wanted: word == "while",
            condition,
            body: self.body()?,
        })
    }

    fn body(&mut self) -> Parsed<Script> {
        self.keyword("do")?;
        let body = self.commands()?;
        self.keyword("done")?;
        Ok(body)
    }

    fn iteration(&mut self) -> Parsed<Compound> {
        self.keyword("for")?;
        self.skip_blanks();
        let name = self
            .name()
            .ok_or_else(|| self.missing("the name of a variable"))?;
        self.skip_lines();
        let mut words = None;
        if self.reserved() == Some("in") {
            self.keyword("in")?;
            let mut all = Vec::new();
            loop {
                self.skip_blanks();
                match self.word()? {
                    Some(word) => all.push(word),
                    None => break,
                }
            }
            words = Some(all);
        }
        self.skip_blanks();
        self.next_is(";");
        Ok(Compound::For {
            name,
            words,
            body: self.body()?,
        })
    }

    fn choice(&mut self) -> Parsed<Compound> {
        self.keyword("case")?;
        self.skip_blanks();
        let word = self.needed_word()?;
        self.keyword("in")?;
        let mut arms = Vec::new();
        loop {
            self.skip_lines();
            if self.reserved() == Some("esac") {
                break;
            }
            self.next_is("(");
            let mut patterns = Vec::new();
            loop {
                self.skip_blanks();
                patterns.push(self.needed_word()?);
                self.skip_blanks();
                if !self.next_is("|") {
                    break;
                }
            }
            self.expect(")")?;
            arms.push((patterns, self.list()?));
            // The last arm may do without.
            if !self.next_is(";;") {
                break;
            }
        }
        self.keyword("esac")?;
        Ok(Compound::Case { word, arms })
    }

    /// Variables, words and redirections, or the definition of a function.
    fn simple(&mut self) -> Parsed<Command> {
        let mut simple = Simple::default();
        loop {
            self.skip_blanks();
            if let Some(redirect) = self.redirect()? {
                simple.redirects.push(redirect);
                continue;
            }
            if simple.words.is_empty()
                && let Some(name) = self.assigned_name()
            {
                let value = self.word()?.unwrap_or_default();
                simple.assignments.push((name, value));
                continue;
            }
            let start = self.at;
            let Some(word) = self.word()? else { break };
            if simple == Simple::default()
                && let Some(name) = self.function_name(start)
            {
                self.skip_lines();
                let body = self.nested(Self::command)?;
                return Ok(Command::Function(name, Rc::new(body)));
            }
            simple.words.push(word);
        }
        match simple == Simple::default() {
            true => Err(self.missing("a command")),
            false => Ok(Command::Simple(simple)),
        }
    }

    /// The name before `=`, which is consumed with it.
    fn assigned_name(&mut self) -> Option<String> {
        let start = self.at;
        let name = self.name();
        if name.is_some() && self.next_is("=") {
            return name;
        }
        self.at = start;
        None
    }

    /// The word that began at `start`, if it is a name and `()` follows, which is consumed.
    fn function_name(&mut self, start: usize) -> Option<String> {
        let end = self.at;
        let name: String = self.text.get(start..end)?.iter().collect();
        let is_name = name
            .chars()
            .all(|letter| letter.is_alphanumeric() || "_-.".contains(letter));
        self.skip_blanks();
        if is_name && self.next_is("(") {
            self.skip_blanks();
            if self.next_is(")") {
                return Some(name);
            }
        }
        self.at = end;
        None
    }

    // --- redirections ---

    fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        let start = self.at;
        let mut digits = String::new();
        while let Some(digit) = self.peek().filter(char::is_ascii_digit) {
            digits.push(digit);
            self.at += 1;
        }
        let kind = match () {
            () if self.next_is("<<") => return self.here(digits.parse().ok()).map(Some),
            () if self.next_is("<&") => RedirectKind::DuplicateInput,
            () if self.next_is("<>") || self.next_is("<") => RedirectKind::Read,
            () if self.next_is(">>") => RedirectKind::Append,
            () if self.next_is(">&") => RedirectKind::DuplicateOutput,
            () if self.next_is(">|") || self.next_is(">") => RedirectKind::Write,
            () => {
                self.at = start;
                return Ok(None);
            }
        };
        self.skip_blanks();
        Ok(Some(Redirect {
            descriptor: digits.parse().ok(),
            kind,
            target: self.needed_word()?,
        }))
    }

    /// `<<END`: the lines after this one, up to one that is END.
    fn here(&mut self, descriptor: Option<u16>) -> Parsed<Redirect> {
        let strips_tabs = self.next_is("-");
        self.skip_blanks();
        let start = self.at;
        self.needed_word()?;
        let raw: String = self
            .text
            .get(start..self.at)
            .unwrap_or_default()
            .iter()
            .collect();
        let end: String = raw
            .chars()
            .filter(|letter| !"'\"\\".contains(*letter))
            .collect();
        let rest_of_line = self
            .text
            .iter()
            .skip(self.at)
            .position(|letter| *letter == '\n');
        let first = rest_of_line.map(|length| self.at + length + 1);
        let mut at = self.after_here.or(first).unwrap_or(self.text.len());
        let mut body = String::new();
        loop {
            let line: String = self
                .text
                .iter()
                .skip(at)
                .take_while(|letter| **letter != '\n')
                .collect();
            let shown = if strips_tabs {
                line.trim_start_matches('\t')
            } else {
                line.as_str()
            };
            let next = at + line.chars().count() + 1;
            if shown == end {
                self.after_here = Some(next.min(self.text.len()));
                break;
            }
            if next > self.text.len() {
                return Err(SyntaxError::Incomplete(format!(
                    "the line `{end}` is missing at the end"
                )));
            }
            body.push_str(shown);
            body.push('\n');
            at = next;
        }
        let target: Word = if raw == end {
            self.in_quotes(&body)?
        } else {
            vec![Part::Quoted(body)]
        };
        Ok(Redirect {
            descriptor,
            kind: RedirectKind::Here,
            target,
        })
    }
}

/// What ends a word outside of quotes.
fn is_delimiter(letter: char) -> bool {
    letter.is_whitespace() || ";&|<>()".contains(letter)
}

#[cfg(test)]
mod tests;
