//! A guest's path as steps: what WASI allows a path to be, decided without touching a file.
//!
//! Nothing is looked up here, and `..` is not cancelled against the name before it: that name may
//! be a link.

use crate::FsError;

/// Longest path that Linux takes (PATH_MAX without its final NUL).
pub(crate) const PATH_LIMIT: usize = 4095;
/// Longest name that Linux file systems take.
pub(crate) const NAME_LIMIT: usize = 255;

/// One step of a path; `.` and empty names are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// `..`
    Up,
    /// A name, neither `.` nor `..`, without `/` and NUL.
    Name(String),
}

/// A path taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// In order. Empty for `.`.
    pub(crate) steps: Vec<Step>,
    /// It ends in `/`, `.` or `..`, so only a directory will do.
    pub(crate) directory: bool,
    /// It starts with `/`.
    pub(crate) absolute: bool,
}

/// Takes apart a path that a guest gives relative to a descriptor.
///
/// Errors: no-entry if empty, not-permitted if absolute, invalid with a NUL, name-too-long.
pub(crate) fn relative(path: &str) -> Result<Steps, FsError> {
    let steps = any(path)?;
    if steps.absolute {
        Err(FsError::NotPermitted)
    } else {
        Ok(steps)
    }
}

/// Takes apart a path that may be absolute, such as the target of a link.
pub(crate) fn any(path: &str) -> Result<Steps, FsError> {
    if path.is_empty() {
        return Err(FsError::NoEntry);
    }
    if path.contains('\0') {
        return Err(FsError::Invalid);
    }
    if path.len() > PATH_LIMIT {
        return Err(FsError::NameTooLong);
    }
    let mut steps = Vec::new();
    let mut directory = true;
    for name in path.split('/') {
        directory = matches!(name, "" | "." | "..");
        match name {
            "" | "." => {}
            ".." => steps.push(Step::Up),
            name if name.len() > NAME_LIMIT => return Err(FsError::NameTooLong),
            name => steps.push(Step::Name(name.to_owned())),
        }
    }
    Ok(Steps {
        steps,
        directory,
        absolute: path.starts_with('/'),
    })
}

/// The names of a path of the manifest, or what is wrong with it. `..` is refused, as Kubernetes
/// refuses it in mountPath, subPath and the paths of files.
pub(crate) fn names(path: &str) -> Result<Vec<String>, &'static str> {
    let parsed = any(path).map_err(|error| match error {
        FsError::NoEntry => "is empty",
        FsError::NameTooLong => "is longer than Linux allows",
        _ => "contains a NUL",
    })?;
    parsed
        .steps
        .into_iter()
        .map(|step| match step {
            Step::Name(name) => Ok(name),
            Step::Up => Err("must not contain '..'"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str) -> Result<String, FsError> {
        relative(path).map(|steps| {
            let mut text: Vec<String> = steps
                .steps
                .iter()
                .map(|step| match step {
                    Step::Up => "^".to_owned(),
                    Step::Name(name) => name.clone(),
                })
                .collect();
            if steps.directory {
                text.push("|".to_owned());
            }
            text.join(" ")
        })
    }

    #[test]
    fn paths_become_steps() {
        let long = "a".repeat(256);
        let longest = "a/".repeat(2047);
        for (path, expected) in [
            ("a", Ok("a")),
            ("a/b", Ok("a b")),
            ("a//./b", Ok("a b")),
            ("a/", Ok("a |")),
            ("a/.", Ok("a |")),
            (".", Ok("|")),
            ("a/..", Ok("a ^ |")),
            ("../a", Ok("^ a")),
            ("...", Ok("...")),
            ("", Err(FsError::NoEntry)),
            ("/", Err(FsError::NotPermitted)),
            ("/a", Err(FsError::NotPermitted)),
            ("a\0b", Err(FsError::Invalid)),
            (&long, Err(FsError::NameTooLong)),
            (&format!("{longest}aa"), Err(FsError::NameTooLong)),
        ] {
            assert_eq!(shown(path), expected.map(str::to_owned), "{path:?}");
        }
        assert!(relative(&longest).is_ok());
    }

    #[test]
    fn manifest_paths_are_plain() {
        for (path, expected) in [
            ("/etc//config/", Ok(vec!["etc", "config"])),
            ("/", Ok(vec![])),
            ("a/../b", Err("must not contain '..'")),
            ("", Err("is empty")),
            ("a\0", Err("contains a NUL")),
        ] {
            assert_eq!(
                names(path),
                expected.map(|names| names.into_iter().map(str::to_owned).collect()),
                "{path:?}"
            );
        }
    }
}
