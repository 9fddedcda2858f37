//! An open file or directory of a container, with the operations of wasi:filesystem.
//!
//! ```text
//! Node ── Point      a mount point: opened anew for every call, so that a preopen costs nothing
//!      ├─ Directory  an open directory
//!      └─ File       an open regular file
//! ```
//!
//! The errors that all operations share: not-directory for a path relative to a file; not-permitted
//! for a path that is absolute or leads out of the directory; read-only below a read-only mount;
//! busy for removing or renaming a mount point; insufficient-space at a volume's limit.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs;

use crate::FsError;
use crate::charges::Payer;
use crate::place::Place;
use crate::stat::{FileKind, MetadataHash, NodeFlags, Stat, kind_of};
use crate::table::{Found, MountTable};
use crate::volume::Volume;
use crate::walk::{Entry, Leaf, Walk};

mod attributes;
mod entries;
mod exclusive;
mod file;
mod listing;
mod opening;

pub use exclusive::{Exclusive, ExclusiveError, Holder};
pub use listing::Listing;

/// An open file or directory; a cheap clone of the same descriptor. Dropping the last clone closes
/// it, which may wait for a write to the same limited volume.
#[derive(Clone)]
pub struct Node(Arc<Open>);

struct Open {
    table: MountTable,
    path: String,
    flags: NodeFlags,
    body: Body,
}

enum Body {
    /// A place of the mount tree.
    Point(usize),
    /// An open directory, or one that is not on the disk.
    Directory(Place),
    /// An open regular file.
    File(OpenFile),
}

/// An open regular file and the volume that counts it.
struct OpenFile {
    file: OwnedFd,
    mount: usize,
    volume: Arc<Volume>,
}

/// How often a look-up is repeated when files were replaced meanwhile.
const REPEATS: usize = 8;

// === impl Node ===

impl Node {
    /// The directory mounted at a place of the tree.
    pub(crate) fn of_point(table: &MountTable, point: usize, path: &str) -> Self {
        let flags = NodeFlags {
            read: true,
            mutate_directory: !table.table().is_all_read_only(),
            ..NodeFlags::default()
        };
        Self::new(table, path.to_owned(), flags, Body::Point(point))
    }

    fn new(table: &MountTable, path: String, flags: NodeFlags, body: Body) -> Self {
        Self(Arc::new(Open {
            table: table.clone(),
            path,
            flags,
            body,
        }))
    }

    /// The path from the container's root by which it was opened, for messages: it may have been
    /// renamed since, and may name a link.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// How it is open.
    pub fn flags(&self) -> NodeFlags {
        self.0.flags
    }

    /// What it is: a directory or a regular file, for nothing else opens.
    pub fn kind(&self) -> FileKind {
        if self.is_directory() {
            FileKind::Directory
        } else {
            FileKind::RegularFile
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        !matches!(self.0.body, Body::File(_))
    }

    /// Its attributes.
    ///
    /// # Errors
    /// Those of the kernel, or of a volume that cannot be made.
    pub fn stat(&self) -> Result<Stat, FsError> {
        match &self.0.body {
            Body::File(open) => Ok(Stat::from_kernel(&fs::fstat(&open.file)?)),
            _ => self.place()?.stat(self.0.table.table()),
        }
    }

    /// Whether both are the same object.
    pub fn is_same_object(&self, other: &Self) -> bool {
        match (self.stat(), other.stat()) {
            (Ok(one), Ok(another)) => one.identity == another.identity,
            _ => false,
        }
    }

    /// A hash that stands for the object as long as this process lives.
    ///
    /// # Errors
    /// As [`Self::stat`].
    pub fn metadata_hash(&self) -> Result<MetadataHash, FsError> {
        Ok(self.stat()?.identity)
    }

    /// The directory that it is now. Errors: not-directory.
    fn place(&self) -> Result<Place, FsError> {
        match &self.0.body {
            Body::Directory(place) => place.refreshed(self.0.table.table()),
            Body::File(_) => Err(FsError::NotDirectory),
            Body::Point(point) => match self.0.table.table().step_onto(*point)? {
                Found::Directory(place) => Ok(place),
                Found::File(..) => Err(FsError::NotDirectory),
            },
        }
    }

    /// Begins to resolve a path relative to it.
    fn walk(&self, path: &str) -> Result<Walk<'_>, FsError> {
        Walk::new(self.0.table.table(), &self.place()?, path)
    }

    /// Resolves a path to what is there, its last link followed if asked, or if the path ends in a
    /// slash.
    fn find(&self, path: &str, follow: bool) -> Result<Leaf, FsError> {
        let mut walk = self.walk(path)?;
        loop {
            let leaf = walk.leaf()?;
            let Leaf::Entry(entry) = &leaf else {
                return Ok(leaf);
            };
            let kind = entry.kind()?;
            if kind == Some(FileKind::SymbolicLink) && (follow || walk.directory) {
                walk.follow(entry)?;
                continue;
            }
            if walk.directory && kind.is_some_and(|kind| kind != FileKind::Directory) {
                return Err(FsError::NotDirectory);
            }
            return Ok(leaf);
        }
    }

    /// Does a look-up again if it found nothing and files of a volume were replaced meanwhile: it
    /// may have been on its way through the old ones.
    fn steadily<T>(&self, look_up: impl Fn() -> Result<T, FsError>) -> Result<T, FsError> {
        let table = self.0.table.table();
        let mut generation = table.generation();
        for _ in 0..REPEATS {
            match look_up() {
                Err(FsError::NoEntry) => {
                    let now = table.generation();
                    if now == generation {
                        return Err(FsError::NoEntry);
                    }
                    generation = now;
                }
                found => return found,
            }
        }
        look_up()
    }

    /// Who pays for what is written through it.
    fn payer(&self) -> Option<&Arc<dyn Payer>> {
        self.0.table.table().payer()
    }

    /// The volume of a mount.
    fn volume(&self, mount: usize) -> Result<&Arc<Volume>, FsError> {
        Ok(&self.0.table.table().mount(mount)?.volume)
    }

    fn is_read_only(&self, mount: usize) -> bool {
        self.0.table.table().is_read_only(mount)
    }
}

// === impl OpenFile ===

impl OpenFile {
    /// Takes a file just opened. Errors: is-directory, no-such-device for what is not a file, access
    /// for what is a process of the machine.
    fn new(file: OwnedFd, mount: usize, volume: &Arc<Volume>) -> Result<Self, FsError> {
        match kind_of(&fs::fstat(&file)?) {
            FileKind::RegularFile => {}
            FileKind::Directory => return Err(FsError::IsDirectory),
            _ => return Err(FsError::NoSuchDevice),
        }
        volume.refuse_procfs(&file)?;
        volume.opened(file.as_fd())?;
        Ok(Self {
            file,
            mount,
            volume: Arc::clone(volume),
        })
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.volume.closing(self.file.as_fd());
    }
}

/// What stands in the way of changing a directory: nothing, or read-only unless `entry` exists.
fn refuse_new(entry: &Entry, read_only: bool) -> Result<(), FsError> {
    if !read_only {
        return Ok(());
    }
    Err(if entry.stat()?.is_some() {
        FsError::Exist
    } else {
        FsError::ReadOnly
    })
}

#[cfg(test)]
mod tests;
