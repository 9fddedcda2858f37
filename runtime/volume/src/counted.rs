//! The calls that change how much a volume holds, made and entered in its ledger as one.
//!
//! A volume without a limit has no ledger, and its calls go straight to the kernel. With one, a
//! write inside a file's size shares the ledger with others like it; whatever may change a size
//! or remove a name has it alone, so that the figures cannot be outrun by a race of two calls.
//!
//! A volume in memory always has a ledger, and whoever makes a file longer there pays for it.

use std::ffi::OsStr;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{self, AtFlags, FallocateFlags, FileType, Stat};
use rustix::io::{self, Errno, ReadWriteFlags};

use crate::charges::{OverLimit, Payer};
use crate::limit::{Books, Inode, Ledger};
use crate::volume::Volume;
use crate::{FsError, LimitExceeded, LimitedResource};

/// Who pays for what is written, where it is known.
type Paid<'a> = Option<&'a Arc<dyn Payer>>;

impl Volume {
    /// `pwrite`.
    pub(crate) fn write_at(
        &self,
        file: BorrowedFd<'_>,
        data: &[u8],
        offset: u64,
        payer: Paid<'_>,
    ) -> Result<usize, FsError> {
        let Some(ledger) = self.ledger() else {
            return Ok(io::pwrite(file, data, offset)?);
        };
        let end = offset.saturating_add(length(data));
        {
            let _still = ledger.shared();
            if end <= size(&fs::fstat(file)?) {
                return Ok(io::pwrite(file, data, offset)?);
            }
        }
        self.resizing(
            ledger,
            (file, payer),
            |old| old.max(end),
            || Ok(io::pwrite(file, data, offset)?),
        )
    }

    /// A write at the end, wherever that is by then.
    pub(crate) fn append(
        &self,
        file: BorrowedFd<'_>,
        data: &[u8],
        payer: Paid<'_>,
    ) -> Result<usize, FsError> {
        let write = || match io::pwritev2(file, &[IoSlice::new(data)], 0, ReadWriteFlags::APPEND) {
            // Some file systems of hostPaths do not know the flag; they get as near as one can.
            Err(Errno::NOTSUP | Errno::NOSYS) => {
                Ok(io::pwrite(file, data, size(&fs::fstat(file)?))?)
            }
            written => Ok(written?),
        };
        let Some(ledger) = self.ledger() else {
            return write();
        };
        let target = |old: u64| old.saturating_add(length(data));
        self.resizing(ledger, (file, payer), target, write)
    }

    /// `ftruncate`.
    pub(crate) fn set_size(
        &self,
        file: BorrowedFd<'_>,
        new: u64,
        payer: Paid<'_>,
    ) -> Result<(), FsError> {
        let Some(ledger) = self.ledger() else {
            return Ok(fs::ftruncate(file, new)?);
        };
        let truncate = || Ok(fs::ftruncate(file, new)?);
        self.resizing(ledger, (file, payer), |_| new, truncate)
    }

    /// `fallocate`, growing the file where it is shorter.
    pub(crate) fn allocate(
        &self,
        file: BorrowedFd<'_>,
        (offset, len): (u64, u64),
        payer: Paid<'_>,
    ) -> Result<(), FsError> {
        let allocate = || Ok(fs::fallocate(file, FallocateFlags::empty(), offset, len)?);
        let Some(ledger) = self.ledger() else {
            return allocate();
        };
        let end = offset.saturating_add(len);
        self.resizing(ledger, (file, payer), |old| old.max(end), allocate)
    }

    /// A call that makes one new entry.
    pub(crate) fn entering<T>(
        &self,
        make: impl FnOnce() -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        let Some(ledger) = self.ledger() else {
            return make();
        };
        {
            let mut books = ledger.exclusive();
            if self.admits(ledger, &mut books, 0, 1) {
                return make().inspect(|_| books.entered());
            }
        }
        Err(self.refuse(ledger, LimitedResource::Entries))
    }

