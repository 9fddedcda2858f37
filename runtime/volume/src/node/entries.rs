//! Making, removing, renaming and linking names.
//!
//! The names given to the kernel are single ones relative to an open directory, and all these
//! calls act on the name itself: none of them follows a link. A trailing slash is passed on where
//! the kernel gives it its meaning without following.

use std::ffi::OsString;

use rustix::fs::{self, AtFlags, Mode};

use super::{Node, refuse_new};
use crate::FsError;
use crate::path::PATH_LIMIT;
use crate::stat::FileKind;
use crate::walk::{Entry, Leaf, Walk};

/// A name to be changed: never a place of the mount tree.
struct Name {
    entry: Entry,
    /// The path ended in a slash.
    directory: bool,
}

impl Node {
    /// Makes a directory.
    ///
    /// # Errors
    /// Those that all share, and: exist; no-entry for its parent.
    pub fn create_directory_at(&self, path: &str) -> Result<(), FsError> {
        let name = self.new_name(path)?;
        let entry = &name.entry;
        refuse_new(entry, self.is_read_only(entry.parent.mount))?;
        let parent = entry.parent.make(self.0.table.table())?;
        self.volume(entry.parent.mount)?.entering(|| {
            Ok(fs::mkdirat(
                &parent,
                &entry.name,
                Mode::from_raw_mode(0o777),
            )?)
        })
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// Those that all share, and: not-empty; not-directory; invalid for `.`.
    pub fn remove_directory_at(&self, path: &str) -> Result<(), FsError> {
        let mut walk = self.walk(path)?;
        let entry = match walk.leaf()? {
            Leaf::Directory { named: true, .. } => return Err(FsError::Busy),
            Leaf::Directory { named: false, .. } => return Err(FsError::Invalid),
            Leaf::Entry(entry) => entry,
        };
        match entry.kind()? {
            None => return Err(FsError::NoEntry),
            Some(FileKind::Directory) => {}
            // With a slash the path names what the link leads to; where that is is told first.
            Some(FileKind::SymbolicLink) if walk.directory => {
                walk.follow(&entry)?;
                walk.leaf_following()?;
                return Err(FsError::NotDirectory);
            }
            Some(_) => return Err(FsError::NotDirectory),
        }
        self.refuse_change(&entry)?;
        let parent = entry.directory()?;
        self.volume(entry.parent.mount)?
            .leaving(parent, &entry.name, || {
                Ok(fs::unlinkat(parent, &entry.name, AtFlags::REMOVEDIR)?)
            })
    }

    /// Removes a name of a file or link.
    ///
    /// # Errors
    /// Those that all share, and: is-directory; not-directory for a file with a slash.
    pub fn unlink_file_at(&self, path: &str) -> Result<(), FsError> {
        let name = match self.name(path)? {
            Ok(name) => name,
            Err(_) => return Err(FsError::IsDirectory),
        };
        match name.entry.kind()? {
            None => return Err(FsError::NoEntry),
            Some(FileKind::Directory) => return Err(FsError::IsDirectory),
            Some(_) if name.directory => return Err(FsError::NotDirectory),
            Some(_) => {}
        }
        self.refuse_change(&name.entry)?;
        let parent = name.entry.directory()?;
        self.volume(name.entry.parent.mount)?
            .leaving(parent, &name.entry.name, || {
                Ok(fs::unlinkat(parent, &name.entry.name, AtFlags::empty())?)
            })
    }

    /// Gives what is at `old` the name `new` relative to `new_dir`, in place of what is there.
    ///
    /// # Errors
    /// Those that all share, and: cross-device from one mount to another; is-directory,
    /// not-directory and not-empty if what is there does not allow it; invalid for `.` or a
    /// directory below itself.
    pub fn rename_at(&self, old: &str, new_dir: &Self, new: &str) -> Result<(), FsError> {
        let from = self.name(old)?.map_err(unmovable)?;
        if from.entry.kind()?.is_none() {
            return Err(FsError::NoEntry);
        }
        let to = new_dir.name(new)?.map_err(unmovable)?;
        self.refuse_across(new_dir, &from.entry, &to.entry)?;
        self.refuse_change(&from.entry)?;
        self.refuse_change(&to.entry)?;
        let parent = to.entry.parent.make(self.0.table.table())?;
        let directory = from.entry.directory()?;
        self.volume(to.entry.parent.mount)?.leaving(
            std::os::fd::AsFd::as_fd(&parent),
            &to.entry.name,
            || {
                Ok(fs::renameat(
                    directory,
                    from.with_slash(),
                    &parent,
                    to.with_slash(),
                )?)
            },
        )
    }

    /// Gives the file at `old` a second name. A link there is linked itself, or followed if asked.
    ///
    /// # Errors
    /// Those that all share, and: cross-device from one mount to another, or of a mounted file;
    /// not-permitted for a directory; exist.
    pub fn link_at(
        &self,
        old: &str,
        follow: bool,
        new_dir: &Self,
        new: &str,
    ) -> Result<(), FsError> {
        let from = match self.find(old, follow)? {
            Leaf::Directory { .. } => return Err(FsError::NotPermitted),
            Leaf::Entry(entry) => entry,
        };
        match from.kind()? {
            None => return Err(FsError::NoEntry),
            Some(FileKind::Directory) => return Err(FsError::NotPermitted),
            Some(_) => {}
        }
        let to = new_dir.new_name(new)?;
        if from.mounted {
            return Err(FsError::CrossDevice);
        }
        self.refuse_across(new_dir, &from, &to.entry)?;
        refuse_new(&to.entry, self.is_read_only(to.entry.parent.mount))?;
        let parent = to.entry.parent.make(self.0.table.table())?;
        let directory = from.directory()?;
        self.volume(to.entry.parent.mount)?.entering(|| {
            Ok(fs::linkat(
                directory,
                &from.name,
                &parent,
                to.with_slash(),
                AtFlags::empty(),
            )?)
        })
    }

    /// Makes a link to `target`, which need not exist.
    ///
    /// # Errors
    /// Those that all share, and: not-permitted for an absolute target; exist.
    pub fn symlink_at(&self, target: &str, path: &str) -> Result<(), FsError> {
        if target.starts_with('/') {
            return Err(FsError::NotPermitted);
        }
        if target.contains('\0') {
            return Err(FsError::Invalid);
        }
        if target.len() > PATH_LIMIT {
            return Err(FsError::NameTooLong);
        }
        let name = self.new_name(path)?;
        let entry = &name.entry;
        refuse_new(entry, self.is_read_only(entry.parent.mount))?;
        let parent = entry.parent.make(self.0.table.table())?;
        self.volume(entry.parent.mount)?
            .entering(|| Ok(fs::symlinkat(target, &parent, name.with_slash())?))
    }

    /// The name at the end of a path, or, as `Err`, whether the directory there is one that had to
    /// be entered by name.
    fn name(&self, path: &str) -> Result<Result<Name, bool>, FsError> {
        let mut walk: Walk<'_> = self.walk(path)?;
        Ok(match walk.leaf()? {
            Leaf::Directory { named, .. } => Err(named),
            Leaf::Entry(entry) => Ok(Name {
                entry,
                directory: walk.directory,
            }),
        })
    }

    /// The name at the end of a path where something is to be made.
    fn new_name(&self, path: &str) -> Result<Name, FsError> {
        let name = self.name(path)?.map_err(|_| FsError::Exist)?;
        if name.entry.mounted {
            Err(FsError::Exist)
        } else {
            Ok(name)
        }
    }

    /// What stands in the way of taking away a name.
    fn refuse_change(&self, entry: &Entry) -> Result<(), FsError> {
        if entry.mounted {
            Err(FsError::Busy)
        } else if self.is_read_only(entry.parent.mount) {
            Err(FsError::ReadOnly)
        } else {
            Ok(())
        }
    }

    fn refuse_across(&self, other: &Self, from: &Entry, to: &Entry) -> Result<(), FsError> {
        let one_mount = self.0.table.is(&other.0.table) && from.parent.mount == to.parent.mount;
        if one_mount || from.mounted || to.mounted {
            Ok(())
        } else {
            Err(FsError::CrossDevice)
        }
    }
}

// === impl Name ===

impl Name {
    fn with_slash(&self) -> OsString {
        let mut name = self.entry.name.clone();
        if self.directory {
            name.push("/");
        }
        name
    }
}

/// Why a directory that had to be entered cannot be renamed or replaced.
fn unmovable(named: bool) -> FsError {
    if named {
        FsError::Busy
    } else {
        FsError::Invalid
    }
}
