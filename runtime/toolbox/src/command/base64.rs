//! base64: bytes as text, or back.

use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::call::{Call, Failure, Outcome};

/// Letters in a line, as everybody else writes them.
const LINE: usize = 76;

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("d,decode w:,wrap:")?;
    let bytes = call.open(options.one("-")?)?.all()?;
    let mut out = &call.streams.out;
    if options.has("d") {
        let text: Vec<u8> = bytes
            .into_iter()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        let decoded = BASE64_STANDARD
            .decode(text)
            .map_err(|error| Failure::new(error.to_string()))?;
        out.write_all(&decoded)?;
        return Ok(0);
    }
    let text = BASE64_STANDARD.encode(bytes);
    let width = options.number("w", LINE)?;
    if width == 0 {
        out.write_all(text.as_bytes())?;
        return Ok(0);
    }
    for line in text.as_bytes().chunks(width) {
        out.write_all(line)?;
        out.write_all(b"\n")?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn bytes_become_text_and_come_back() {
        let room = Room::new();
        room.check(&[
            ("base64", "hello\n", "aGVsbG8K\n"),
            ("base64 -d", "aGVs\nbG8K\n", "hello\n"),
            ("base64 -w0", "hello\n", "aGVsbG8K"),
            ("base64 -w 4", "hello\n", "aGVs\nbG8K\n"),
        ]);
        assert_eq!(room.run_with(&["base64", "-d"], "!").code, 1);
    }
}
