//! Regular expressions as grep and sed write them, in the notation of the `regex` crates.

use regex_lite::{Regex, RegexBuilder};

use crate::call::Failure;

/// The notation of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// POSIX basic: `\(`, `\{` and `\|` are operators, the bare ones are letters.
    Basic,
    /// POSIX extended.
    Extended,
    /// No operators at all.
    Fixed,
}

/// Compiles a pattern.
///
/// # Errors
/// When it is not well formed.
pub(crate) fn compile(
    pattern: &str,
    notation: Notation,
    ignore_case: bool,
) -> Result<Regex, Failure> {
    let translated = match notation {
        Notation::Basic => from_basic(pattern),
        Notation::Extended => pattern.to_owned(),
        Notation::Fixed => regex_lite::escape(pattern),
    };
    RegexBuilder::new(&translated)
        .case_insensitive(ignore_case)
        .build()
        .map_err(|error| Failure::usage(format!("{pattern}: {error}")))
}

/// Swaps which of `(){}|+?` are operators: bare in the extended notation, escaped in the basic one.
fn from_basic(pattern: &str) -> String {
    let mut extended = String::new();
    let mut letters = pattern.chars().peekable();
    let mut in_class = false;
    // Where an expression begins, `*` is a letter.
    let mut at_start = true;
    while let Some(letter) = letters.next() {
        let starts = at_start;
        at_start = false;
        match letter {
            ']' if in_class => {
                in_class = false;
                extended.push(letter);
            }
            _ if in_class => extended.push(letter),
            '[' => {
                in_class = true;
                extended.push(letter);
                // A bracket that comes first is a member of the class.
                extended.extend(letters.next_if_eq(&'^'));
                if letters.next_if_eq(&']').is_some() {
                    extended.push_str("\\]");
                }
            }
            '\\' => match letters.next() {
                Some(operator @ ('(' | ')' | '{' | '}' | '|' | '+' | '?')) => {
                    at_start = operator == '(' || operator == '|';
                    extended.push(operator);
                }
                Some(other) => extended.extend(['\\', other]),
                None => extended.push_str("\\\\"),
            },
            '(' | ')' | '{' | '}' | '|' | '+' | '?' => extended.extend(['\\', letter]),
            '*' if starts => extended.push_str("\\*"),
            '^' => {
                at_start = starts;
                extended.push(letter);
            }
            _ => extended.push(letter),
        }
    }
    extended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_expressions_become_extended_ones() {
        let cases = [
            ("a+b", "a\\+b"),
            ("a\\+b", "a+b"),
            ("\\(x\\)\\{2\\}", "(x){2}"),
            ("(x)", "\\(x\\)"),
            ("[(]", "[(]"),
            ("[^]x]", "[^\\]x]"),
            ("^*a*", "^\\*a*"),
            ("a\\.b", "a\\.b"),
            ("x\\", "x\\\\"),
        ];
        for (basic, wanted) in cases {
            assert_eq!(from_basic(basic), wanted, "{basic}");
        }
    }

    #[test]
    fn the_three_notations_differ() {
        let cases = [
            (Notation::Basic, "a+", "a+", true),
            (Notation::Basic, "a+", "aa", false),
            (Notation::Extended, "^a+$", "aa", true),
            (Notation::Fixed, "a.c", "abc", false),
            (Notation::Fixed, "a.c", "xa.cx", true),
        ];
        for (notation, pattern, text, wanted) in cases {
            let found = compile(pattern, notation, false).unwrap().is_match(text);
            assert_eq!(found, wanted, "{notation:?} {pattern} {text}");
        }
        assert!(compile("(", Notation::Extended, false).is_err());
    }
}
