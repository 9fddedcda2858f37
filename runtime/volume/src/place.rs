//! A directory of a container: where it stands in the mount tree, and what is there on the disk.
//!
//! A place need not be on the disk. A volume that nobody has written to is not made for a look,
//! and a directory may exist only because a mount lies below it; it becomes real when something
//! is made in it, if the mount around it is writable.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, Mode};
use rustix::io::Errno;

use crate::FsError;
use crate::stat::{Identity, MetadataHash, Stat};
use crate::table::Table;
use crate::volume::{Opened, PLACE, to_guest};

/// A directory as a path was resolved to it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The mount that it belongs to.
    pub(crate) mount: usize,
    /// Where it is in the tree of mount points, if it is one or lies above one.
    pub(crate) point: Option<usize>,
    ground: Ground,
}

/// What a place stands on.
#[derive(Debug, Clone)]
enum Ground {
    /// An open directory.
    Real(Arc<OwnedFd>),
    /// Nothing yet: these names below an open directory, or below the root of the mount.
    Unmade(Option<Arc<OwnedFd>>, Vec<String>),
}

// === impl Place ===

impl Place {
    /// A directory that is open.
    pub(crate) fn real(mount: usize, point: Option<usize>, directory: Arc<OwnedFd>) -> Self {
        Self {
            mount,
            point,
            ground: Ground::Real(directory),
        }
    }

    /// The root of a mount whose volume is not made.
    pub(crate) fn unmade(mount: usize, point: usize) -> Self {
        Self {
            mount,
            point: Some(point),
            ground: Ground::Unmade(None, Vec::new()),
        }
    }

    /// The open directory, if it is on the disk.
    pub(crate) fn directory(&self) -> Option<BorrowedFd<'_>> {
        match &self.ground {
            Ground::Real(directory) => Some(directory.as_fd()),
            Ground::Unmade(..) => None,
        }
    }

    /// A directory below it that lies above a mount point. What is on the disk there counts only
    /// if it is a directory: a link or file is hidden, as by a mount.
    pub(crate) fn towards_mount(&self, name: &str, point: usize) -> Result<Self, FsError> {
        let ground = match &self.ground {
            Ground::Real(directory) => match fs::openat(directory, name, PLACE, Mode::empty()) {
                Ok(below) => Ground::Real(Arc::new(below)),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                    Ground::Unmade(Some(Arc::clone(directory)), vec![name.to_owned()])
                }
                Err(errno) => return Err(errno.into()),
            },
            Ground::Unmade(above, names) => {
                let mut names = names.clone();
                names.push(name.to_owned());
                Ground::Unmade(above.clone(), names)
            }
        };
        Ok(Self {
            mount: self.mount,
            point: Some(point),
            ground,
        })
    }

    /// The same directory, real if it has become so since it was resolved.
    pub(crate) fn refreshed(&self, table: &Table) -> Result<Self, FsError> {
        let Ground::Unmade(above, names) = &self.ground else {
            return Ok(self.clone());
        };
        let mut at = match above {
            Some(directory) => Arc::clone(directory),
            None => match table
                .mount(self.mount)?
                .look()
                .map_err(|error| to_guest(&error))?
            {
                Some(Opened::Directory(directory)) => directory,
                _ => return Ok(self.clone()),
            },
        };
        for name in names {
            at = match fs::openat(&at, name, PLACE, Mode::empty()) {
                Ok(below) => Arc::new(below),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(self.clone()),
                Err(errno) => return Err(errno.into()),
            };
        }
        Ok(Self::real(self.mount, self.point, at))
    }

    /// The open directory, made now if it is not on the disk. Errors: read-only.
    pub(crate) fn make(&self, table: &Table) -> Result<Arc<OwnedFd>, FsError> {
        let (above, names) = match &self.ground {
            Ground::Real(directory) => return Ok(Arc::clone(directory)),
            Ground::Unmade(above, names) => (above, names),
        };
        if table.is_read_only(self.mount) {
            return Err(FsError::ReadOnly);
        }
        let mut at = match above {
            Some(directory) => Arc::clone(directory),
            None => match table
                .mount(self.mount)?
                .open()
                .map_err(|error| to_guest(&error))?
            {
                Opened::Directory(directory) => directory,
                Opened::File(..) => return Err(FsError::NotDirectory),
            },
        };
        for name in names {
            let volume = &table.mount(self.mount)?.volume;
            let made = volume.entering(|| Ok(fs::mkdirat(&at, name, Mode::from_raw_mode(0o777))?));
            match made {
                Ok(()) | Err(FsError::Exist) => {}
                Err(error) => return Err(error),
            }
            at = Arc::new(fs::openat(&at, name, PLACE, Mode::empty())?);
        }
        Ok(at)
    }

    /// Its attributes.
    pub(crate) fn stat(&self, table: &Table) -> Result<Stat, FsError> {
        let found = match self.directory() {
            Some(directory) => Stat::from_kernel(&fs::fstat(directory)?),
            None => Stat::of_unmade_directory(table.made_at),
        };
        Ok(Stat {
            identity: self.identity(table, found.identity),
            ..found
        })
    }

    /// What makes it itself: its place in the mount tree, where it has one, because that stays
    /// when it becomes real.
    fn identity(&self, table: &Table, real: MetadataHash) -> MetadataHash {
        let Some(point) = self.point else { return real };
        MetadataHash::of(&match table.volume_at(point) {
            Some(volume) => Identity::Volume(volume),
            None => Identity::Point(table.id, point),
        })
    }

    /// Whether both are the same directory.
    pub(crate) fn is(&self, other: &Self, table: &Table) -> Result<bool, FsError> {
        Ok(self.mount == other.mount && self.stat(table)?.identity == other.stat(table)?.identity)
    }
}
