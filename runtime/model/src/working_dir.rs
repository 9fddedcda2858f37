//! Where a container begins: a path in it, without what says nothing.

/// A working directory as it is used: absolute, and without `.`, `..` and slashes too many, each of
/// which is cancelled by its names alone, as Docker does before it looks at any file.
/// What is relative, as an image's may be, and what is empty begins at `/`; above that is nothing.
pub fn clean(path: &str) -> String {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_absolute_and_plain() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            (".", "/"),
            ("..", "/"),
            ("/app", "/app"),
            ("/app/", "/app"),
            ("app", "/app"),
            ("./app", "/app"),
            ("//app/./its//work/.", "/app/its/work"),
            ("/app/../data", "/data"),
            ("/app/its/../../data/", "/data"),
            ("/app/..", "/"),
            ("/../../data", "/data"),
            ("../data", "/data"),
            ("/app/...", "/app/..."),
        ] {
            let cleaned = clean(path);
            assert_eq!(cleaned, expected, "{path:?}");
            assert_eq!(clean(&cleaned), cleaned, "{path:?}");
        }
    }
}
