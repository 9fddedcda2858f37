//! The user of an image: its configuration's `User`, looked up in the image's own `/etc/passwd` and
//! `/etc/group`.
//!
//! ```text
//! ""            nobody in particular
//! 1000, 1000:50 numbers, which may be anybody's
//! app:staff     names, which those files may have numbers for
//! ```
//!
//! Which number a group has makes no difference to a guest: only one that there is not is told.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::limits;
use crate::unpack::open_inside;

/// Whom an image names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub name: UserName,
    /// Its group, where that is a name that the image has no number for.
    pub unknown_group: Option<String>,
}

/// How a user is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserName {
    /// A number.
    Id(u32),
    /// A name, and the number that the image has for it.
    Name(String, Option<u32>),
}

// === impl User ===

impl User {
    /// Reads `User`, and looks names up in the image's files, where it has any. Nothing where the
    /// image names nobody. Reads files: not to be called where tasks run.
    ///
    /// # Errors
    /// When one of them is there and cannot be read, or is larger than any.
    pub fn of(text: &str, root: Option<&Path>) -> io::Result<Option<Self>> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() {
            return Ok(None);
        }
        let name = match user.parse() {
            Ok(number) => UserName::Id(number),
            Err(_) => UserName::Name(user.to_owned(), look_up(root, "/etc/passwd", user)?),
        };
        let is_known = group.is_empty()
            || group.parse::<u32>().is_ok()
            || look_up(root, "/etc/group", group)?.is_some();
        let unknown_group = (!is_known).then(|| group.to_owned());
        Ok(Some(Self {
            name,
            unknown_group,
        }))
    }
}

/// The number that one of the image's files has for a name.
fn look_up(root: Option<&Path>, file: &str, name: &str) -> io::Result<Option<u32>> {
    let Some(root) = root else {
        return Ok(None);
    };
    let text = read(root, file)?;
    Ok(text.lines().find_map(|line| number(line, name)))
}

/// The number in a line of either file that is this name's: `name:password:number:…`.
fn number(line: &str, name: &str) -> Option<u32> {
    let mut fields = line.split(':');
    let is_it = fields.next() == Some(name);
    let number = fields.nth(1).filter(|_| is_it)?;
    number.parse().ok()
}

/// A file of the image's; nothing where it has none.
fn read(root: &Path, path: &str) -> io::Result<String> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, flags, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match open_inside(&root, Path::new(path), flags) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(String::new()),
        other => File::from(other?),
    };
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(limits::USERS + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limits::USERS {
        let why = format!("the image's {path} is larger than {} bytes", limits::USERS);
        return Err(io::Error::other(why));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a user of this name and number is told, without a group that is missing.
    fn named(name: &str, number: Option<u32>) -> Option<User> {
        Some(User {
            name: UserName::Name(name.to_owned(), number),
            unknown_group: None,
        })
    }

    fn numbered(number: u32) -> Option<User> {
        Some(User {
            name: UserName::Id(number),
            unknown_group: None,
        })
    }

    /// The same with a group that the image does not have.
    fn without(group: &str, user: Option<User>) -> Option<User> {
        let unknown_group = Some(group.to_owned());
        user.map(|user| User {
            unknown_group,
            ..user
        })
    }

    #[test]
    fn users_and_groups_are_numbers_or_names_that_the_image_knows() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        std::fs::create_dir(root.join("etc")).expect("made");
        let passwd = "root:x:0:0:root:/:/bin/sh\n\napp:x:1000:50::/:\nbad:x:-1:0::/:\nshort:x\n";
        std::fs::write(root.join("etc/passwd"), passwd).expect("written");
        let group = "staff:x:50:app,ada\nwheel:x:::\n";
        std::fs::write(root.join("etc/group"), group).expect("written");
        let app = || named("app", Some(1000));
        let cases = [
            ("", None),
            (":50", None),
            ("1000", numbered(1000)),
            ("1000:50", numbered(1000)),
            ("1000:", numbered(1000)),
            ("1000:staff", numbered(1000)),
            ("1000:nogrp", without("nogrp", numbered(1000))),
            ("1000:50:50", without("50:50", numbered(1000))),
            ("0", numbered(0)),
            ("app:7", app()),
            ("app:staff", app()),
            ("app:app", without("app", app())),
            ("app:wheel", without("wheel", app())),
            ("app:4294967296", without("4294967296", app())),
            ("root", named("root", Some(0))),
            ("ap", named("ap", None)),
            ("ap:nogrp", without("nogrp", named("ap", None))),
            ("bad", named("bad", None)),
            ("short", named("short", None)),
            ("4294967296", named("4294967296", None)),
        ];
        for (text, wanted) in cases {
            assert_eq!(User::of(text, Some(root)).expect("read"), wanted, "{text}");
        }
        assert_eq!(User::of("app", None).expect("no files"), named("app", None));
        let found = User::of("7:staff", None).expect("no files");
        assert_eq!(found, without("staff", numbered(7)));
    }

    #[test]
    fn the_files_of_users_are_the_images_own_and_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("etc")).expect("made");
        std::fs::write(folder.path().join("passwd"), "app:x:7:7::/:").expect("written");
        let users = || User::of("app", Some(&root));
        let unknown = named("app", None);
        std::os::unix::fs::symlink("../../passwd", root.join("etc/passwd")).expect("linked");
        assert_eq!(users().expect("nothing outside"), unknown);
        std::fs::remove_file(root.join("etc/passwd")).expect("deleted");
        std::fs::create_dir(root.join("etc/passwd")).expect("made");
        assert_eq!(users().expect("no file"), unknown);
        std::fs::remove_dir(root.join("etc/passwd")).expect("deleted");
        let large = File::create(root.join("etc/passwd")).expect("made");
        large.set_len(limits::USERS + 1).expect("longer");
        let error = users().expect_err("too large");
        assert!(error.to_string().contains("larger than"), "{error}");
    }
}
