//! The right of the one who writes in a directory: one at a time, of this process and of all others
//! that ask in the same way.
//!
//! ```text
//! exclusive ─> line: whose turn is it in this process? ─> kernel: is the file locked by others?
//!                │ too long                                 │ no: written     │ yes: a thread waits
//!                └─> Held: by another writer here           v                 └─> too long: Held
//! ```
//!
//! Between processes it is a lock of the kernel on a file in the directory, one that belongs to the
//! open file (`kernel`): whatever else this process opens and closes, it stays until its own
//! descriptor is closed, and who waits for it comes before who has just had it. Inside the process a
//! line for each directory says whose turn it is (`line`), first come first served.
//!
//! Whoever may read the file can lock it and hold up all writers: so nobody waits longer than they
//! said they would, and is told then who holds it. Who deletes or replaces the file takes the lock
//! from those who have it. So nothing that is written under it may be torn by a second writer; what
//! is lost is that nobody wrote between a look and a write.

mod kernel;
mod line;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs;
use rustix::io::fcntl_dupfd_cloexec;

use self::line::Turn;
use super::{Body, Node, REPEATS};
use crate::FsError;
use crate::limit::Inode;
use crate::stat::OpenOptions;

/// The right to write in a directory, until it is dropped.
pub struct Exclusive {
    // Before the turn, so that the next one finds the file free.
    _locked: Arc<OwnedFd>,
    _turn: Turn,
}

/// Why there is no right to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExclusiveError {
    /// A file call failed.
    #[error(transparent)]
    Files(#[from] FsError),
    /// Somebody else has had it all the time.
    #[error("locked by {by}")]
    Held {
        /// Who.
        by: Holder,
    },
    /// Somebody else has it, and this process may have no further thread, with which it would wait.
    #[error("locked by {by}, and this process may have no further thread to wait for it with")]
    NoThread {
        /// Who.
        by: Holder,
    },
}

/// Who keeps others from writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Holder {
    /// Those of this process that came before.
    #[error("other writers of this host")]
    Here,
    /// The process of this number.
    #[error("the process {0}")]
    Process(i32),
    /// A process whose number the kernel does not say: its lock belongs to an open file.
    #[error("another process (`lslocks` lists those that hold locks)")]
    Nameless,
}

impl Node {
    /// Waits until nobody else has the right to write in this directory, and takes it. `name` is the
    /// file in it that is locked, made where it is absent. The directory is made, too.
    ///
    /// # Errors
    /// Held, if it is not to be had for as long as `patience`; no-thread, where it would have to be
    /// waited for and cannot. Of files: those that all share, and: read-only; not-directory; busy if
    /// the file is replaced over and over; no-lock or unsupported on file systems without locks.
    pub fn exclusive(&self, name: &str, patience: Duration) -> Result<Exclusive, ExclusiveError> {
        let until = Instant::now() + patience;
        let options = OpenOptions {
            read: true,
            write: true,
            create: true,
            ..OpenOptions::default()
        };
        let directory = self.place()?.make(self.0.table.table())?;
        let turn = Turn::stand(identity(&directory)?);
        turn.wait(until)?;
        for _ in 0..REPEATS {
            let file = self.open_at(name, false, &options)?;
            let locked = turn.lock(file.descriptor()?, until)?;
            if self.metadata_hash_at(name, false) == file.metadata_hash() {
                return Ok(Exclusive {
                    _locked: locked,
                    _turn: turn,
                });
            }
            // It was replaced while we waited: others lock the new one.
        }
        Err(FsError::Busy.into())
    }

    /// Another descriptor of the same open file.
    fn descriptor(&self) -> Result<OwnedFd, FsError> {
        match &self.0.body {
            Body::File(open) => Ok(fcntl_dupfd_cloexec(&open.file, 0)?),
            _ => Err(FsError::IsDirectory),
        }
    }
}

fn identity(file: &OwnedFd) -> Result<Inode, FsError> {
    let stat = fs::fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}
