//! test and `[`: whether an expression is true.

use std::fs::{self, OpenOptions};
use std::io::IsTerminal as _;
use std::path::Path;

use crate::call::{Call, Failure, Outcome};

/// The expression's words, read from the left.
struct Words<'a> {
    call: &'a Call<'a>,
    words: &'a [String],
}

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let words = match (call.name, call.args.split_last()) {
        ("[", Some((last, words))) if last == "]" => words,
        ("[", _) => return Err(Failure::usage("its `]` is missing")),
        _ => call.args,
    };
    if words.is_empty() {
        return Ok(1);
    }
    let mut expression = Words { call, words };
    let is_true = expression.any()?;
    match expression.words {
        [] => Ok(u8::from(!is_true)),
        [word, ..] => Err(Failure::usage(format!("{word}: unexpected"))),
    }
}

// === impl Words ===

impl Words<'_> {
    fn next(&mut self) -> Result<&str, Failure> {
        let (first, rest) = self
            .words
            .split_first()
            .ok_or_else(|| Failure::usage("a word is missing"))?;
        self.words = rest;
        Ok(first)
    }

    fn next_is(&mut self, wanted: &str) -> bool {
        let is = self.words.first().is_some_and(|word| word == wanted);
        if is {
            self.words = self.words.get(1..).unwrap_or_default();
        }
        is
    }

    /// Terms apart by `-o`.
    fn any(&mut self) -> Result<bool, Failure> {
        let mut is_true = self.all()?;
        while self.next_is("-o") {
            is_true |= self.all()?;
        }
        Ok(is_true)
    }

    /// Terms apart by `-a`.
    fn all(&mut self) -> Result<bool, Failure> {
        let mut is_true = self.term()?;
        while self.next_is("-a") {
            is_true &= self.term()?;
        }
        Ok(is_true)
    }

    /// The number of words decides first, as POSIX has it: `[ -n = -n ]` compares.
    fn term(&mut self) -> Result<bool, Failure> {
        if let [left, operator, right, ..] = self.words
            && let Some(is_true) = compare(left, operator, right)
        {
            self.words = self.words.get(3..).unwrap_or_default();
            return is_true;
        }
        if self.words.len() > 1 {
            if self.next_is("!") {
                return Ok(!self.term()?);
            }
            if self.next_is("(") {
                let is_true = self.any()?;
                return match self.next_is(")") {
                    true => Ok(is_true),
                    false => Err(Failure::usage("a `)` is missing")),
                };
            }
            if let [operator, operand, ..] = self.words
                && let Some(is_true) = self.unary(operator, operand)
            {
                self.words = self.words.get(2..).unwrap_or_default();
                return Ok(is_true);
            }
        }
        Ok(!self.next()?.is_empty())
    }

    fn unary(&self, operator: &str, operand: &str) -> Option<bool> {
        let path = self.call.session.path(operand);
        let data = || fs::metadata(&path).ok();
        Some(match operator {
            "-n" => !operand.is_empty(),
            "-z" => operand.is_empty(),
            // Devices are not in every mount table, and there all the same.
            "-e" | "-r" | "-w" if operand == "/dev/null" => true,
            "-e" | "-r" | "-x" => data().is_some(),
            "-w" => data().is_some_and(|data| data.is_dir() || can_write(&path)),
            "-f" => data().is_some_and(|data| data.is_file()),
            "-d" => data().is_some_and(|data| data.is_dir()),
            "-s" => data().is_some_and(|data| data.len() > 0),
            "-L" | "-h" => fs::symlink_metadata(&path).is_ok_and(|data| data.is_symlink()),
            "-t" => operand == "0" && std::io::stdin().is_terminal(),
            _ => return None,
        })
    }
}

/// WASI does not tell whether a file may be written: trying does.
fn can_write(path: &Path) -> bool {
    OpenOptions::new().append(true).open(path).is_ok()
}

/// Nothing where this is no operator between two words.
fn compare(left: &str, operator: &str, right: &str) -> Option<Result<bool, Failure>> {
    let numbers = |holds: fn(i64, i64) -> bool| {
        let number = |text: &str| {
            text.trim()
                .parse()
                .map_err(|_| Failure::usage(format!("{text}: not a whole number")))
        };
        Some(number(left).and_then(|left| Ok(holds(left, number(right)?))))
    };
    match operator {
        "=" | "==" => Some(Ok(left == right)),
        "!=" => Some(Ok(left != right)),
        "<" => Some(Ok(left < right)),
        ">" => Some(Ok(left > right)),
        "-eq" => numbers(|left, right| left == right),
        "-ne" => numbers(|left, right| left != right),
        "-lt" => numbers(|left, right| left < right),
        "-le" => numbers(|left, right| left <= right),
        "-gt" => numbers(|left, right| left > right),
        "-ge" => numbers(|left, right| left >= right),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn expressions_are_true_or_false_or_wrong() {
        let room = Room::new();
        room.file("file", "x");
        room.file("empty", "");
        room.run(&["mkdir", "dir"]);
        room.run(&["ln", "-s", "none", "link"]);
        let cases: [(&[&str], u8); 32] = [
            (&[], 1),
            (&[""], 1),
            (&["x"], 0),
            (&["-n", ""], 1),
            (&["-z", ""], 0),
            (&["-n"], 0),
            (&["-e", "file"], 0),
            (&["-e", "none"], 1),
            (&["-f", "dir"], 1),
            (&["-d", "dir"], 0),
            (&["-s", "empty"], 1),
            (&["-s", "file"], 0),
            (&["-L", "link"], 0),
            (&["-e", "link"], 1),
            (&["-w", "/dev/null"], 0),
            (&["-w", "file"], 0),
            (&["-w", "none"], 1),
            (&["a", "=", "a"], 0),
            (&["a", "!=", "a"], 1),
            (&["-n", "=", "-n"], 0),
            (&["2", "-lt", "10"], 0),
            (&["2", "-ge", "10"], 1),
            (&["x", "-eq", "1"], 2),
            (&["!", "x"], 1),
            (&["!", "-e", "none"], 0),
            (&["x", "-a", ""], 1),
            (&["x", "-o", ""], 0),
            (&["(", "x", "-o", "", ")", "-a", ""], 1),
            (&["(", "x"], 2),
            (&["a", "b"], 2),
            (&["!"], 0),
            (&["-a"], 0),
        ];
        for (words, code) in cases {
            let words: Vec<&str> = ["test"].iter().chain(words).copied().collect();
            assert_eq!(room.run(&words).code, code, "{words:?}");
        }
        assert_eq!(room.run(&["[", "x", "]"]).code, 0);
        assert_eq!(room.run(&["[", "x"]).code, 2);
    }
}
