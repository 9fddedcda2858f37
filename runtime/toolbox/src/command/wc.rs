//! wc: counts lines, words and bytes.

use std::io::{self, Write as _};

use crate::call::{Call, Options, Outcome};
use crate::streams::Input;

/// Lines, words and bytes.
type Counts = [u64; 3];

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("l,lines w,words c,bytes m,chars")?;
    let mut total = [0; 3];
    let code = call.each_input(&options.operands, |name, input| {
        let counts = count(input)?;
        total = std::array::from_fn(|index| at(total, index) + at(counts, index));
        tell(call, &options, counts, if name == "-" { "" } else { name })?;
        Ok(())
    })?;
    if options.operands.len() > 1 {
        tell(call, &options, total, "total")?;
    }
    Ok(code)
}

fn at(counts: Counts, index: usize) -> u64 {
    counts.get(index).copied().unwrap_or(0)
}

fn count(input: &Input) -> io::Result<Counts> {
    let [mut lines, mut words, mut bytes] = [0; 3];
    loop {
        let line = input.line()?;
        if line.is_empty() {
            return Ok([lines, words, bytes]);
        }
        lines += u64::from(line.ends_with(b"\n"));
        words += line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .count() as u64;
        bytes += line.len() as u64;
    }
}

fn tell(call: &Call<'_>, options: &Options, counts: Counts, name: &str) -> io::Result<()> {
    let wanted = [
        options.has("l"),
        options.has("w"),
        options.has("c") || options.has("m"),
    ];
    let all = wanted.iter().all(|wanted| !wanted);
    let mut parts: Vec<String> = counts
        .iter()
        .zip(wanted)
        .filter(|(_, wanted)| all || *wanted)
        .map(|(count, _)| count.to_string())
        .collect();
    if !name.is_empty() {
        parts.push(name.to_owned());
    }
    writeln!(&call.streams.out, "{}", parts.join(" "))
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn lines_words_and_bytes_are_counted() {
        let room = Room::new();
        room.file("a", "one two\n");
        room.file("b", "three");
        room.check(&[
            ("wc a", "", "1 2 8 a\n"),
            ("wc -l", "x\ny\n", "2\n"),
            ("wc -w", " x  y ", "2\n"),
            ("wc -c a b", "", "8 a\n5 b\n13 total\n"),
        ]);
    }
}
