//! Paths of a layer: bytes from outside to names, one after the other.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use super::UnpackError;
use crate::limits;

/// The longest name that file systems take.
const NAME: usize = 255;

/// The names of a path, from the root. `/a`, `./a` and `a/` are one.
pub(super) fn names(path: &[u8]) -> Result<Vec<OsString>, UnpackError> {
    let refused = |why| UnpackError::Path {
        path: raw(path),
        why,
    };
    if path.len() > limits::PATH {
        return Err(refused("is longer than a path may be"));
    }
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return Err(refused("has .. in it, which could lead out of the image")),
            name if name.contains(&0) => return Err(refused("has a byte 0 in it")),
            name if name.len() > NAME => return Err(refused("has a name longer than 255 bytes")),
            name => names.push(OsStr::from_bytes(name).to_owned()),
        }
    }
    if names.len() > limits::DEPTH {
        return Err(refused("is deeper than any that is of use"));
    }
    Ok(names)
}

/// The beginning of a path as the layer has it, for people.
pub(super) fn raw(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).collect()
}

/// A path for people.
pub(super) fn shown(names: &[OsString]) -> String {
    let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
    names.join("/")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_names_from_the_root() {
        let cases: [(&str, Option<&str>); 8] = [
            ("a/b", Some("a/b")),
            ("/a//b/", Some("a/b")),
            ("./a/./b", Some("a/b")),
            (".", Some("")),
            ("", Some("")),
            ("a/../b", None),
            ("..", None),
            ("a\0b", None),
        ];
        for (path, wanted) in cases {
            let names = names(path.as_bytes());
            assert_eq!(
                names.ok().map(|it| shown(&it)).as_deref(),
                wanted,
                "{path:?}"
            );
        }
        assert!(names("a/".repeat(300).as_bytes()).is_err());
        assert!(names("a".repeat(300).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_path_panics_and_no_name_leads_anywhere(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for name in names(&bytes).unwrap_or_default() {
                prop_assert!(name != ".." && name != "." && !name.is_empty());
                prop_assert!(!name.as_bytes().contains(&b'/'));
            }
        }
    }
}
