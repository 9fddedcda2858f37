//! sort: lines in order.

use std::cmp::Ordering;
use std::io::Write as _;

use crate::call::{Call, Failure, Options, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("n r u f t: k: o:")?;
    let mut lines = Vec::new();
    let code = call.each_input(&options.operands, |_, input| {
        for line in input.lines() {
            lines.push(String::from_utf8_lossy(&line?).into_owned());
        }
        Ok(())
    })?;
    let field = options.value("k").map(field_number).transpose()?;
    // `-k2nr` is `-k2 -n -r`.
    let asks = |letter: &str| {
        options.has(letter) || options.value("k").is_some_and(|key| key.contains(letter))
    };
    let (numeric, reverse) = (asks("n"), asks("r"));
    let key = |line: &str| key(line, field, &options);
    // By the keys, then by the whole line, so that the order is the same every time.
    let order = |a: &String, b: &String| {
        let by_key = compare(&key(a), &key(b), numeric);
        let order = if options.has("u") {
            by_key
        } else {
            by_key.then_with(|| a.cmp(b))
        };
        if reverse { order.reverse() } else { order }
    };
    lines.sort_by(order);
    if options.has("u") {
        lines.dedup_by(|a, b| order(a, b) == Ordering::Equal);
    }
    let file = match options.value("o") {
        Some(name) => Some(
            call.session
                .write(name, false)
                .map_err(|error| Failure::at(name, &error))?,
        ),
        None => None,
    };
    let mut out = file.as_ref().unwrap_or(&call.streams.out);
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(code)
}

/// `2`, or the first number of `2,2`.
fn field_number(text: &str) -> Result<usize, Failure> {
    let first = text.split([',', '.']).next().unwrap_or_default();
    let number = first
        .trim_end_matches(char::is_alphabetic)
        .parse()
        .ok()
        .filter(|number| *number > 0);
    number.ok_or_else(|| Failure::usage(format!("-k {text}: not a field from 1")))
}

/// What a line is sorted by: from a field to its end, or all of it.
fn key(line: &str, field: Option<usize>, options: &Options) -> String {
    let text = match (field, options.value("t")) {
        (None, _) => line.to_owned(),
        (Some(field), Some(delimiter)) => line
            .split(delimiter)
            .skip(field - 1)
            .collect::<Vec<_>>()
            .join(delimiter),
        (Some(field), None) => line
            .split_whitespace()
            .skip(field - 1)
            .collect::<Vec<_>>()
            .join(" "),
    };
    if options.has("f") {
        text.to_lowercase()
    } else {
        text
    }
}

fn compare(a: &str, b: &str, numeric: bool) -> Ordering {
    if numeric {
        number(a).total_cmp(&number(b))
    } else {
        a.cmp(b)
    }
}

/// The number that a text begins with; 0 where it begins with none.
fn number(text: &str) -> f64 {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c)))
        .unwrap_or(text.len());
    text.get(..end)
        .and_then(|number| number.parse().ok())
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn lines_come_in_order() {
        let room = Room::new();
        room.check(&[
            ("sort", "b\na\nc", "a\nb\nc\n"),
            ("sort -r", "b\na\n", "b\na\n"),
            ("sort -n", "10\n9\n-1\nx\n", "-1\nx\n9\n10\n"),
            ("sort -u", "b\na\nb\n", "a\nb\n"),
            ("sort -fu", "b\nB\na\n", "a\nb\n"),
            ("sort -t: -k2", "x:2\ny:1\n", "y:1\nx:2\n"),
            ("sort -k2n", "a 10\nb 9\n", "b 9\na 10\n"),
            ("sort -k2,2nr", "b 9\na 10\n", "a 10\nb 9\n"),
            ("sort -n -k 2,2", "a 10\nb 9\n", "b 9\na 10\n"),
        ]);
        assert_eq!(room.run_with(&["sort", "-o", "out"], "b\na\n").code, 0);
        assert_eq!(room.read("out"), "a\nb\n");
        assert_eq!(room.run(&["sort", "-k", "0"]).code, 2);
    }
}
