//! stat: what is known of a file.

use std::fs::{self, Metadata};
use std::io::{self, Write as _};
use std::time::SystemTime;

use crate::call::{Call, Outcome};
use crate::time::Date;

const USUAL: &str = "  File: %n\n  Size: %s\n  Type: %F\nModify: %y\n";

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("c:,format: L")?;
    let format = match options.value("c") {
        Some(format) => format!("{format}\n"),
        None => USUAL.to_owned(),
    };
    call.each_path(&options.operands, |name| {
        let path = call.session.path(name);
        let data = if options.has("L") {
            fs::metadata(path)
        } else {
            fs::symlink_metadata(path)
        }?;
        write!(&call.streams.out, "{}", shown(&format, name, &data)?)
    })
}

fn shown(format: &str, name: &str, data: &Metadata) -> io::Result<String> {
    let mut text = String::new();
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        match letters.next_if(|_| letter == '%') {
            None => text.push(letter),
            Some('n') => text.push_str(name),
            Some('s') => text.push_str(&data.len().to_string()),
            Some('F') => text.push_str(kind(data)),
            Some('y') => text.push_str(&Date::of(data.modified()?).format("%F %T %z")),
            Some('Y') => {
                let since = data
                    .modified()?
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default();
                text.push_str(&since.as_secs().to_string());
            }
            Some('%') => text.push('%'),
            Some(other) => text.extend(['%', other]),
        }
    }
    Ok(text)
}

fn kind(data: &Metadata) -> &'static str {
    match data.file_type() {
        kind if kind.is_dir() => "directory",
        kind if kind.is_symlink() => "symbolic link",
        kind if kind.is_file() && data.len() == 0 => "regular empty file",
        kind if kind.is_file() => "regular file",
        _ => "special file",
    }
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn what_is_known_is_shown() {
        let room = Room::new();
        room.file("a", "123");
        room.run(&["ln", "-s", "a", "link"]);
        room.check(&[
            ("stat -c %n:%s:%F:%q a", "", "a:3:regular file:%q\n"),
            ("stat -c %F . link", "", "directory\nsymbolic link\n"),
            ("stat -L -c %s link", "", "3\n"),
        ]);
        let usual = room.run(&["stat", "a"]).out;
        assert!(
            usual.contains("Size: 3") && usual.contains("Modify: 20"),
            "{usual}"
        );
        assert_eq!(room.run(&["stat", "none"]).code, 1);
    }
}
