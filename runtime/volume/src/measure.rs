//! What a directory tree holds, and how a tree is removed: both relative to open directories,
//! never through a link, with a bounded number of descriptors however deep a guest has nested.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::limit::{Inode, Measure};

/// How deep a tree is followed at once; each level holds a descriptor.
const DEPTH: usize = 32;
/// Most passes over a tree that will not become empty: each removes or lifts something, and no
/// file system of ours nests a million deep.
const PASSES: usize = 1 << 15;
/// Most files with several names that a count remembers.
const LINKED: usize = 1 << 16;

/// How a directory is opened to look into it.
const LOOK: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Counts bytes and entries below a directory. `None` if it is nested deeper than [`DEPTH`] or
/// cannot be read: a wrong figure would be worse than none.
pub(crate) fn measure(directory: BorrowedFd<'_>) -> Option<Measure> {
    let mut found = Measure::default();
    let mut linked = HashSet::new();
    measure_level(directory, DEPTH, &mut found, &mut linked)?;
    Some(found)
}

/// Counts one file.
pub(crate) fn measure_file(directory: BorrowedFd<'_>, name: &OsStr) -> Option<Measure> {
    let stat = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(Measure {
        bytes: u64::try_from(stat.st_size).unwrap_or(0),
        entries: 1,
    })
}

fn measure_level(
    directory: BorrowedFd<'_>,
    depth: usize,
    found: &mut Measure,
    linked: &mut HashSet<Inode>,
) -> Option<()> {
    for entry in list(directory).ok()? {
        let entry = entry.ok()?;
        if is_dots(entry.file_name().to_bytes()) {
            continue;
        }
        let stat = match fs::statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat.ok()?,
        };
        found.entries += 1;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let below = fs::openat(directory, entry.file_name(), LOOK, Mode::empty()).ok()?;
                measure_level(below.as_fd(), depth.checked_sub(1)?, found, linked)?;
            }
            FileType::RegularFile => {
                let again = stat.st_nlink > 1 && !linked.insert((stat.st_dev, stat.st_ino));
                if !again {
                    found.bytes = found
                        .bytes
                        .saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
                }
                if linked.len() > LINKED {
                    return None;
                }
            }
            _ => {}
        }
    }
    Some(())
}

/// Removes `name` in `parent` with everything below it. That it is absent is no error.
///
/// What is nested too deeply is first lifted to the top of the tree, under a name of its own. A
/// directory of ours that its owner may not change is given the mode for that.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let mut lifted = 0;
    for _ in 0..PASSES {
        match fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // EPERM is what POSIX has for a directory.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
        let top = enter(parent, name)?;
        empty_level(&top, &top, DEPTH, &mut lifted)?;
        match fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::NOTEMPTY.into())
}