    /// A call that takes the name of a file or directory away, or puts another object there.
    pub(crate) fn leaving(
        &self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        take: impl FnOnce() -> Result<(), FsError>,
    ) -> Result<(), FsError> {
        let Some(ledger) = self.ledger() else {
            return take();
        };
        let mut books = ledger.exclusive();
        let victim = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
        take()?;
        let Ok(victim) = victim else { return Ok(()) };
        // Renaming one of two names of a file over the other leaves both, and an object that is
        // still there under its name has not gone.
        let now = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
        if now.is_ok_and(|now| inode(&now) == inode(&victim)) {
            return Ok(());
        }
        books.left();
        if FileType::from_raw_mode(victim.st_mode) == FileType::RegularFile && victim.st_nlink == 1
        {
            books.unnamed(inode(&victim), size(&victim));
        }
        Ok(())
    }

    /// A regular file was opened.
    pub(crate) fn opened(&self, file: BorrowedFd<'_>) -> Result<(), FsError> {
        if let Some(ledger) = self.ledger() {
            let mut books = ledger.exclusive();
            // Looked at under the lock: its last name may go at any time before.
            let stat = fs::fstat(file)?;
            books.opened(inode(&stat), size(&stat), stat.st_nlink == 0);
        }
        Ok(())
    }

    /// It is about to be closed.
    pub(crate) fn closing(&self, file: BorrowedFd<'_>) {
        if let Some(ledger) = self.ledger() {
            let mut books = ledger.exclusive();
            match fs::fstat(file) {
                Ok(stat) => books.closed(inode(&stat)),
                Err(errno) => tracing::warn!(%errno, "a file that was open cannot be looked at"),
            }
        }
    }

    /// Bytes held now, counted anew.
    pub(crate) fn used(&self) -> u64 {
        let Some(ledger) = self.ledger() else {
            return self.measure().map_or(0, |measure| measure.bytes);
        };
        let mut books = ledger.exclusive();
        books.recount(Instant::now(), || self.measure());
        books.bytes()
    }

    /// A call that takes a file from its size to `target`, or as near as it gets.
    fn resizing<T>(
        &self,
        ledger: &Ledger,
        (file, payer): (BorrowedFd<'_>, Paid<'_>),
        target: impl FnOnce(u64) -> u64,
        change: impl FnOnce() -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        {
            let mut books = ledger.exclusive();
            let before = fs::fstat(file)?;
            let growth = target(size(&before)).saturating_sub(size(&before));
            if self.admits(ledger, &mut books, growth, 0) {
                let payer = payer.filter(|_| self.is_in_memory());
                if let Some(payer) = payer.filter(|_| growth > 0) {
                    payer
                        .take(growth)
                        .map_err(|OverLimit| FsError::InsufficientMemory)?;
                }
                let result = change();
                // An open descriptor can always be looked at; else it is as it was.
                let after = fs::fstat(file).unwrap_or(before);
                books.resized(inode(&after), (size(&before), size(&after)), payer);
                if let Some(payer) = payer {
                    let grown = size(&after).saturating_sub(size(&before));
                    payer.give(growth.saturating_sub(grown));
                }
                return result;
            }
        }
        Err(self.refuse(ledger, LimitedResource::Bytes))
    }

    fn admits(&self, ledger: &Ledger, books: &mut Books, bytes: u64, entries: u64) -> bool {
        ledger.admits(books, bytes, entries, Instant::now(), || self.measure())
    }

    /// Refuses, and tells the node the first time. Called without the ledger's lock.
    fn refuse(&self, ledger: &Ledger, resource: LimitedResource) -> FsError {
        if ledger.first_refusal(resource) {
            let used = ledger.shared().bytes();
            self.observer().tell(LimitExceeded {
                place: self.place().clone(),
                resource,
                limit: ledger.limit(),
                used,
            });
        }
        FsError::InsufficientSpace
    }
}

fn inode(stat: &Stat) -> Inode {
    (stat.st_dev, stat.st_ino)
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn length(data: &[u8]) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}
