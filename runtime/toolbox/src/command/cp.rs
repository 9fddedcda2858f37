//! cp: copies of files and directories.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::call::{Call, Failure, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("r,recursive,R a f p")?;
    let recursive = options.has("r") || options.has("a");
    let (sources, target) = sources_and_target(call, &options.operands)?;
    call.each_path(sources, |source| {
        let from = call.session.path(source);
        let to = place(&from, &target);
        match from.is_dir() {
            true if !recursive => Err(io::Error::other("is a directory; copy it with -r")),
            true if to.starts_with(&from) => Err(io::Error::other("cannot be copied into itself")),
            true => copy_directory(&from, &to),
            false => fs::copy(&from, &to).map(|_| ()),
        }
    })
}

/// Everything but the last operand, and the last as an absolute path.
pub(crate) fn sources_and_target<'a>(
    call: &Call<'_>,
    operands: &'a [String],
) -> Result<(&'a [String], PathBuf), Failure> {
    match operands.split_last() {
        Some((target, sources)) if !sources.is_empty() => {
            let path = call.session.path(target);
            if sources.len() > 1 && !path.is_dir() {
                return Err(Failure::new(format!("{target}: not a directory")));
            }
            Ok((sources, path))
        }
        _ => Err(Failure::usage("name what, and where to")),
    }
}

/// Where a source ends up: in the target if that is a directory, else as the target.
pub(crate) fn place(from: &Path, target: &Path) -> PathBuf {
    match from.file_name() {
        Some(name) if target.is_dir() => target.join(name),
        _ => target.to_path_buf(),
    }
}

/// Copies a directory with all below it. Links are copied as what they point to.
pub(crate) fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_directory(&from, &to)?;
        } else {
            fs::copy(from, to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn files_and_directories_are_copied_to_where_they_belong() {
        let room = Room::new();
        room.file("a", "A");
        room.file("d/x/y", "Y");
        room.file("e/keep", "");
        let cases: [(&[&str], &str, &str); 4] = [
            (&["cp", "a", "b"], "b", "A"),
            (&["cp", "a", "d"], "d/a", "A"),
            (&["cp", "-r", "d", "new"], "new/x/y", "Y"),
            (&["cp", "-r", "a", "d", "e"], "e/d/x/y", "Y"),
        ];
        for (words, path, content) in cases {
            assert_eq!(room.run(words).err, "", "{words:?}");
            assert_eq!(room.read(path), content, "{words:?}");
        }
    }

    #[test]
    fn what_cannot_be_copied_is_told() {
        let room = Room::new();
        room.file("d/x", "");
        room.file("a", "");
        let cases: [(&[&str], u8, &str); 5] = [
            (&["cp", "d", "e"], 1, "with -r"),
            (&["cp", "-r", "d", "d/inner"], 1, "into itself"),
            (&["cp", "a", "d", "none"], 1, "none: not a directory"),
            (&["cp", "none", "b"], 1, "none: "),
            (&["cp", "a"], 2, "where to"),
        ];
        for (words, code, text) in cases {
            let ran = room.run(words);
            assert_eq!(ran.code, code, "{words:?}");
            assert!(ran.err.contains(text), "{words:?}: {}", ran.err);
        }
    }
}
