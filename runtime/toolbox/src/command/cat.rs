//! cat: files one after the other.

use std::io::{self, Write as _};

use crate::call::{Call, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("n u")?;
    let mut out = &call.streams.out;
    let mut number = 0;
    call.each_input(&options.operands, |_, mut input| {
        if !options.has("n") {
            io::copy(&mut input, &mut out)?;
            return Ok(());
        }
        loop {
            let line = input.line()?;
            if line.is_empty() {
                return Ok(());
            }
            number += 1;
            write!(out, "{number:6}\t")?;
            out.write_all(&line)?;
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn files_follow_each_other_and_a_missing_one_is_told() {
        let room = Room::new();
        room.file("a", "one\n");
        room.file("b", "two");
        room.check(&[
            ("cat a b", "", "one\ntwo"),
            ("cat a - b", "in\n", "one\nin\ntwo"),
            ("cat", "in", "in"),
            ("cat -n a b", "", "     1\tone\n     2\ttwo"),
            ("cat /dev/null", "", ""),
        ]);
        let ran = room.run(&["cat", "none", "a", "."]);
        assert_eq!((ran.code, ran.out.as_str()), (1, "one\n"));
        assert_eq!(
            ran.err,
            "cat: none: No such file or directory\ncat: .: is a directory\n"
        );
    }
}
