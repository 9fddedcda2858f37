//! tail: the last lines or bytes, and what is added later.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::time::Duration;

use crate::call::{Call, Failure, Outcome};
use crate::command::head::with_count;
use crate::streams::Input;

/// How often `-f` looks for more: WASI has no way to be told of changes.
const PAUSE: Duration = Duration::from_millis(250);

/// What is shown of a file.
#[derive(Clone, Copy)]
enum Part {
    LastLines(usize),
    FromLine(usize),
    LastBytes(usize),
}

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let args = with_count(call.args);
    let call = &Call {
        args: &args,
        ..*call
    };
    let options = call.options("n:,lines: c:,bytes: f,follow q")?;
    let number = |text: &str| {
        text.parse()
            .map_err(|_| Failure::usage(format!("{text}: not a number")))
    };
    let part = match (options.value("c"), options.value("n").unwrap_or("10")) {
        (Some(bytes), _) => Part::LastBytes(number(bytes)?),
        (None, lines) => match lines.strip_prefix('+') {
            Some(first) => Part::FromLine(number(first)?),
            None => Part::LastLines(number(lines)?),
        },
    };
    let titled = options.operands.len() > 1 && !options.has("q");
    let mut out = &call.streams.out;
    let mut first = true;
    let mut last = None;
    let code = call.each_input(&options.operands, |name, input| {
        if titled {
            let gap = if std::mem::take(&mut first) { "" } else { "\n" };
            writeln!(out, "{gap}==> {name} <==")?;
        }
        last = Some(input.clone());
        Ok(show(call, input, part)?)
    })?;
    match last {
        Some(input) if options.has("f") => follow(call, &input),
        _ => Ok(code),
    }
}

fn show(call: &Call<'_>, input: &Input, part: Part) -> io::Result<()> {
    let mut out = &call.streams.out;
    match part {
        Part::LastBytes(count) => {
            let bytes = input.all()?;
            out.write_all(
                bytes
                    .get(bytes.len().saturating_sub(count)..)
                    .unwrap_or_default(),
            )
        }
        Part::FromLine(first) => {
            for _ in 1..first {
                input.line()?;
            }
            let mut rest = input;
            io::copy(&mut rest, &mut out).map(|_| ())
        }
        Part::LastLines(count) => {
            let mut kept = VecDeque::new();
            loop {
                let line = input.line()?;
                if line.is_empty() {
                    break;
                }
                kept.push_back(line);
                if kept.len() > count {
                    kept.pop_front();
                }
            }
            kept.iter().try_for_each(|line| out.write_all(line))
        }
    }
}

/// Shows what is added, until the instance is ended or its output closed.
fn follow(call: &Call<'_>, input: &Input) -> Outcome {
    let mut out = &call.streams.out;
    loop {
        out.flush()?;
        let more = input.all()?;
        if more.is_empty() {
            std::thread::sleep(PAUSE);
        }
        out.write_all(&more)?;
    }
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn the_end_is_shown() {
        let room = Room::new();
        room.file("a", "1\n2\n");
        room.file("b", "3\n");
        room.check(&[
            ("tail -n 1", "a\nb\n", "b\n"),
            ("tail -2", "a\nb\nc", "b\nc"),
            ("tail -n +2", "a\nb\nc\n", "b\nc\n"),
            ("tail -c 2", "abc", "bc"),
            ("tail -c 9", "abc", "abc"),
            ("tail -n1 a b", "", "==> a <==\n2\n\n==> b <==\n3\n"),
        ]);
        assert_eq!(room.run(&["tail", "-n", "x"]).code, 2);
    }
}
