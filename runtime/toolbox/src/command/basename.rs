//! basename and dirname: the parts of a path, as text.

use std::io::Write as _;

use crate::base_name;
use crate::call::{Call, Failure, Outcome};

pub(crate) fn last(call: &Call<'_>) -> Outcome {
    let (path, suffix) = match call.args {
        [path] => (path, ""),
        [path, suffix] => (path, suffix.as_str()),
        _ => return Err(Failure::usage("name one path, and a suffix if you like")),
    };
    let name = base_name(path);
    // A name that is nothing but the suffix stays.
    let short = name
        .strip_suffix(suffix)
        .filter(|short| !short.is_empty())
        .unwrap_or(name);
    writeln!(&call.streams.out, "{short}")?;
    Ok(0)
}

pub(crate) fn parent(call: &Call<'_>) -> Outcome {
    let [path] = call.args else {
        return Err(Failure::usage("name one path"));
    };
    let path = path.trim_end_matches('/');
    let parent = match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((parent, _)) => parent.trim_end_matches('/'),
        None if path.is_empty() => "/",
        None => ".",
    };
    writeln!(&call.streams.out, "{parent}")?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn paths_are_taken_apart() {
        Room::new().check(&[
            ("basename /a/b.txt", "", "b.txt\n"),
            ("basename /a/b.txt .txt", "", "b\n"),
            ("basename .txt .txt", "", ".txt\n"),
            ("basename /a/b/", "", "b\n"),
            ("basename /", "", "/\n"),
            ("dirname /a/b/", "", "/a\n"),
            ("dirname /a", "", "/\n"),
            ("dirname a", "", ".\n"),
            ("dirname /", "", "/\n"),
        ]);
    }
}
