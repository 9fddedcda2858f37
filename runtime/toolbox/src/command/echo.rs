//! echo: its words.

use std::io::Write as _;

use crate::call::{Call, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let is_option = |word: &String| {
        word.strip_prefix('-').is_some_and(|letters| {
            !letters.is_empty() && letters.chars().all(|c| "neE".contains(c))
        })
    };
    let (options, words): (Vec<&String>, Vec<&String>) = {
        let count = call.args.iter().take_while(|word| is_option(word)).count();
        (
            call.args.iter().take(count).collect(),
            call.args.iter().skip(count).collect(),
        )
    };
    let has = |letter: char| options.iter().any(|option| option.contains(letter));
    let mut text = words
        .into_iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
        .into_bytes();
    let mut stopped = false;
    if has('e') {
        (text, stopped) = unescape(&String::from_utf8_lossy(&text));
    }
    if !has('n') && !stopped {
        text.push(b'\n');
    }
    (&call.streams.out).write_all(&text)?;
    Ok(0)
}

/// Replaces `\n`, `\t`, `\0123`, `\x41` and the like. The flag tells of a `\c`, which ends all output.
pub(crate) fn unescape(text: &str) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let escaped = if letter == '\\' { letters.next() } else { None };
        let byte = match escaped {
            None => {
                bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            Some('c') => return (bytes, true),
            Some('a') => 7,
            Some('b') => 8,
            Some('e') => 27,
            Some('f') => 12,
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('v') => 11,
            Some('\\') => b'\\',
            Some('x') => number(&mut letters, 16, 2),
            Some('0') => number(&mut letters, 8, 3),
            Some(other) => {
                bytes.push(b'\\');
                bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        bytes.push(byte);
    }
    (bytes, false)
}

fn number(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, base: u32, most: usize) -> u8 {
    let mut value = 0_u32;
    for _ in 0..most {
        let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(base)) else {
            break;
        };
        letters.next();
        value = value * base + digit;
    }
    // Three octal digits reach beyond a byte; as everywhere, the rest is cut off.
    u8::try_from(value & 0xff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn words_are_written() {
        let room = Room::new();
        let cases: [(&[&str], &str); 6] = [
            (&["echo"], "\n"),
            (&["echo", "a", " b"], "a  b\n"),
            (&["echo", "-n", "a"], "a"),
            (&["echo", "-x", "\\n"], "-x \\n\n"),
            (&["echo", "-e", "a\\tb\\x41\\0101\\q"], "a\tbAA\\q\n"),
            (&["echo", "-e", "a\\cb"], "a"),
        ];
        for (words, wanted) in cases {
            assert_eq!(room.run(words).out, wanted, "{words:?}");
        }
    }
}
