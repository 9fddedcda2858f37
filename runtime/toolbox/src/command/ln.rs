//! ln: links.

use std::fs;
use std::io;
use std::path::Path;

use crate::base_name;
use crate::call::{Call, Failure, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("s,symbolic f,force n")?;
    let (target, link) = match options.operands.as_slice() {
        [target] => (target, base_name(target)),
        [target, link] => (target, link.as_str()),
        _ => return Err(Failure::usage("name a target and a link")),
    };
    let mut path = call.session.path(link);
    if path.is_dir() && !options.has("n") {
        path.push(base_name(target));
    }
    if options.has("f") && path.symlink_metadata().is_ok() {
        fs::remove_file(&path).map_err(|error| Failure::at(link, &error))?;
    }
    let made = match options.has("s") {
        // A symbolic link holds the text as it stands: relative to the link, not to us.
        true => symlink(target, &path),
        false => fs::hard_link(call.session.path(target), &path),
    };
    made.map_err(|error| Failure::at(link, &error))?;
    Ok(0)
}

/// Makes a symbolic link that holds this text.
#[expect(
    deprecated,
    reason = "std has no other stable way that WASI and the tests' system share"
)]
pub(crate) fn symlink(target: &str, link: &Path) -> io::Result<()> {
    fs::soft_link(target, link)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn links_are_made() {
        let room = Room::new();
        room.file("a", "A");
        room.file("d/x", "");
        let cases: [(&[&str], &str); 4] = [
            (&["ln", "-s", "a", "soft"], "soft"),
            (&["ln", "a", "hard"], "hard"),
            (&["ln", "-sf", "a", "soft"], "soft"),
            (&["ln", "-s", "../a", "d"], "d/a"),
        ];
        for (words, path) in cases {
            assert_eq!(room.run(words).err, "", "{words:?}");
            assert_eq!(room.read(path), "A", "{words:?}");
        }
        assert_eq!(room.run(&["ln", "-s", "a", "soft"]).code, 1);
    }
}
