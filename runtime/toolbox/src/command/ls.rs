//! ls: names in directories.

use std::fs::{self, Metadata};
use std::io::{self, Write as _};
use std::path::Path;

use crate::call::{Call, Failure, Options, Outcome};
use crate::time::Date;

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("a,all A l 1 d R,recursive h F")?;
    let here = [".".to_owned()];
    let operands = if options.operands.is_empty() {
        &here
    } else {
        options.operands.as_slice()
    };
    let (mut files, mut directories, mut code) = (Vec::new(), Vec::new(), 0);
    for name in operands {
        let path = call.session.path(name);
        match fs::symlink_metadata(&path) {
            Ok(_) if path.is_dir() && !options.has("d") => directories.push(name),
            Ok(data) => files.push((name.clone(), data)),
            Err(error) => {
                call.warn(Failure::at(name, &error).message);
                code = 1;
            }
        }
    }
    show(call, &options, &call.session.cwd, &files)?;
    let titled = operands.len() > 1 || options.has("R");
    for (index, name) in directories.into_iter().enumerate() {
        let gap = if index > 0 || !files.is_empty() {
            "\n"
        } else {
            ""
        };
        let title = if titled {
            format!("{gap}{name}:\n")
        } else {
            String::new()
        };
        if let Err(error) = directory(call, &options, name, &title) {
            call.warn(Failure::at(name, &error).message);
            code = 1;
        }
    }
    Ok(code)
}

fn directory(call: &Call<'_>, options: &Options, name: &str, title: &str) -> io::Result<()> {
    let path = call.session.path(name);
    let mut entries = Vec::new();
    for entry in fs::read_dir(&path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if options.has("a") || options.has("A") || !name.starts_with('.') {
            entries.push((name, fs::symlink_metadata(entry.path())?));
        }
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    write!(&call.streams.out, "{title}")?;
    show(call, options, &path, &entries)?;
    if options.has("R") {
        for (below, data) in &entries {
            if data.is_dir() {
                let name = format!("{}/{below}", name.trim_end_matches('/'));
                directory(call, options, &name, &format!("\n{name}:\n"))?;
            }
        }
    }
    Ok(())
}

fn show(
    call: &Call<'_>,
    options: &Options,
    base: &Path,
    entries: &[(String, Metadata)],
) -> io::Result<()> {
    let mut out = &call.streams.out;
    let width = entries
        .iter()
        .map(|(_, data)| data.len().to_string().len())
        .max()
        .unwrap_or(0);
    for (name, data) in entries {
        if !options.has("l") {
            writeln!(out, "{name}")?;
            continue;
        }
        let date = data
            .modified()
            .map_or_else(|_| "-".to_owned(), |time| Date::of(time).short());
        let target = match fs::read_link(base.join(name)) {
            Ok(target) if data.is_symlink() => format!(" -> {}", target.display()),
            _ => String::new(),
        };
        writeln!(
            out,
            "{} {:>width$} {date} {name}{target}",
            kind(data),
            data.len()
        )?;
    }
    Ok(())
}

/// WASI tells the kind of a file, and nothing of who may do what with it.
fn kind(data: &Metadata) -> char {
    match data.file_type() {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        kind if kind.is_file() => '-',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn names_are_listed() {
        let room = Room::new();
        room.file("d/b", "");
        room.file("d/.hidden", "");
        room.file("d/e/x", "");
        room.file("a", "");
        room.check(&[
            ("ls", "", "a\nd\n"),
            ("ls d", "", "b\ne\n"),
            ("ls -a d", "", ".hidden\nb\ne\n"),
            ("ls -d d", "", "d\n"),
            ("ls a d", "", "a\n\nd:\nb\ne\n"),
            ("ls -R d", "", "d:\nb\ne\n\nd/e:\nx\n"),
        ]);
        let ran = room.run(&["ls", "none"]);
        assert_eq!(
            (ran.code, ran.err.as_str()),
            (1, "ls: none: No such file or directory\n")
        );
    }

    #[test]
    fn the_long_form_shows_kind_size_and_target() {
        let room = Room::new();
        room.file("file", "12345");
        room.run(&["mkdir", "dir"]);
        room.run(&["ln", "-s", "file", "link"]);
        let shown = room.run(&["ls", "-l"]).out;
        let lines: Vec<&str> = shown.lines().collect();
        assert!(
            lines[0].starts_with("d ") && lines[0].ends_with(" dir"),
            "{shown}"
        );
        assert!(
            lines[1].starts_with("- ") && lines[1].contains(" 5 "),
            "{shown}"
        );
        assert!(
            lines[2].starts_with("l ") && lines[2].ends_with(" link -> file"),
            "{shown}"
        );
    }
}
