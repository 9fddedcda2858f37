//! du: bytes in files, with all below a directory.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::call::{Call, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("s,summarize h,human-readable b,bytes a k")?;
    let here = [".".to_owned()];
    let paths = if options.operands.is_empty() {
        &here
    } else {
        options.operands.as_slice()
    };
    let human = options.has("h");
    let depth = if options.has("s") { 0 } else { usize::MAX };
    call.each_path(paths, |path| {
        let total = walk(call, path, &call.session.path(path), depth, human)?;
        tell(call, total, path, human)
    })
}

/// The bytes below a directory; tells those of its directories down to a depth.
fn walk(call: &Call<'_>, name: &str, path: &Path, depth: usize, human: bool) -> io::Result<u64> {
    let data = fs::symlink_metadata(path)?;
    if !data.is_dir() {
        return Ok(data.len());
    }
    let mut total = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = format!(
            "{}/{}",
            name.trim_end_matches('/'),
            entry.file_name().to_string_lossy()
        );
        let bytes = walk(call, &name, &entry.path(), depth.saturating_sub(1), human)?;
        if depth > 0 && entry.file_type()?.is_dir() {
            tell(call, bytes, &name, human)?;
        }
        total += bytes;
    }
    Ok(total)
}

fn tell(call: &Call<'_>, bytes: u64, path: &str, human: bool) -> io::Result<()> {
    let size = if human {
        human_size(bytes)
    } else {
        bytes.to_string()
    };
    writeln!(&call.streams.out, "{size}\t{path}")
}

/// `1.5M`.
fn human_size(bytes: u64) -> String {
    let mut rest = bytes;
    let mut tenths = 0;
    let mut unit = "";
    for larger in ["K", "M", "G", "T"] {
        if rest < 1024 {
            break;
        }
        tenths = rest % 1024 * 10 / 1024;
        rest /= 1024;
        unit = larger;
    }
    if unit.is_empty() {
        rest.to_string()
    } else {
        format!("{rest}.{tenths}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::human_size;
    use crate::command::testing::Room;

    #[test]
    fn bytes_are_summed_over_what_lies_below() {
        let room = Room::new();
        room.file("d/a", "123");
        room.file("d/e/b", "4567");
        room.check(&[
            ("du d", "", "4\td/e\n7\td\n"),
            ("du -s d", "", "7\td\n"),
            ("du d/a", "", "3\td/a\n"),
        ]);
    }

    #[test]
    fn sizes_are_shown_for_people() {
        for (bytes, wanted) in [(7, "7"), (1024, "1.0K"), (1536, "1.5K"), (5 << 30, "5.0G")] {
            assert_eq!(human_size(bytes), wanted);
        }
    }
}
