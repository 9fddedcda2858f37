//! tr: replaces, deletes or squeezes characters.

use std::io::Write as _;

use crate::call::{Call, Failure, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("d,delete s,squeeze-repeats c,complement,C")?;
    let (first, second) = match options.operands.as_slice() {
        [first] => (set(first), None),
        [first, second] => (set(first), Some(set(second))),
        _ => return Err(Failure::usage("name one set or two")),
    };
    if second.is_none() && !options.has("d") && !options.has("s") {
        return Err(Failure::usage("name a second set, or -d, or -s"));
    }
    let text = String::from_utf8_lossy(&call.streams.input.all()?).into_owned();
    let place = |letter: char| {
        let found = first.iter().position(|member| *member == letter);
        match (options.has("c"), found) {
            // Everything outside of the set counts as its last member.
            (true, None) => Some(usize::MAX),
            (true, Some(_)) => None,
            (false, found) => found,
        }
    };
    let squeezed = second.as_ref().unwrap_or(&first);
    let mut result = String::new();
    for letter in text.chars() {
        let replaced = match (place(letter), &second) {
            (Some(_), _) if options.has("d") => continue,
            (Some(place), Some(second)) => second
                .get(place)
                .or(second.last())
                .copied()
                .unwrap_or(letter),
            _ => letter,
        };
        let repeats = result.ends_with(replaced) && squeezed.contains(&replaced);
        if !(options.has("s") && repeats) {
            result.push(replaced);
        }
    }
    (&call.streams.out).write_all(result.as_bytes())?;
    Ok(0)
}

/// The name of a class and who is in it.
type Class = (&'static str, fn(char) -> bool);

/// The members of `a-z`, `[:digit:]`, `\n` and single characters, in order.
fn set(text: &str) -> Vec<char> {
    let classes: [Class; 7] = [
        ("[:alpha:]", |c| c.is_ascii_alphabetic()),
        ("[:digit:]", |c| c.is_ascii_digit()),
        ("[:alnum:]", |c| c.is_ascii_alphanumeric()),
        ("[:upper:]", |c| c.is_ascii_uppercase()),
        ("[:lower:]", |c| c.is_ascii_lowercase()),
        ("[:space:]", |c| c.is_ascii_whitespace() || c == '\x0b'),
        ("[:punct:]", |c| c.is_ascii_punctuation()),
    ];
    let mut members = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if let Some((class, is_member)) = classes.iter().find(|(class, _)| rest.starts_with(class))
        {
            members.extend(('\0'..='\x7f').filter(|c| is_member(*c)));
            rest = rest.strip_prefix(class).unwrap_or_default();
            continue;
        }
        let (letter, after) = one(letter, rest);
        rest = after;
        if let Some(after) = rest.strip_prefix('-')
            && let Some(last) = after.chars().next()
        {
            members.extend(letter..=last);
            rest = after.strip_prefix(last).unwrap_or_default();
        } else {
            members.push(letter);
        }
    }
    members
}

/// One character, perhaps escaped, and what follows it.
fn one(letter: char, text: &str) -> (char, &str) {
    let rest = text.strip_prefix(letter).unwrap_or_default();
    match (letter, rest.chars().next()) {
        ('\\', Some(escaped)) => {
            let meant = match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                other => other,
            };
            (meant, rest.strip_prefix(escaped).unwrap_or_default())
        }
        _ => (letter, rest),
    }
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn characters_are_replaced_deleted_and_squeezed() {
        let room = Room::new();
        room.check(&[
            ("tr a-c A-C", "abcd", "ABCd"),
            ("tr [:lower:] [:upper:]", "abc1", "ABC1"),
            ("tr -d \\n", "a\nb\n", "ab"),
            ("tr -s x", "xxaxx", "xax"),
            ("tr -cd [:digit:]", "a1b2\n", "12"),
            ("tr -c a-z _", "a1b", "a_b"),
            ("tr abc x", "abc", "xxx"),
            ("tr - _", "a-b", "a_b"),
        ]);
        assert_eq!(room.run(&["tr", "a"]).code, 2);
    }
}
