//! The user of an image: its configuration's `User`, looked up in the image's own `/etc/passwd`.
//!
//! ```text
//! ""            nobody in particular
//! 1000, 1000:50 a number; the group is the runtime's business
//! app:staff     a name, which /etc/passwd may have a number for
//! ```

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::limits;
use crate::unpack::open_inside;

/// Whom an image names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// A number.
    Id(u32),
    /// A name, and the number that the image has for it.
    Name(String, Option<u32>),
}

// === impl User ===

impl User {
    /// Reads `User`, and looks a name up in the image's files, where it has any. Nothing where the
    /// image names nobody. Reads a file: not to be called where tasks run.
    ///
    /// # Errors
    /// When `/etc/passwd` is there and cannot be read, or is larger than any.
    pub fn of(text: &str, root: Option<&Path>) -> io::Result<Option<Self>> {
        let name = text.split(':').next().unwrap_or_default();
        if name.is_empty() {
            return Ok(None);
        }
        if let Ok(number) = name.parse() {
            return Ok(Some(Self::Id(number)));
        }
        let passwd = match root {
            Some(root) => passwd(root)?,
            None => String::new(),
        };
        let number = passwd.lines().find_map(|line| number(line, name));
        Ok(Some(Self::Name(name.to_owned(), number)))
    }
}

/// The number in a line of `/etc/passwd` that is this name's: `name:password:number:…`.
fn number(line: &str, name: &str) -> Option<u32> {
    let mut fields = line.split(':');
    let is_it = fields.next() == Some(name);
    let number = fields.nth(1).filter(|_| is_it)?;
    number.parse().ok()
}

/// The image's users; none where it has no such file.
fn passwd(root: &Path) -> io::Result<String> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, flags, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match open_inside(&root, Path::new("/etc/passwd"), flags) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(String::new()),
        other => File::from(other?),
    };
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(limits::PASSWD + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limits::PASSWD {
        let why = format!(
            "the image's /etc/passwd is larger than {} bytes",
            limits::PASSWD
        );
        return Err(io::Error::other(why));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_or_names_that_the_image_knows() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        std::fs::create_dir(root.join("etc")).expect("made");
        let passwd = "root:x:0:0:root:/:/bin/sh\n\napp:x:1000:50::/:\nbad:x:-1:0::/:\nshort:x\n";
        std::fs::write(root.join("etc/passwd"), passwd).expect("written");
        let name = |name: &str, number| Some(User::Name(name.to_owned(), number));
        let cases = [
            ("", None),
            (":50", None),
            ("1000", Some(User::Id(1000))),
            ("1000:50", Some(User::Id(1000))),
            ("0", Some(User::Id(0))),
            ("app:staff", name("app", Some(1000))),
            ("root", name("root", Some(0))),
            ("ap", name("ap", None)),
            ("bad", name("bad", None)),
            ("short", name("short", None)),
            ("4294967296", name("4294967296", None)),
        ];
        for (text, wanted) in cases {
            assert_eq!(User::of(text, Some(root)).expect("read"), wanted, "{text}");
        }
        assert_eq!(User::of("app", None).expect("no files"), name("app", None));
    }

    #[test]
    fn the_file_of_users_is_the_images_own_and_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("etc")).expect("made");
        std::fs::write(folder.path().join("passwd"), "app:x:7:7::/:").expect("written");
        let users = || User::of("app", Some(&root));
        let unknown = Some(User::Name("app".to_owned(), None));
        std::os::unix::fs::symlink("../../passwd", root.join("etc/passwd")).expect("linked");
        assert_eq!(users().expect("nothing outside"), unknown);
        std::fs::remove_file(root.join("etc/passwd")).expect("deleted");
        std::fs::create_dir(root.join("etc/passwd")).expect("made");
        assert_eq!(users().expect("no file"), unknown);
        std::fs::remove_dir(root.join("etc/passwd")).expect("deleted");
        let large = File::create(root.join("etc/passwd")).expect("made");
        large.set_len(limits::PASSWD + 1).expect("longer");
        let error = users().expect_err("too large");
        assert!(error.to_string().contains("larger than"), "{error}");
    }
}
