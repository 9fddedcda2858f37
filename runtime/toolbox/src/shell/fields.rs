//! From expanded pieces to the fields of a command line: split, joined, and matched with files.

use std::fs;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

/// A part of a word after expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Neither split nor matched with files.
    Quoted(String),
    /// Written so in the script: not split.
    Literal(String),
    /// From a variable or command, unquoted: split, and `*` in it matches.
    Split(String),
    /// `*`, `?`, `[` or `]` of the script.
    Glob(char),
    /// Where `"$@"` ends one field and begins the next.
    Break,
}

/// One field before it is matched with files.
#[derive(Debug, Default, PartialEq, Eq)]
struct Field {
    text: String,
    pattern: String,
    matches: bool,
}

/// The fields of a word; none at all where it expanded to nothing.
pub(super) fn split(pieces: Vec<Piece>, separators: &str, cwd: Option<&Path>) -> Vec<String> {
    let mut fields = Vec::new();
    let mut current: Option<Field> = None;
    for piece in pieces {
        match piece {
            Piece::Quoted(text) | Piece::Literal(text) => {
                current.get_or_insert_default().quoted(&text)
            }
            Piece::Glob(letter) => current.get_or_insert_default().glob(letter),
            Piece::Break => fields.extend(current.replace(Field::default())),
            Piece::Split(text) => split_text(&text, separators, &mut current, &mut fields),
        }
    }
    fields.extend(current);
    fields
        .into_iter()
        .flat_map(|field| field.paths(cwd))
        .collect()
}

/// All pieces as one text.
pub(super) fn join(pieces: Vec<Piece>) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Quoted(part) | Piece::Literal(part) | Piece::Split(part) => text.push_str(&part),
            Piece::Glob(letter) => text.push(letter),
            Piece::Break => text.push(' '),
        }
    }
    text
}

/// All pieces as one pattern in which only unquoted `*`, `?` and `[` are special.
pub(super) fn pattern(pieces: Vec<Piece>) -> String {
    let mut field = Field::default();
    for piece in pieces {
        match piece {
            Piece::Quoted(text) | Piece::Literal(text) => field.quoted(&text),
            Piece::Split(text) => text.chars().for_each(|letter| field.letter(letter)),
            Piece::Glob(letter) => field.glob(letter),
            Piece::Break => field.quoted(" "),
        }
    }
    field.pattern
}

/// White space between fields counts as one separator, other separators each as one.
fn split_text(text: &str, separators: &str, current: &mut Option<Field>, fields: &mut Vec<Field>) {
    for letter in text.chars() {
        if !separators.contains(letter) {
            current.get_or_insert_default().letter(letter);
        } else if letter.is_whitespace() {
            fields.extend(current.take());
        } else {
            fields.push(current.take().unwrap_or_default());
        }
    }
}

// === impl Field ===

impl Field {
    fn quoted(&mut self, text: &str) {
        self.text.push_str(text);
        self.pattern.push_str(&Pattern::escape(text));
    }

    fn glob(&mut self, letter: char) {
        self.text.push(letter);
        self.pattern.push(letter);
        self.matches = true;
    }

    /// One character of an unquoted expansion.
    fn letter(&mut self, letter: char) {
        match letter {
            '*' | '?' | '[' | ']' => self.glob(letter),
            letter => self.quoted(letter.encode_utf8(&mut [0; 4])),
        }
    }

    /// The paths that match, or the text itself where none does.
    fn paths(self, cwd: Option<&Path>) -> Vec<String> {
        let found = match cwd {
            Some(cwd) if self.matches => paths(&self.pattern, cwd),
            _ => Vec::new(),
        };
        if found.is_empty() {
            vec![self.text]
        } else {
            found
        }
    }
}

/// The existing paths that match a pattern, sorted.
fn paths(pattern: &str, cwd: &Path) -> Vec<String> {
    let (start, shown) = match pattern.strip_prefix('/') {
        Some(_) => (PathBuf::from("/"), "/".to_owned()),
        None => (cwd.to_path_buf(), String::new()),
    };
    let mut found = vec![(start, shown)];
    let mut parts = pattern
        .split('/')
        .filter(|part| !part.is_empty())
        .peekable();
    while let Some(part) = parts.next() {
        let Ok(part) = Pattern::new(part) else {
            return Vec::new();
        };
        let is_last = parts.peek().is_none();
        found = found
            .iter()
            .flat_map(|(path, shown)| entries(path, shown, &part, is_last))
            .collect();
    }
    let mut names: Vec<String> = found.into_iter().map(|(_, shown)| shown).collect();
    names.sort();
    names
}

/// The entries of a directory that match one part of a pattern.
fn entries(path: &Path, shown: &str, part: &Pattern, is_last: bool) -> Vec<(PathBuf, String)> {
    let separator = if shown.is_empty() || shown.ends_with('/') {
        ""
    } else {
        "/"
    };
    let at = |name: &str| (path.join(name), format!("{shown}{separator}{name}"));
    if part.as_str() == "." || part.as_str() == ".." {
        return vec![at(part.as_str())];
    }
    let options = MatchOptions {
        require_literal_leading_dot: true,
        ..MatchOptions::new()
    };
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| part.matches_with(name, options))
        .map(|name| at(&name))
        .filter(|(path, _)| is_last || path.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: &str = " \t\n";

    fn literal(text: &str) -> Piece {
        Piece::Literal(text.to_owned())
    }

    #[test]
    fn only_unquoted_expansions_are_split() {
        let spaced = || " a  b ".to_owned();
        let cases: [(Vec<Piece>, &str, &[&str]); 9] = [
            (vec![Piece::Split(spaced())], USUAL, &["a", "b"]),
            (vec![Piece::Quoted(spaced())], USUAL, &[" a  b "]),
            (
                vec![literal("x"), Piece::Split(spaced()), literal("y")],
                USUAL,
                &["x", "a", "b", "y"],
            ),
            (
                vec![literal("x"), Piece::Split("a b".to_owned()), literal("y")],
                USUAL,
                &["xa", "by"],
            ),
            (vec![Piece::Split(String::new())], USUAL, &[]),
            (vec![Piece::Quoted(String::new())], USUAL, &[""]),
            (vec![Piece::Split("a::b".to_owned())], ":", &["a", "", "b"]),
            (vec![Piece::Split("a b".to_owned())], "", &["a b"]),
            (
                vec![
                    Piece::Quoted("a".to_owned()),
                    Piece::Break,
                    Piece::Quoted("b".to_owned()),
                ],
                USUAL,
                &["a", "b"],
            ),
        ];
        for (pieces, separators, wanted) in cases {
            assert_eq!(
                split(pieces.clone(), separators, None),
                wanted,
                "{pieces:?}"
            );
        }
    }

    #[test]
    fn quoted_letters_of_a_pattern_are_no_operators() {
        let pieces = vec![
            Piece::Quoted("*".to_owned()),
            Piece::Glob('*'),
            Piece::Split("?".to_owned()),
        ];
        let pattern = Pattern::new(&pattern(pieces)).unwrap();
        assert!(pattern.matches("*abc"));
        assert!(!pattern.matches("abc"));
    }
}
