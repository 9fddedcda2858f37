//! printf: words in a form.

use std::io::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use crate::call::{Call, Failure, Outcome};
use crate::command::echo::unescape;

/// `%-08.3d`, taken apart.
#[derive(Default)]
struct Form {
    left: bool,
    zero: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
    kind: char,
}

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let Some((format, words)) = call.args.split_first() else {
        return Err(Failure::usage("name a format"));
    };
    let mut words = words.iter();
    let mut code = 0;
    loop {
        let before = words.len();
        let text = once(format, &mut words, &mut |message| {
            call.warn(message);
            code = 1;
        })?;
        (&call.streams.out).write_all(&text)?;
        // The format is used again for words that are left, unless it takes none.
        if words.len() == 0 || words.len() == before {
            return Ok(code);
        }
    }
}

fn once<'a>(
    format: &str,
    words: &mut impl Iterator<Item = &'a String>,
    warn: &mut dyn FnMut(String),
) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut plain = String::new();
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            plain.push(letter);
        } else if letters.next_if_eq(&'%').is_some() {
            plain.push('%');
        } else {
            bytes.extend(unescape(&std::mem::take(&mut plain)).0);
            let form = form(&mut letters);
            bytes.extend(form.apply(words.next().map_or("", String::as_str), warn)?);
        }
    }
    bytes.extend(unescape(&plain).0);
    Ok(bytes)
}

fn form(letters: &mut Peekable<Chars<'_>>) -> Form {
    let mut form = Form::default();
    while let Some(flag) = letters.next_if(|letter| "-0+ #".contains(*letter)) {
        form.left |= flag == '-';
        form.zero |= flag == '0';
        form.plus |= flag == '+';
    }
    form.width = number(letters).unwrap_or(0);
    if letters.next_if_eq(&'.').is_some() {
        form.precision = Some(number(letters).unwrap_or(0));
    }
    form.kind = letters.next().unwrap_or('%');
    form
}

fn number(letters: &mut Peekable<Chars<'_>>) -> Option<usize> {
    let mut digits = String::new();
    while let Some(digit) = letters.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    digits.parse().ok()
}

// === impl Form ===

impl Form {
    fn apply(&self, word: &str, warn: &mut dyn FnMut(String)) -> Result<Vec<u8>, Failure> {
        let text = match self.kind {
            's' => word
                .chars()
                .take(self.precision.unwrap_or(usize::MAX))
                .collect(),
            'b' => return Ok(unescape(word).0),
            'c' => word.chars().take(1).collect(),
            'd' | 'i' | 'u' => self.signed(integer(word, warn)),
            'x' => self.digits(format!("{:x}", integer(word, warn))),
            'X' => self.digits(format!("{:X}", integer(word, warn))),
            'o' => self.digits(format!("{:o}", integer(word, warn))),
            'f' | 'F' | 'e' | 'g' => self.fraction(word, warn),
            other => {
                return Err(Failure::usage(format!(
                    "%{other}: not known; there are s b c d i u x X o f e g"
                )));
            }
        };
        Ok(self.padded(text).into_bytes())
    }

    fn signed(&self, value: i64) -> String {
        let sign = if value < 0 {
            "-"
        } else if self.plus {
            "+"
        } else {
            ""
        };
        format!("{sign}{}", self.digits(value.unsigned_abs().to_string()))
    }

    /// At least as many digits as the precision says.
    fn digits(&self, digits: String) -> String {
        let missing = self.precision.unwrap_or(0).saturating_sub(digits.len());
        format!("{}{digits}", "0".repeat(missing))
    }

    fn fraction(&self, word: &str, warn: &mut dyn FnMut(String)) -> String {
        let value: f64 = match word.trim().parse() {
            Ok(value) => value,
            Err(_) if word.is_empty() => 0.0,
            Err(_) => {
                warn(format!("{word}: not a number"));
                0.0
            }
        };
        let precision = self.precision.unwrap_or(6);
        match self.kind {
            'e' => format!("{value:.precision$e}"),
            'g' => value.to_string(),
            _ => format!("{value:.precision$}"),
        }
    }

    fn padded(&self, text: String) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            return format!("{text}{}", " ".repeat(missing));
        }
        if self.zero && self.precision.is_none() && self.kind != 's' {
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(digits) => text.split_at(text.len() - digits.len()),
                None => ("", text.as_str()),
            };
            return format!("{sign}{}{digits}", "0".repeat(missing));
        }
        format!("{}{text}", " ".repeat(missing))
    }
}

/// Decimal, `0x` and `0` octal numbers, and `'c` for a character's own.
fn integer(word: &str, warn: &mut dyn FnMut(String)) -> i64 {
    if let Some(letter) = word.strip_prefix(['\'', '"']) {
        return letter
            .chars()
            .next()
            .map_or(0, |letter| i64::from(u32::from(letter)));
    }
    let text = word.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.trim_start_matches('+')),
    };
    let value = if let Some(digits) = digits.strip_prefix("0x") {
        i64::from_str_radix(digits, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    match value {
        Ok(value) => sign * value,
        Err(_) if text.is_empty() => 0,
        Err(_) => {
            warn(format!("{word}: not a number"));
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn words_are_put_into_their_form() {
        let room = Room::new();
        let cases: [(&[&str], &str); 12] = [
            (&["%s-%s\\n", "a", "b"], "a-b\n"),
            (&["%s\\n", "a", "b"], "a\nb\n"),
            (&["plain", "a"], "plain"),
            (&["%5s|%-5s|%.1s", "ab", "ab", "ab"], "   ab|ab   |a"),
            (&["%d %i %05d %+d", "7", "-7", "-42", "1"], "7 -7 -0042 +1"),
            (&["%x %X %o %d", "255", "255", "8", "0x10"], "ff FF 10 16"),
            (&["%c%c", "abc", "d"], "ad"),
            (&["%b", "a\\tb"], "a\tb"),
            (&["%s", "a\\tb"], "a\\tb"),
            (&["%.2f", "3.14159"], "3.14"),
            (&["100%%"], "100%"),
            (&["%d", "'A"], "65"),
        ];
        for (words, wanted) in cases {
            let words: Vec<&str> = ["printf"].iter().chain(words).copied().collect();
            let ran = room.run(&words);
            assert_eq!((ran.out.as_str(), ran.code), (wanted, 0), "{words:?}");
        }
        assert_eq!(room.run(&["printf", "%d", "x"]).code, 1);
        assert_eq!(room.run(&["printf", "%q", "x"]).code, 2);
        assert_eq!(room.run(&["printf"]).code, 2);
    }
}