fn empty_level(
    top: &OwnedFd,
    directory: &OwnedFd,
    depth: usize,
    lifted: &mut u64,
) -> io::Result<()> {
    for entry in list(directory.as_fd())? {
        let entry = entry?;
        let name = entry.file_name();
        if is_dots(name.to_bytes()) {
            continue;
        }
        match fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
        if depth == 0 {
            // Lifting changes where its `..` leads.
            enter(directory.as_fd(), os_name(name))?;
            *lifted += 1;
            match fs::renameat(directory, name, top, format!("..lifted.{lifted}")) {
                // A guest may have used the name; the next pass has another one.
                Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::NOENT) => {
                    continue;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        let below = enter(directory.as_fd(), os_name(name))?;
        empty_level(top, &below, depth - 1, lifted)?;
        match fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Opens a directory whose entries are to go, and sees to it that its mode permits that: whoever
/// wrote there may have taken all rights away.
fn enter(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    match fs::openat(parent, name, LOOK, Mode::empty()) {
        Ok(found) => {
            if is_shut_to_us(&fs::fstat(&found)?) {
                fs::fchmod(&found, Mode::RWXU)?;
            }
            return Ok(found);
        }
        Err(Errno::ACCESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    // Good for nothing but its mode: what may not be read can be opened so.
    let found = fs::openat(parent, name, LOOK | OFlags::PATH, Mode::empty())?;
    if !is_shut_to_us(&fs::fstat(&found)?) {
        return Err(Errno::ACCESS.into());
    }
    let by_descriptor = format!("/proc/self/fd/{}", found.as_raw_fd());
    fs::chmod(by_descriptor, Mode::RWXU)?;
    Ok(fs::openat(parent, name, LOOK, Mode::empty())?)
}

/// Whether a directory is ours, and its mode keeps us from listing or changing it.
fn is_shut_to_us(stat: &fs::Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
        && !Mode::from_raw_mode(stat.st_mode).contains(Mode::RWXU)
}

/// Opens a directory to read its entries. The open one may be good for look-ups only.
pub(crate) fn list(directory: BorrowedFd<'_>) -> Result<Dir, Errno> {
    Dir::new(fs::openat(directory, ".", LOOK, Mode::empty())?)
}

/// Whether a name is `.` or `..`.
pub(crate) fn is_dots(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

/// A name of the kernel as the standard library has it.
pub(crate) fn os_name(name: &std::ffi::CStr) -> &OsStr {
    OsStr::from_bytes(name.to_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        fs::open(path, LOOK, Mode::empty()).unwrap()
    }

    #[test]
    fn counts_each_object_once_and_holes_as_filled() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        std::fs::create_dir(root.join("d")).unwrap();
        std::fs::write(root.join("d/a"), [0; 10]).unwrap();
        std::fs::hard_link(root.join("d/a"), root.join("b")).unwrap();
        std::fs::File::create(root.join("hole"))
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        symlink("d", root.join("link")).unwrap();
        assert_eq!(
            measure(open(root).as_fd()),
            Some(Measure {
                bytes: (1 << 30) + 10,
                entries: 5
            })
        );
    }

    #[test]
    fn removes_without_following() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        std::fs::create_dir_all(root.join("outside/kept")).unwrap();
        std::fs::write(root.join("outside/file"), "kept").unwrap();
        std::fs::create_dir_all(root.join("tree/a/b")).unwrap();
        symlink("../../outside", root.join("tree/a/link")).unwrap();
        symlink(root.join("outside"), root.join("tree/absolute")).unwrap();
        remove_tree(open(root).as_fd(), OsStr::new("tree")).unwrap();
        assert!(!root.join("tree").exists());
        assert!(root.join("outside/kept").exists() && root.join("outside/file").exists());

        symlink("outside", root.join("only-a-link")).unwrap();
        remove_tree(open(root).as_fd(), OsStr::new("only-a-link")).unwrap();
        assert!(root.join("outside/kept").exists());
        remove_tree(open(root).as_fd(), OsStr::new("absent")).unwrap();
    }

    /// Root may enter it anyway; `left_behind` of the tests from outside does this as another user.
    #[test]
    fn removes_what_its_owner_may_not_enter() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        for (mode, depth) in [(0, 1), (0o300, 1), (0o400, 1), (0o500, 1), (0, 2 * DEPTH)] {
            let inner = root.join("tree").join("d/".repeat(depth));
            std::fs::create_dir_all(inner.join("below")).unwrap();
            std::fs::write(inner.join("file"), "text").unwrap();
            for path in inner.ancestors().take_while(|path| *path != root) {
                let mode = std::fs::Permissions::from_mode(mode);
                std::fs::set_permissions(path, mode).unwrap();
            }
            remove_tree(open(root).as_fd(), OsStr::new("tree")).unwrap();
            assert!(!root.join("tree").exists(), "{mode:o}");
        }
    }

    #[test]
    fn depth_costs_no_descriptors() {
        let scratch = tempfile::tempdir().unwrap();
        let mut at = open(scratch.path());
        for level in 0..3000 {
            let name = if level == 0 { "tree" } else { "d" };
            fs::mkdirat(&at, name, Mode::RWXU).unwrap();
            at = fs::openat(&at, name, LOOK, Mode::empty()).unwrap();
        }
        let top = open(scratch.path());
        assert_eq!(measure(top.as_fd()), None);
        remove_tree(top.as_fd(), OsStr::new("tree")).unwrap();
        assert_eq!(measure(top.as_fd()), Some(Measure::default()));
    }
}
