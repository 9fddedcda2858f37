//! subPath: the part of a volume that is mounted, a directory or a file.
//!
//! The rule is kubelet's: links inside the volume are followed as long as they stay in it, and what
//! is absent is made as a directory. A link to an absolute path leads out, whatever it names.
//! Where kubelet resolves it once, here it is resolved whenever the mount is opened, under the same
//! rule each time.

use std::os::fd::AsFd;
use std::sync::Arc;

use model::runtime::FileSpec;
use rustix::fs::{self, Mode, OFlags, ResolveFlags};

use super::Table;
use crate::place::Place;
use crate::stat::FileKind;
use crate::volume::{Opened, Volume};
use crate::walk::{Leaf, Walk};
use crate::{FsError, VolumeError, path};

/// A checked subPath.
pub(crate) struct SubPath {
    names: Vec<String>,
}

// === impl SubPath ===

impl SubPath {
    /// Errors: a path that is absolute, contains `..`, or names nothing.
    pub(crate) fn new(volume: &str, text: &str) -> Result<Self, VolumeError> {
        let wrong = |problem| VolumeError::Path {
            volume: volume.to_owned(),
            field: "subPath",
            path: text.to_owned(),
            problem,
        };
        if text.starts_with('/') {
            return Err(wrong("must be relative"));
        }
        let names = path::names(text).map_err(wrong)?;
        Ok(Self { names })
    }

    /// Those files that lie at or below it.
    pub(crate) fn part_of(&self, files: Vec<FileSpec>) -> Vec<FileSpec> {
        let inside = |file: &FileSpec| {
            path::names(&file.path).is_ok_and(|names| names.starts_with(&self.names))
        };
        files.into_iter().filter(inside).collect()
    }

    /// Opens it in a volume.
    pub(crate) fn open(&self, volume: &Arc<Volume>) -> Result<Opened, VolumeError> {
        let Opened::Directory(root) = volume.open()? else {
            return Err(self.failed(volume, FsError::NotDirectory));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let text = if self.names.is_empty() {
            ".".to_owned()
        } else {
            self.names.join("/")
        };
        // Whatever goes wrong here is found again, and told apart, name by name.
        if let Ok(directory) = fs::openat2(root.as_fd(), text, flags, Mode::empty(), resolve) {
            return Ok(Opened::Directory(Arc::new(directory)));
        }
        self.resolve(volume, &Place::real(0, None, root))
            .map_err(|error| self.failed(volume, error))
    }

    fn resolve(&self, volume: &Arc<Volume>, root: &Place) -> Result<Opened, FsError> {
        let table = Table::of_volume(volume);
        let mut found = Opened::Directory(root.make(&table)?);
        for length in 1..=self.names.len() {
            let path = self.names.get(..length).unwrap_or_default().join("/");
            let mut walk = Walk::inside(&table, root, &path)?;
            found = match walk.leaf_following()? {
                Leaf::Directory { place, .. } => Opened::Directory(place.make(&table)?),
                Leaf::Entry(entry) => {
                    let directory = entry.parent.make(&table)?;
                    match entry.kind()? {
                        Some(FileKind::Directory) => {
                            Opened::Directory(Arc::new(entry.open_place()?))
                        }
                        Some(_) => Opened::File(directory, entry.name),
                        None => {
                            fs::mkdirat(
                                directory.as_fd(),
                                &entry.name,
                                Mode::from_raw_mode(0o777),
                            )?;
                            Opened::Directory(Arc::new(entry.open_place()?))
                        }
                    }
                }
            };
        }
        Ok(found)
    }

    /// Kubelet's words are "failed to prepare subPath for volumeMount".
    fn failed(&self, volume: &Volume, error: FsError) -> VolumeError {
        VolumeError::SubPath {
            volume: volume.name().to_owned(),
            path: self.names.join("/"),
            reason: error,
        }
    }
}
