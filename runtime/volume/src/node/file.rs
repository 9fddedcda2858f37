//! The content of an open file.
//!
//! On a directory reading and writing answer is-directory as in POSIX, and the other calls
//! bad-descriptor as the WASI tests ask. A call that the descriptor was not opened for answers
//! bad-descriptor.

use std::io::Read;
use std::os::fd::AsFd;

use std::num::NonZeroU64;

use rustix::fs;
use rustix::io::{self, Errno};

use super::opening::reopen;
use super::{Body, Node, OpenFile};
use crate::FsError;
use crate::stat::Advice;

impl Node {
    /// Reads from `offset` into `buffer`; answers how many bytes, 0 at the end of the file.
    ///
    /// # Errors
    /// Is-directory; bad-descriptor; invalid for an offset that Linux cannot express.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FsError> {
        let open = self.content()?;
        if !self.0.flags.read {
            return Err(FsError::BadDescriptor);
        }
        reachable(offset, buffer.len())?;
        Ok(io::pread(&open.file, buffer, offset)?)
    }

    /// Writes at `offset`; answers how many bytes, which may be fewer than given.
    ///
    /// # Errors
    /// Is-directory; bad-descriptor; insufficient-space, with nothing written, if the volume's
    /// limit does not allow all of it; insufficient-memory likewise if the volume is in memory and
    /// the container may use no more.
    pub fn write_at(&self, data: &[u8], offset: u64) -> Result<usize, FsError> {
        let open = self.writable_content()?;
        reachable(offset, data.len())?;
        open.volume
            .write_at(open.as_fd(), data, offset, self.payer())
    }

    /// Writes at the end, wherever that is when it happens.
    ///
    /// # Errors
    /// As [`Self::write_at`].
    pub fn append(&self, data: &[u8]) -> Result<usize, FsError> {
        let open = self.writable_content()?;
        open.volume.append(open.as_fd(), data, self.payer())
    }

    /// Cuts the file, or fills it up with zeros.
    ///
    /// # Errors
    /// Bad-descriptor; file-too-large; insufficient-space.
    pub fn set_size(&self, size: u64) -> Result<(), FsError> {
        let open = self.file()?;
        if !self.0.flags.write {
            return Err(FsError::BadDescriptor);
        }
        if i64::try_from(size).is_err() {
            return Err(FsError::FileTooLarge);
        }
        open.volume.set_size(open.as_fd(), size, self.payer())
    }

    /// Makes sure that `len` bytes from `offset` are on the disk, filling up a shorter file with
    /// zeros.
    ///
    /// # Errors
    /// As [`Self::set_size`]; invalid for no bytes; unsupported by some file systems.
    pub fn allocate(&self, offset: u64, len: u64) -> Result<(), FsError> {
        let open = self.file()?;
        if !self.0.flags.write {
            return Err(FsError::BadDescriptor);
        }
        if len == 0 {
            return Err(FsError::Invalid);
        }
        match offset.checked_add(len) {
            Some(end) if i64::try_from(end).is_ok() => {
                open.volume
                    .allocate(open.as_fd(), (offset, len), self.payer())
            }
            _ => Err(FsError::FileTooLarge),
        }
    }

    /// Says how a part of the file will be used; `len` 0 is all from `offset` on.
    ///
    /// # Errors
    /// Bad-descriptor; invalid for an offset that Linux cannot express.
    pub fn advise(&self, offset: u64, len: u64, advice: Advice) -> Result<(), FsError> {
        let open = self.file()?;
        Ok(fs::fadvise(
            &open.file,
            offset,
            NonZeroU64::new(len),
            advice.into(),
        )?)
    }

    /// Waits until data and attributes are on the disk.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn sync(&self) -> Result<(), FsError> {
        match &self.0.body {
            Body::File(open) => Ok(fs::fsync(&open.file)?),
            _ => reopen(&self.place()?)?.map_or(Ok(()), |directory| Ok(fs::fsync(directory)?)),
        }
    }

    /// Waits until data are on the disk.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn sync_data(&self) -> Result<(), FsError> {
        match &self.0.body {
            Body::File(open) => Ok(fs::fdatasync(&open.file)?),
            _ => reopen(&self.place()?)?.map_or(Ok(()), |directory| Ok(fs::fdatasync(directory)?)),
        }
    }

    /// All of a file that has just been opened for reading.
    ///
    /// # Errors
    /// Overflow beyond `at_most` bytes; is-directory.
    pub fn read_whole(&self, at_most: u64) -> Result<Vec<u8>, FsError> {
        let open = self.content()?;
        let mut content = Vec::new();
        let file = std::fs::File::from(io::dup(&open.file)?);
        file.take(at_most.saturating_add(1))
            .read_to_end(&mut content)?;
        if u64::try_from(content.len()).is_ok_and(|length| length <= at_most) {
            Ok(content)
        } else {
            Err(FsError::Overflow)
        }
    }

    fn file(&self) -> Result<&OpenFile, FsError> {
        match &self.0.body {
            Body::File(open) => Ok(open),
            _ => Err(FsError::BadDescriptor),
        }
    }

    fn content(&self) -> Result<&OpenFile, FsError> {
        self.file().map_err(|_| FsError::IsDirectory)
    }

    fn writable_content(&self) -> Result<&OpenFile, FsError> {
        let open = self.content()?;
        if self.0.flags.write {
            Ok(open)
        } else {
            Err(FsError::BadDescriptor)
        }
    }
}

/// Linux has signed offsets: one beyond them would be another offset, or an error of its own.
fn reachable(offset: u64, length: usize) -> Result<(), Errno> {
    let end = u64::try_from(length)
        .ok()
        .and_then(|length| offset.checked_add(length));
    match end.map(i64::try_from) {
        Some(Ok(_)) => Ok(()),
        _ => Err(Errno::INVAL),
    }
}
