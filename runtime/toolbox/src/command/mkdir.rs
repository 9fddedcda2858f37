//! mkdir and rmdir: directories.

use std::fs;

use crate::call::{Call, Outcome};

pub(crate) fn make(call: &Call<'_>) -> Outcome {
    let options = call.options("p,parents m:,mode:")?;
    call.each_path(&options.operands, |name| {
        let path = call.session.path(name);
        if options.has("p") {
            fs::create_dir_all(path)
        } else {
            fs::create_dir(path)
        }
    })
}

pub(crate) fn remove(call: &Call<'_>) -> Outcome {
    let options = call.options("")?;
    call.each_path(&options.operands, |name| {
        fs::remove_dir(call.session.path(name))
    })
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn directories_come_and_go() {
        let room = Room::new();
        let cases: [(&[&str], u8); 6] = [
            (&["mkdir", "a"], 0),
            (&["mkdir", "a"], 1),
            (&["mkdir", "-p", "a/b/c"], 0),
            (&["mkdir", "x/y"], 1),
            (&["rmdir", "a"], 1),
            (&["rmdir", "a/b/c", "a/b", "a"], 0),
        ];
        for (words, code) in cases {
            assert_eq!(room.run(words).code, code, "{words:?}");
        }
        assert!(!room.has("a"));
        assert_eq!(room.run(&["mkdir"]).code, 2);
    }
}
