//! Attributes by path: stat, times, links' targets.

use rustix::fs::{self, AtFlags, Timestamps};

use super::{Body, Node};
use crate::FsError;
use crate::stat::{MetadataHash, SetTime, Stat};
use crate::walk::Leaf;

impl Node {
    /// The attributes of what is at `path`; of a link itself unless it is to be followed.
    ///
    /// # Errors
    /// Those that all share, and those of the kernel.
    pub fn stat_at(&self, path: &str, follow: bool) -> Result<Stat, FsError> {
        self.steadily(|| match self.find(path, follow)? {
            Leaf::Directory { place, .. } => place.stat(self.0.table.table()),
            Leaf::Entry(entry) => {
                let stat = entry.stat()?.ok_or(FsError::NoEntry)?;
                Ok(Stat::from_kernel(&stat))
            }
        })
    }

    /// As [`Self::metadata_hash`] for what is at `path`.
    ///
    /// # Errors
    /// As [`Self::stat_at`].
    pub fn metadata_hash_at(&self, path: &str, follow: bool) -> Result<MetadataHash, FsError> {
        Ok(self.stat_at(path, follow)?.identity)
    }

    /// Sets the times of the open object. It need not be open for writing.
    ///
    /// # Errors
    /// Read-only; invalid for nanoseconds of a second or more; those of the kernel.
    pub fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), FsError> {
        let times = times(accessed, modified)?;
        match &self.0.body {
            Body::File(open) if self.is_read_only(open.mount) => Err(FsError::ReadOnly),
            Body::File(open) => Ok(fs::futimens(&open.file, &times)?),
            _ => self.set_directory_times(&self.place()?, &times),
        }
    }

    /// Sets the times of what is at `path`; of a link itself unless it is to be followed.
    ///
    /// # Errors
    /// As [`Self::set_times`], and those that all share.
    pub fn set_times_at(
        &self,
        path: &str,
        follow: bool,
        accessed: SetTime,
        modified: SetTime,
    ) -> Result<(), FsError> {
        let times = times(accessed, modified)?;
        match self.find(path, follow)? {
            Leaf::Directory { place, .. } => self.set_directory_times(&place, &times),
            Leaf::Entry(entry) => {
                if entry.stat()?.is_none() {
                    return Err(FsError::NoEntry);
                }
                if self.is_read_only(entry.parent.mount) {
                    return Err(FsError::ReadOnly);
                }
                Ok(fs::utimensat(
                    entry.directory()?,
                    &entry.name,
                    &times,
                    AtFlags::SYMLINK_NOFOLLOW,
                )?)
            }
        }
    }

    /// The target of the link at `path`.
    ///
    /// # Errors
    /// Invalid if it is no link; not-permitted if its target is absolute, as WASI asks;
    /// illegal-byte-sequence if it is not UTF-8.
    pub fn readlink_at(&self, path: &str) -> Result<String, FsError> {
        self.steadily(|| match self.find(path, false)? {
            Leaf::Directory { .. } => Err(FsError::Invalid),
            Leaf::Entry(entry) => {
                let target = entry.read_link()?;
                if target.starts_with('/') {
                    Err(FsError::NotPermitted)
                } else {
                    Ok(target)
                }
            }
        })
    }

    fn set_directory_times(
        &self,
        place: &crate::place::Place,
        times: &Timestamps,
    ) -> Result<(), FsError> {
        if self.is_read_only(place.mount) {
            return Err(FsError::ReadOnly);
        }
        // The descriptor may be good for look-ups only; `.` is the directory itself all the same.
        let directory = place.make(self.0.table.table())?;
        Ok(fs::utimensat(&directory, ".", times, AtFlags::empty())?)
    }
}

fn times(accessed: SetTime, modified: SetTime) -> Result<Timestamps, FsError> {
    Ok(Timestamps {
        last_access: accessed.to_kernel()?,
        last_modification: modified.to_kernel()?,
    })
}
