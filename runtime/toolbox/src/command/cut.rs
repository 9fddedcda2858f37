//! cut: parts of every line.

use std::io::Write as _;

use crate::call::{Call, Failure, Outcome};

/// First and last of a range, from 1.
type Range = (usize, usize);

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("f:,fields: d:,delimiter: c:,characters: b: s")?;
    let mut out = &call.streams.out;
    let letters = options.value("c").or(options.value("b"));
    let Some(list) = letters.or(options.value("f")) else {
        return Err(Failure::usage("name fields with -f, or characters with -c"));
    };
    let ranges = ranges(list)?;
    let delimiter = options.value("d").unwrap_or("\t");
    call.each_input(&options.operands, |_, input| {
        for line in input.lines() {
            let line = String::from_utf8_lossy(&line?).into_owned();
            if letters.is_some() {
                let kept: String = chosen(line.chars(), &ranges).collect();
                writeln!(out, "{kept}")?;
            } else if line.contains(delimiter) {
                let kept: Vec<&str> = chosen(line.split(delimiter), &ranges).collect();
                writeln!(out, "{}", kept.join(delimiter))?;
            } else if !options.has("s") {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    })
}

/// Reads `1,3-5,7-`.
fn ranges(list: &str) -> Result<Vec<Range>, Failure> {
    let number = |text: &str, absent: usize| match text {
        "" => Some(absent),
        text => text.parse().ok().filter(|number| *number > 0),
    };
    let range = |part: &str| match part.split_once('-') {
        Some((first, last)) => Some((number(first, 1)?, number(last, usize::MAX)?)),
        None => number(part, 0)
            .filter(|number| *number > 0)
            .map(|number| (number, number)),
    };
    list.split(',')
        .map(|part| {
            range(part)
                .ok_or_else(|| Failure::usage(format!("{part}: not a number or range from 1")))
        })
        .collect()
}

fn chosen<T>(parts: impl Iterator<Item = T>, ranges: &[Range]) -> impl Iterator<Item = T> {
    let is_chosen = |place: usize| {
        ranges
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&place))
    };
    parts
        .enumerate()
        .filter(move |(index, _)| is_chosen(index + 1))
        .map(|(_, part)| part)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn parts_of_lines_are_cut_out() {
        let room = Room::new();
        room.check(&[
            ("cut -d: -f1,3-", "a:b:c:d\nplain\n", "a:c:d\nplain\n"),
            ("cut -d : -s -f 2", "a:b\nplain\n", "b\n"),
            ("cut -c-2", "grün\n", "gr\n"),
            ("cut -c 3-", "grün\n", "ün\n"),
        ]);
        for list in ["0", "x", "", "2-x"] {
            assert_eq!(room.run(&["cut", "-f", list]).code, 2, "{list}");
        }
    }
}
