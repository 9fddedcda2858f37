//! Opening what a path leads to.
//!
//! What is there is looked at before it is opened, because opening a device may already do
//! something, and again afterwards, because somebody may have put another object there meanwhile.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use super::{Body, Node, OpenFile};
use crate::FsError;
use crate::place::Place;
use crate::stat::{FileKind, NodeFlags, OpenOptions};
use crate::walk::{Entry, Leaf, Walk};

/// How often an open starts again because what it looked at was gone when it was opened.
const ATTEMPTS: usize = 16;

/// What one attempt to open an entry came to.
enum Attempt {
    Opened(Node),
    /// There is a link, and it is to be followed.
    Link,
    /// It changed between looking and opening.
    Changed,
}

impl Node {
    /// Opens what is at `path`. Directories and regular files only.
    ///
    /// # Errors
    /// Those that all share, and: no-entry; exist (exclusive); is-directory (a directory for
    /// writing); not-directory; loop (a link that is not to be followed); no-such-device (a FIFO,
    /// socket or device); invalid (a directory to be created or truncated).
    pub fn open_at(
        &self,
        path: &str,
        follow: bool,
        options: &OpenOptions,
    ) -> Result<Self, FsError> {
        if options.directory && (options.create || options.exclusive || options.truncate) {
            return Err(FsError::Invalid);
        }
        self.steadily(|| {
            for _ in 0..ATTEMPTS {
                if let Some(node) = self.open_once(path, follow, options)? {
                    return Ok(node);
                }
            }
            Err(FsError::Busy)
        })
    }

    /// `None` if it changed meanwhile.
    fn open_once(
        &self,
        path: &str,
        follow: bool,
        options: &OpenOptions,
    ) -> Result<Option<Self>, FsError> {
        let mut walk = self.walk(path)?;
        loop {
            let entry = match walk.leaf()? {
                Leaf::Directory { place, .. } => {
                    let path = self.path_of(&walk, None);
                    return self.open_place(place, path, options).map(Some);
                }
                Leaf::Entry(entry) => entry,
            };
            let follow = (follow || walk.directory) && !(options.create && options.exclusive);
            match self.open_entry(&walk, &entry, follow, options)? {
                Attempt::Opened(node) => return Ok(Some(node)),
                Attempt::Link => walk.follow(&entry)?,
                Attempt::Changed => return Ok(None),
            }
        }
    }

    fn open_entry(
        &self,
        walk: &Walk<'_>,
        entry: &Entry,
        follow: bool,
        options: &OpenOptions,
    ) -> Result<Attempt, FsError> {
        let directory = options.directory || walk.directory;
        match entry.kind()? {
            // A mounted file that is gone does not come back through the mount.
            None if !options.create || entry.mounted => Err(FsError::NoEntry),
            None if directory => Err(FsError::IsDirectory),
            None => self.create(walk, entry, options),
            Some(_) if options.create && options.exclusive => Err(FsError::Exist),
            Some(FileKind::SymbolicLink) if follow => Ok(Attempt::Link),
            Some(FileKind::SymbolicLink) => Err(FsError::Loop),
            Some(FileKind::Directory) => self.open_directory(walk, entry, options),
            Some(_) if directory => Err(FsError::NotDirectory),
            Some(FileKind::RegularFile) => self.open_file(walk, entry, options),
            Some(_) => Err(FsError::NoSuchDevice),
        }
    }

    fn create(
        &self,
        walk: &Walk<'_>,
        entry: &Entry,
        options: &OpenOptions,
    ) -> Result<Attempt, FsError> {
        let mount = entry.parent.mount;
        if self.is_read_only(mount) {
            return Err(FsError::ReadOnly);
        }
        let parent = entry.parent.make(self.0.table.table())?;
        let flags = kernel_flags(options) | OFlags::CREATE | OFlags::EXCL;
        let made = self.volume(mount)?.entering(|| {
            let mode = Mode::from_raw_mode(0o666);
            Ok(fs::openat(&parent, &entry.name, flags, mode)?)
        });
        match made {
            Ok(file) => self
                .opened_file(walk, entry, file, options)
                .map(Attempt::Opened),
            Err(FsError::Exist) => Ok(Attempt::Changed),
            Err(error) => Err(error),
        }
    }

