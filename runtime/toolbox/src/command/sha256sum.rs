//! sha256sum: checksums, or checks them.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use sha2::{Digest as _, Sha256};

use crate::call::{Call, Failure, Outcome};
use crate::streams::Input;

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("c,check")?;
    if options.has("c") {
        return check(call, &options.operands);
    }
    call.each_input(&options.operands, |name, input| {
        writeln!(&call.streams.out, "{}  {name}", checksum(input)?)?;
        Ok(())
    })
}

fn checksum(mut input: &Input) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut input, &mut hasher)?;
    let mut text = String::new();
    for byte in hasher.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// Reads lines of checksum and name, and compares.
fn check(call: &Call<'_>, lists: &[String]) -> Outcome {
    let mut failed = 0;
    let code = call.each_input(lists, |_, list| {
        for line in list.lines() {
            let line = String::from_utf8_lossy(&line?).into_owned();
            let (wanted, name) = line
                .split_once("  ")
                .ok_or_else(|| Failure::new(format!("{line}: not a checksum and a name")))?;
            let is_right = call
                .open(name)
                .is_ok_and(|input| checksum(&input).is_ok_and(|sum| sum == wanted));
            failed += u32::from(!is_right);
            writeln!(
                &call.streams.out,
                "{name}: {}",
                if is_right { "OK" } else { "FAILED" }
            )?;
        }
        Ok(())
    })?;
    Ok(if failed > 0 { 1 } else { code })
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

    #[test]
    fn checksums_are_made_and_checked() {
        let room = Room::new();
        room.file("a", "hello\n");
        assert_eq!(room.run(&["sha256sum", "a"]).out, format!("{HELLO}  a\n"));
        assert_eq!(
            room.run_with(&["sha256sum"], "hello\n").out,
            format!("{HELLO}  -\n")
        );
        let right = format!("{HELLO}  a\n");
        assert_eq!(room.run_with(&["sha256sum", "-c"], &right).out, "a: OK\n");
        room.file("a", "other\n");
        let ran = room.run_with(&["sha256sum", "-c"], &right);
        assert_eq!((ran.code, ran.out.as_str()), (1, "a: FAILED\n"));
    }
}
