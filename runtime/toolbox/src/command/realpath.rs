//! realpath and pwd: absolute paths.

use std::fs;
use std::io::Write as _;

use crate::call::{Call, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("")?;
    call.each_path(&options.operands, |name| {
        let path = fs::canonicalize(call.session.path(name))?;
        writeln!(&call.streams.out, "{}", path.display())
    })
}

pub(crate) fn pwd(call: &Call<'_>) -> Outcome {
    call.options("L P")?;
    writeln!(&call.streams.out, "{}", call.session.cwd.display())?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn paths_are_made_absolute() {
        let room = Room::new();
        room.file("d/a", "");
        room.run(&["ln", "-s", "d/a", "link"]);
        assert_eq!(
            room.run(&["realpath", "link"]).out,
            format!("{}\n", room.path("d/a"))
        );
        assert_eq!(
            room.run(&["pwd"]).out.trim_end(),
            room.path("").trim_end_matches('/')
        );
        assert_eq!(room.run(&["realpath", "none"]).code, 1);
    }
}