    fn open_file(
        &self,
        walk: &Walk<'_>,
        entry: &Entry,
        options: &OpenOptions,
    ) -> Result<Attempt, FsError> {
        if writes(options) && self.is_read_only(entry.parent.mount) {
            return Err(FsError::ReadOnly);
        }
        match fs::openat(
            entry.directory()?,
            &entry.name,
            kernel_flags(options),
            Mode::empty(),
        ) {
            Ok(file) => self
                .opened_file(walk, entry, file, options)
                .map(Attempt::Opened),
            Err(Errno::LOOP | Errno::NOENT | Errno::ISDIR | Errno::NXIO) => Ok(Attempt::Changed),
            Err(errno) => Err(errno.into()),
        }
    }

    fn opened_file(
        &self,
        walk: &Walk<'_>,
        entry: &Entry,
        file: OwnedFd,
        options: &OpenOptions,
    ) -> Result<Self, FsError> {
        let mount = entry.parent.mount;
        let open = OpenFile::new(file, mount, self.volume(mount)?)?;
        if options.truncate {
            open.volume.set_size(open.as_fd(), 0, self.payer())?;
        }
        let flags = NodeFlags {
            read: options.read || !options.write,
            write: writes(options),
            mutate_directory: false,
            file_integrity_sync: options.file_integrity_sync,
            data_integrity_sync: options.data_integrity_sync,
            requested_write_sync: options.requested_write_sync,
        };
        let path = self.path_of(walk, Some(entry));
        Ok(Self::new(&self.0.table, path, flags, Body::File(open)))
    }

    fn open_directory(
        &self,
        walk: &Walk<'_>,
        entry: &Entry,
        options: &OpenOptions,
    ) -> Result<Attempt, FsError> {
        if writes(options) {
            return Err(FsError::IsDirectory);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(entry.directory()?, &entry.name, flags, Mode::empty()) {
            Ok(directory) => {
                self.volume(entry.parent.mount)?.refuse_procfs(&directory)?;
                let place = Place::real(entry.parent.mount, None, Arc::new(directory));
                let path = self.path_of(walk, Some(entry));
                self.open_place(place, path, options).map(Attempt::Opened)
            }
            Err(Errno::LOOP | Errno::NOENT | Errno::NOTDIR) => Ok(Attempt::Changed),
            Err(errno) => Err(errno.into()),
        }
    }

    fn open_place(
        &self,
        place: Place,
        path: String,
        options: &OpenOptions,
    ) -> Result<Self, FsError> {
        if options.create && options.exclusive {
            return Err(FsError::Exist);
        }
        if writes(options) {
            return Err(FsError::IsDirectory);
        }
        let flags = NodeFlags {
            read: true,
            mutate_directory: options.mutate_directory && !self.is_read_only(place.mount),
            ..NodeFlags::default()
        };
        Ok(Self::new(
            &self.0.table,
            path,
            flags,
            Body::Directory(place),
        ))
    }

    fn path_of(&self, walk: &Walk<'_>, entry: Option<&Entry>) -> String {
        let (from_root, names) = walk.names();
        let mut path = if from_root {
            "/".to_owned()
        } else {
            self.0.path.clone()
        };
        let last = entry.map(|entry| entry.name.to_string_lossy());
        for name in [Some(names.as_str()), last.as_deref()]
            .into_iter()
            .flatten()
            .filter(|name| !name.is_empty())
        {
            if !path.ends_with('/') {
                path.push('/');
            }
            path.push_str(name);
        }
        path
    }
}

/// Whether the file has to be open for writing.
fn writes(options: &OpenOptions) -> bool {
    options.write || options.create || options.truncate
}

fn kernel_flags(options: &OpenOptions) -> OFlags {
    let access = match (options.read || !options.write, writes(options)) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        (_, false) => OFlags::RDONLY,
    };
    let mut flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if options.file_integrity_sync || options.requested_write_sync {
        flags |= OFlags::SYNC;
    }
    if options.data_integrity_sync {
        flags |= OFlags::DSYNC;
    }
    flags
}

/// Opens a directory again, to read its entries or to sync it: the open one may be good for
/// look-ups only.
pub(super) fn reopen(place: &Place) -> Result<Option<OwnedFd>, FsError> {
    let Some(directory) = place.directory() else {
        return Ok(None);
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = fs::openat(directory, ".", flags, Mode::empty())?;
    Ok(Some(opened))
}
