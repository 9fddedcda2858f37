//! uniq: lines that differ from the one before.

use std::io::{self, Write as _};

use crate::call::{Call, Options, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("c,count d,repeated u,unique i,ignore-case")?;
    let input = call.open(options.one("-")?)?;
    let mut current: Option<(String, u64)> = None;
    for line in input.lines() {
        let line = String::from_utf8_lossy(&line?).into_owned();
        let same = |other: &str| match options.has("i") {
            true => other.to_lowercase() == line.to_lowercase(),
            false => other == line,
        };
        match &mut current {
            Some((text, count)) if same(text) => *count += 1,
            _ => {
                tell(call, &options, current.take())?;
                current = Some((line, 1));
            }
        }
    }
    tell(call, &options, current)?;
    Ok(0)
}

fn tell(call: &Call<'_>, options: &Options, group: Option<(String, u64)>) -> io::Result<()> {
    let Some((line, count)) = group else {
        return Ok(());
    };
    if options.has("d") && count == 1 || options.has("u") && count > 1 {
        return Ok(());
    }
    let prefix = if options.has("c") {
        format!("{count:7} ")
    } else {
        String::new()
    };
    writeln!(&call.streams.out, "{prefix}{line}")
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn repeated_lines_become_one() {
        Room::new().check(&[
            ("uniq", "a\na\nb\na\n", "a\nb\na\n"),
            ("uniq -c", "a\na\nb\n", "      2 a\n      1 b\n"),
            ("uniq -d", "a\na\nb\n", "a\n"),
            ("uniq -u", "a\na\nb\n", "b\n"),
            ("uniq -i", "a\nA\n", "a\n"),
            ("uniq", "", ""),
        ]);
    }
}
