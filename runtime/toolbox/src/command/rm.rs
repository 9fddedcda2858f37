//! rm: removes files and directories.

use std::fs;
use std::io;

use crate::call::{Call, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("r,recursive,R f,force")?;
    if options.has("f") && options.operands.is_empty() {
        return Ok(0);
    }
    call.each_path(&options.operands, |name| {
        let path = call.session.path(name);
        let removed = match fs::symlink_metadata(&path) {
            Ok(data) if !data.is_dir() => fs::remove_file(path),
            Ok(_) if options.has("r") => fs::remove_dir_all(path),
            Ok(_) => Err(io::Error::other("is a directory; remove it with -r")),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound && options.has("f") => Ok(()),
            outcome => outcome,
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn what_is_removed_is_gone_and_the_rest_stays() {
        let room = Room::new();
        for file in ["a", "b", "d/e/x", "keep"] {
            room.file(file, "");
        }
        room.run(&["ln", "-s", "d", "link"]);
        let cases: [(&[&str], u8); 6] = [
            (&["rm", "a"], 0),
            (&["rm", "d"], 1),
            (&["rm", "link"], 0),
            (&["rm", "none", "b"], 1),
            (&["rm", "-f", "none"], 0),
            (&["rm", "-rf", "d"], 0),
        ];
        for (words, code) in cases {
            assert_eq!(room.run(words).code, code, "{words:?}");
        }
        assert_eq!(room.run(&["ls"]).out, "keep\n");
    }
}
