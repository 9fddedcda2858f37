//! head: the first lines or bytes.

use std::io::{self, Read as _, Write as _};

use crate::call::{Call, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let args = with_count(call.args);
    let call = &Call {
        args: &args,
        ..*call
    };
    let options = call.options("n:,lines: c:,bytes: q v")?;
    let lines = options.number("n", 10_usize)?;
    let bytes = options
        .value("c")
        .map(|_| options.number("c", 0_u64))
        .transpose()?;
    let titled = options.operands.len() > 1 && !options.has("q");
    let mut out = &call.streams.out;
    let mut first = true;
    call.each_input(&options.operands, |name, input| {
        if titled {
            let gap = if std::mem::take(&mut first) { "" } else { "\n" };
            writeln!(out, "{gap}==> {name} <==")?;
        }
        if let Some(bytes) = bytes {
            io::copy(&mut input.take(bytes), &mut out)?;
            return Ok(());
        }
        for _ in 0..lines {
            out.write_all(&input.line()?)?;
        }
        Ok(())
    })
}

/// Turns the old form `-5` into `-n5`.
pub(crate) fn with_count(args: &[String]) -> Vec<String> {
    let mut args = args.to_vec();
    if let Some(first) = args.first_mut()
        && let Some(digits) = first.strip_prefix('-')
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        *first = format!("-n{digits}");
    }
    args
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn the_beginning_is_shown() {
        let room = Room::new();
        room.file("a", "1\n2\n");
        room.file("b", "3");
        room.check(&[
            ("head -n 1", "a\nb\n", "a\n"),
            ("head -2", "a\nb\nc\n", "a\nb\n"),
            ("head", "a", "a"),
            ("head -c 3", "abcdef", "abc"),
            ("head -n1 a b", "", "==> a <==\n1\n\n==> b <==\n3"),
        ]);
        assert_eq!(room.run(&["head", "-n", "x"]).code, 2);
    }
}
