//! mv: moves files and directories, from one mount to another by copying.

use std::fs;
use std::io;
use std::path::Path;

use crate::call::{Call, Outcome};
use crate::command::cp::{copy_directory, place, sources_and_target};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("f,force")?;
    let (sources, target) = sources_and_target(call, &options.operands)?;
    call.each_path(sources, |source| {
        let from = call.session.path(source);
        let to = place(&from, &target);
        match fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => carry(&from, &to),
            outcome => outcome,
        }
    })
}

fn carry(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        copy_directory(from, to)?;
        return fs::remove_dir_all(from);
    }
    fs::copy(from, to)?;
    fs::remove_file(from)
}

#[cfg(test)]
mod tests {
    use super::carry;
    use crate::command::testing::Room;

    #[test]
    fn files_and_directories_move() {
        let room = Room::new();
        room.file("a", "A");
        room.file("d/x", "X");
        assert_eq!(room.run(&["mv", "a", "b"]).code, 0);
        assert_eq!(room.run(&["mv", "b", "d"]).code, 0);
        assert_eq!(room.run(&["mv", "d", "e"]).code, 0);
        assert_eq!(
            (room.read("e/b"), room.read("e/x")),
            ("A".to_owned(), "X".to_owned())
        );
        assert!(!room.has("a") && !room.has("b") && !room.has("d"));
        assert_eq!(room.run(&["mv", "none", "x"]).code, 1);
    }

    #[test]
    fn between_mounts_they_are_carried() {
        let room = Room::new();
        room.file("d/x/y", "Y");
        let path = |name: &str| std::path::PathBuf::from(room.path(name));
        carry(&path("d"), &path("e")).unwrap();
        carry(&path("e/x/y"), &path("z")).unwrap();
        assert_eq!(room.read("z"), "Y");
        assert!(!room.has("d") && !room.has("e/x/y"));
    }
}
