//! Names in directories below one root, which no link leads out of.
//!
//! Directories are opened with `openat2` and RESOLVE_IN_ROOT: links in a layer mean what they would
//! mean to whoever has the root as `/`. Nobody else writes below the root meanwhile.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT,
    chmodat, fchmod, futimens, linkat, mkdirat, openat, openat2, readlinkat, statat, symlinkat,
    unlinkat,
};
use rustix::io::Errno;

use super::added::{Added, too_many};
use crate::limits;

/// How often a path is opened while others rename.
const TRIES: u32 = 64;

/// The most links to nothing that are followed on the way to a directory; the kernel has the same.
const LINKS: u32 = 40;

/// A file, or a link to one, where a directory should be, on its way through an error of the standard
/// library.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is a file, or a link to one")]
pub(super) struct InTheWay(pub(super) String);

/// A root.
pub(super) struct Place {
    root: OwnedFd,
    /// How many names lie above the root.
    above: usize,
    /// Entries, and directories made for them.
    entries: u64,
    limit: u64,
}

/// What is next on a path that is made.
enum Next {
    Directory(OwnedFd),
    Nothing,
    /// A link to nothing, with its target.
    Link(Vec<u8>),
}

// === impl Place ===

impl Place {
    pub(super) fn open(directory: &Path, limit: u64) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let root = openat(CWD, directory, flags, Mode::empty())?;
        let above = depth(&root)?;
        Ok(Self {
            root,
            above,
            entries: 0,
            limit,
        })
    }

    /// Counts an entry, or a directory that is made for one: one entry can have some hundred.
    pub(super) fn count(&mut self) -> io::Result<()> {
        self.entries += 1;
        match self.entries > self.limit {
            true => Err(too_many(self.limit)),
            false => Ok(()),
        }
    }

    /// A directory, made if it is not there; its mode is as it says, and its owner's in any case.
    pub(super) fn directory(
        &mut self,
        parents: &[OsString],
        name: &OsStr,
        mode: u32,
    ) -> io::Result<()> {
        let parent = self.parent(parents)?;
        let mode = Mode::from_raw_mode(mode & 0o777 | 0o700);
        if kind(&parent, name)? != Some(FileType::Directory) {
            self.make_way(&parent, name)?;
            self.make_directory(&parent, name)?;
        }
        Ok(chmodat(&parent, name, mode, AtFlags::empty())?)
    }

    /// A new file, opened for writing; its owner may read and write it in any case.
    pub(super) fn file(
        &mut self,
        parents: &[OsString],
        name: &OsStr,
        mode: u32,
    ) -> io::Result<File> {
        let parent = self.parent(parents)?;
        self.make_way(&parent, name)?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&parent, name, flags, Mode::from_raw_mode(0o600))?;
        fchmod(&file, Mode::from_raw_mode(mode & 0o777 | 0o600))?;
        Ok(File::from(file))
    }

    /// A symbolic link, to wherever.
    pub(super) fn link(
        &mut self,
        parents: &[OsString],
        name: &OsStr,
        target: &OsStr,
    ) -> io::Result<()> {
        let parent = self.parent(parents)?;
        self.make_way(&parent, name)?;
        Ok(symlinkat(target, &parent, name)?)
    }

    /// A further name of a file that is there.
    pub(super) fn hard_link(
        &mut self,
        parents: &[OsString],
        name: &OsStr,
        target: &[OsString],
    ) -> io::Result<()> {
        let Some((of, of_parents)) = target.split_last() else {
            return Err(io::Error::other("a hard link to the root"));
        };
        if target.len() == parents.len() + 1 && of == name && of_parents == parents {
            return Ok(());
        }
        let of_parent = self.opened(of_parents)?;
        if !matches!(
            kind(&of_parent, of)?,
            Some(FileType::RegularFile | FileType::Symlink)
        ) {
            return Err(io::Error::other(
                "a hard link to what is no file of the image",
            ));
        }
        let parent = self.parent(parents)?;
        let same = |one: &OwnedFd, other: &OwnedFd| -> io::Result<bool> {
            let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
            Ok(one.st_ino == other.st_ino && one.st_dev == other.st_dev)
        };
        if of == name && same(&of_parent, &parent)? {
            return Ok(());
        }
        self.make_way(&parent, name)?;
        Ok(linkat(&of_parent, of, &parent, name, AtFlags::empty())?)
    }

    /// Takes a name away, and all below it, if it is there.
    pub(super) fn remove(&self, parents: &[OsString], name: &OsStr) -> io::Result<()> {
        match self.opened(parents) {
            Ok(parent) => self.make_way(&parent, name),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes away all in a directory, but what this layer has added.
    pub(super) fn clear(&self, path: &[OsString], added: &mut Added) -> io::Result<()> {
        match self.opened(path) {
            Ok(directory) => self.clear_below(directory, &mut path.to_vec(), added),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The same of an open one, one descriptor for each directory on the way: real depth is bounded.
    /// Entries are taken as they are read, for there may be more than there is memory.
    fn clear_below(
        &self,
        directory: OwnedFd,
        path: &mut Vec<OsString>,
        added: &mut Added,
    ) -> io::Result<()> {
        if !added.begins_to_clear(rustix::fs::fstat(&directory)?.st_ino) {
            return Ok(());
        }
        let mut entries = Dir::new(directory)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let directory = entries.fd()?;
            path.push(name.to_owned());
            if !added.contains(path) {
                self.make_way(directory, name)?;
            } else if kind(directory, name)? == Some(FileType::Directory) {
                let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                let below = openat(directory, name, flags, Mode::empty())?;
                self.clear_below(below, path, added)?;
            }
            path.pop();
        }
        Ok(())
    }

    /// The directory at a path, made where it is missing, that which a link leads to as well.
    fn parent(&mut self, path: &[OsString]) -> io::Result<OwnedFd> {
        let (directory, there) = self.longest(path)?;
        match there == path.len() {
            true => Ok(directory),
            false => self.make_rest(path.to_vec(), there, directory),
        }
    }

    /// The directory at the longest beginning of a path that is there, and how many names that has.
    fn longest(&self, path: &[OsString]) -> io::Result<(OwnedFd, usize)> {
        let mut there = path.len();
        loop {
            match self.opened(beginning(path, there)) {
                Ok(directory) => return Ok((directory, there)),
                Err(error) if there > 0 && error.kind() == io::ErrorKind::NotFound => there -= 1,
                Err(error) => return Err(self.in_the_way(path, error)),
            }
        }
    }

    /// Makes what is missing of a path, of whose names this many lead to `directory`.
    fn make_rest(
        &mut self,
        mut path: Vec<OsString>,
        mut there: usize,
        mut directory: OwnedFd,
    ) -> io::Result<OwnedFd> {
        let mut links = 0;
        while let Some(name) = path.get(there) {
            match self.next(&directory, beginning(&path, there + 1), name)? {
                Next::Directory(next) => {
                    directory = next;
                    there += 1;
                }
                Next::Nothing => {
                    self.count()?;
                    self.make_directory(&directory, name)?;
                }
                Next::Link(_) if links == LINKS => return Err(Errno::LOOP.into()),
                Next::Link(target) => {
                    links += 1;
                    path = self.followed(&path, there, &target)?;
                    // What is relative goes on in the directory that the link is in.
                    if target.starts_with(b"/") {
                        directory = self.opened(&[])?;
                        there = 0;
                    }
                }
            }
        }
        Ok(directory)
    }

    /// What is at a path whose last name is in `directory`.
    fn next(&self, directory: &OwnedFd, path: &[OsString], name: &OsStr) -> io::Result<Next> {
        match self.opened(path) {
            Ok(next) => return Ok(Next::Directory(next)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(self.in_the_way(path, error)),
        }
        if kind(directory, name)?.is_none() {
            return Ok(Next::Nothing);
        }
        // What has a name and leads to nothing is a link.
        let target = readlinkat(directory, name, Vec::new())?;
        Ok(Next::Link(target.into_bytes()))
    }

    /// A path with a link's target in the link's place, from the root where the target is. Its names
    /// count: a small layer could have us follow long links for ever.
    fn followed(
        &mut self,
        path: &[OsString],
        at: usize,
        target: &[u8],
    ) -> io::Result<Vec<OsString>> {
        let mut followed = match target.starts_with(b"/") {
            true => Vec::new(),
            false => beginning(path, at).to_vec(),
        };
        let names = target.split(|byte| *byte == b'/');
        for name in names.filter(|name| !name.is_empty() && *name != b".") {
            self.count()?;
            followed.push(OsStr::from_bytes(name).to_owned());
        }
        followed.extend(path.iter().skip(at + 1).cloned());
        match followed.len() > limits::DEPTH {
            true => Err(too_deep()),
            false => Ok(followed),
        }
    }

    /// The error of a path that has a file on it, with which one that is.
    fn in_the_way(&self, path: &[OsString], error: io::Error) -> io::Error {
        let is_file = |length: &usize| {
            let opened = self.opened(beginning(path, *length));
            opened.is_err_and(|error| error.kind() == io::ErrorKind::NotADirectory)
        };
        match (1..=path.len()).find(is_file) {
            Some(length) => {
                let file = super::path::shown(beginning(path, length));
                io::Error::other(InTheWay(file))
            }
            None => error,
        }
    }

    fn opened(&self, path: &[OsString]) -> io::Result<OwnedFd> {
        let path: PathBuf = path.iter().collect();
        let path = match path.as_os_str().is_empty() {
            true => Path::new("."),
            false => &path,
        };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(open_inside(&self.root, path, flags)?)
    }

    /// Links can make a path deeper than its text: what is really there is bounded here, so that
    /// whoever walks it later need not fear for its stack.
    fn make_directory(&self, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        if depth(parent)?.saturating_sub(self.above) >= limits::DEPTH {
            return Err(too_deep());
        }
        Ok(mkdirat(parent, name, Mode::from_raw_mode(0o755))?)
    }

    /// Takes away whatever has a name.
    fn make_way(&self, parent: impl AsFd, name: &OsStr) -> io::Result<()> {
        let parent = parent.as_fd();
        match kind(parent, name)? {
            None => Ok(()),
            Some(FileType::Directory) => {
                // The library walks it by descriptors and follows no link.
                let path = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
                fs::remove_dir_all(path.join(name))
            }
            Some(_) => Ok(unlinkat(parent, name, AtFlags::empty())?),
        }
    }
}

/// Opens a path as if the root were `/`. The kernel gives up where anything on this machine is
/// renamed at that moment, and asks to be asked again.
pub(crate) fn open_inside(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 1..TRIES {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    openat2(root, path, flags, Mode::empty(), resolve)
}

/// When a file was last changed, as its layer says. One that cannot be dated is younger.
pub(super) fn set_modified(file: &File, seconds: u64) {
    let omitted = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    let modified = Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or_default(),
        tv_nsec: 0,
    };
    let _ = futimens(
        file,
        &Timestamps {
            last_access: omitted,
            last_modification: modified,
        },
    );
}

/// The first names of a path.
fn beginning(path: &[OsString], length: usize) -> &[OsString] {
    path.get(..length).unwrap_or(path)
}

fn too_deep() -> io::Error {
    io::Error::other("directories deeper than any that are of use")
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// What has a name, itself and not what it leads to.
fn kind(parent: impl AsFd, name: &OsStr) -> io::Result<Option<FileType>> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(about) => Ok(Some(FileType::from_raw_mode(about.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How many names a directory's real path has.
fn depth(directory: &OwnedFd) -> io::Result<usize> {
    let path = fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
    Ok(path.components().count())
}
