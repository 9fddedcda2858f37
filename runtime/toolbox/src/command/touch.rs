//! touch: makes files, or renews their time.

use std::fs::OpenOptions;
use std::io;
use std::time::SystemTime;

use crate::call::{Call, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("c,no-create")?;
    call.each_path(&options.operands, |name| {
        let opened = OpenOptions::new()
            .create(!options.has("c"))
            .append(true)
            .open(call.session.path(name));
        match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound && options.has("c") => Ok(()),
            Err(error) => Err(error),
            Ok(file) => file.set_modified(SystemTime::now()),
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn files_are_made_and_kept() {
        let room = Room::new();
        room.file("old", "text");
        assert_eq!(room.run(&["touch", "new", "old"]).code, 0);
        assert_eq!(
            (room.read("new"), room.read("old")),
            (String::new(), "text".to_owned())
        );
        assert_eq!(room.run(&["touch", "-c", "none"]).code, 0);
        assert!(!room.has("none"));
        assert_eq!(room.run(&["touch", "no/such"]).code, 1);
    }
}
