//! The right of the one who writes in a directory: one at a time, of this process and of all others
//! that ask in the same way.
//!
//! Inside the process a set of the directories that are held says who waits. Between processes it is
//! a lock of POSIX on a file in the directory, because a confined process has no other. Such a lock
//! is the process's and goes when the process closes any descriptor of that file, so here the file is
//! opened and closed only by whoever holds the directory. A guest that mounts the volume can open it
//! too: when it closes it, the lock that its process has at the time is lost, and somebody of another
//! process may write at once. So nothing that is written under it may be torn by a second writer;
//! what is lost is that nobody wrote between a look and a write.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{self, FlockOperation};
use rustix::io::Errno;

use super::{Body, Node};
use crate::FsError;
use crate::limit::Inode;
use crate::stat::OpenOptions;

/// What this process holds.
static HELD: Mutex<Held> = Mutex::new(Held {
    directories: BTreeSet::new(),
    freed: 0,
});

/// One of them is free again.
static FREED: Condvar = Condvar::new();

/// The right to write in a directory, until it is dropped.
pub struct Exclusive {
    // Before the hold, so that the file is closed first.
    _file: Node,
    _hold: Hold,
}

struct Held {
    /// The directories in which somebody of this process writes.
    directories: BTreeSet<Inode>,
    /// How often one was given back.
    freed: u64,
}

/// A directory that this process holds.
struct Hold(Inode);

impl Node {
    /// Waits until nobody else has the right to write in this directory, and takes it. `name` is the
    /// file in it that is locked, made where it is absent. The directory is made, too.
    ///
    /// # Errors
    /// Those that all share, and: read-only; not-directory; no-lock or unsupported on file systems
    /// without locks.
    pub fn exclusive(&self, name: &str) -> Result<Exclusive, FsError> {
        let directory = self.place()?.make(self.0.table.table())?;
        let stat = fs::fstat(&directory)?;
        let hold = Hold::take((stat.st_dev, stat.st_ino));
        let options = OpenOptions {
            read: true,
            write: true,
            create: true,
            ..OpenOptions::default()
        };
        let file = self.open_at(name, false, &options)?;
        file.lock()?;
        Ok(Exclusive {
            _file: file,
            _hold: hold,
        })
    }

    fn lock(&self) -> Result<(), FsError> {
        let Body::File(open) = &self.0.body else {
            return Err(FsError::IsDirectory);
        };
        loop {
            // Before the kernel is asked: what is given back after its answer is not slept over.
            let freed = held().freed;
            match fs::fcntl_lock(&open.file, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                // The kernel counts all locks of a process as those of one: what it takes for a
                // circle is another directory that a thread of this process will leave.
                Err(Errno::DEADLK) => Hold::wait_for_one(freed),
                locked => return Ok(locked?),
            }
        }
    }
}

// === impl Hold ===

impl Hold {
    fn take(directory: Inode) -> Self {
        let mut held = FREED
            .wait_while(held(), |held| held.directories.contains(&directory))
            .unwrap_or_else(PoisonError::into_inner);
        held.directories.insert(directory);
        Self(directory)
    }

    /// Waits until any is given back since so many were, if there is another than the caller's.
    fn wait_for_one(freed: u64) {
        let others = |held: &mut Held| held.freed == freed && held.directories.len() > 1;
        drop(
            FREED
                .wait_while(held(), others)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = held();
        held.directories.remove(&self.0);
        held.freed = held.freed.wrapping_add(1);
        drop(held);
        FREED.notify_all();
    }
}

fn held() -> MutexGuard<'static, Held> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}
