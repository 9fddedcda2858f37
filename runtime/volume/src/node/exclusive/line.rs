//! Whose turn it is in this process, for each directory that somebody wants to write in.
//!
//! The kernel has no wait for a lock that ends after a while. So where the file is locked by another
//! process, a thread waits in the kernel, and the writer whose turn it is waits for the thread, as
//! long as it wants to; the next one waits for the same thread. A lock that comes when nobody wants
//! it any more is given back at once. Such a thread ends when it has its answer, or with the
//! process: nothing else ends its wait.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::io::{Errno, fcntl_dupfd_cloexec};

use super::{ExclusiveError, Holder, identity, kernel};
use crate::FsError;
use crate::limit::Inode;

/// Threads that may wait for locks at once: each is a directory that a foreign process holds, and
/// beyond so many their writers are told at once.
const THREADS: usize = 16;

/// Bytes of such a thread's stack: it makes one call of the kernel.
const STACK: usize = 128 << 10;

/// All lines of this process.
static LINES: Mutex<Lines> = Mutex::new(Lines {
    tickets: 0,
    threads: 0,
    by_directory: BTreeMap::new(),
});

/// Something in them has changed.
static CHANGED: Condvar = Condvar::new();

/// The turn of one writer, until it is dropped.
pub(super) struct Turn {
    directory: Inode,
    ticket: u64,
}

struct Lines {
    /// How many were given out, to writers and threads.
    tickets: u64,
    /// Threads that wait in the kernel.
    threads: usize,
    by_directory: BTreeMap<Inode, Line>,
}

#[derive(Default)]
struct Line {
    /// Who wants to write; the turn is the first one's.
    writers: VecDeque<u64>,
    asked: Option<Asked>,
}

/// What a thread waits for.
struct Asked {
    ticket: u64,
    file: Inode,
    /// Who had it when it began.
    holder: Holder,
    /// The file, locked, once there is an answer.
    answer: Option<Result<OwnedFd, Errno>>,
}

// === impl Turn ===

impl Turn {
    /// Stands in line, and waits for its turn.
    ///
    /// # Errors
    /// Held, if it does not come in time.
    pub(super) fn take(directory: Inode, until: Instant) -> Result<Self, ExclusiveError> {
        let mut lines = lines();
        let ticket = lines.ticket();
        let line = lines.by_directory.entry(directory).or_default();
        line.writers.push_back(ticket);
        let turn = Self { directory, ticket };
        let lines = wait_while(lines, until, |lines| {
            let line = lines.by_directory.get(&directory);
            line.and_then(|line| line.writers.front()) != Some(&ticket)
        });
        let line = lines.by_directory.get(&directory);
        let is_first = line.and_then(|line| line.writers.front()) == Some(&ticket);
        // Those before us may be held up themselves.
        let asked = line.and_then(|line| line.asked.as_ref());
        let by = asked.map_or(Holder::Here, |asked| asked.holder);
        // Before the turn is dropped, which looks at the lines too.
        drop(lines);
        match is_first {
            true => Ok(turn),
            false => Err(ExclusiveError::Held { by }),
        }
    }

    /// Has the file locked; answers the descriptor that the lock lasts with.
    ///
    /// # Errors
    /// Held, if another process has it for too long; of files, what the kernel says.
    pub(super) fn lock(&self, file: OwnedFd, until: Instant) -> Result<OwnedFd, ExclusiveError> {
        let inode = identity(&file)?;
        let is_asked = lines().is_asked(self.directory, inode);
        if !is_asked {
            if kernel::try_lock(&file).map_err(FsError::from)? {
                return Ok(file);
            }
            if !self.ask(&file, inode)? {
                return Err(held(&file));
            }
        }
        let mut lines = wait_while(lines(), until, |lines| {
            let line = lines.by_directory.get(&self.directory);
            let asked = line.and_then(|line| line.asked.as_ref());
            asked.is_some_and(|asked| asked.answer.is_none())
        });
        let line = lines.by_directory.get_mut(&self.directory);
        let answered = line.and_then(|line| line.asked.take_if(|asked| asked.answer.is_some()));
        drop(lines);
        match answered.and_then(|asked| asked.answer) {
            Some(locked) => Ok(locked.map_err(FsError::from)?),
            None => Err(held(&file)),
        }
    }

    /// Has a thread wait for the file; answers whether one does.
    fn ask(&self, file: &OwnedFd, inode: Inode) -> Result<bool, FsError> {
        let (file, holder) = (fcntl_dupfd_cloexec(file, 0)?, kernel::holder(file));
        let mut lines = lines();
        if lines.threads >= THREADS {
            return Ok(false);
        }
        let (directory, ticket) = (self.directory, lines.ticket());
        let thread = thread::Builder::new()
            .name("volume-lock".to_owned())
            .stack_size(STACK);
        let waiting = thread.spawn(move || {
            let locked = kernel::wait(&file).map(|()| file);
            answer(directory, ticket, locked);
        });
        waiting.map_err(|error| FsError::from(&error))?;
        lines.threads += 1;
        let line = lines.by_directory.entry(directory).or_default();
        line.asked = Some(Asked {
            ticket,
            file: inode,
            holder,
            answer: None,
        });
        Ok(true)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lines = lines();
        if let Some(line) = lines.by_directory.get_mut(&self.directory) {
            line.writers.retain(|ticket| *ticket != self.ticket);
        }
        let unwanted = lines.tidied(self.directory);
        drop(lines);
        drop(unwanted);
        CHANGED.notify_all();
    }
}

// === impl Lines ===

impl Lines {
    fn ticket(&mut self) -> u64 {
        self.tickets = self.tickets.wrapping_add(1);
        self.tickets
    }

    /// Whether a thread waits, or has waited, for this file. One that waits for a file that was
    /// replaced since is forgotten.
    fn is_asked(&mut self, directory: Inode, file: Inode) -> bool {
        let Some(line) = self.by_directory.get_mut(&directory) else {
            return false;
        };
        line.asked.take_if(|asked| asked.file != file);
        line.asked.is_some()
    }

    /// Takes away what nobody needs of a line: an answer when nobody is left in it, then itself.
    fn tidied(&mut self, directory: Inode) -> Option<Asked> {
        let line = self.by_directory.get_mut(&directory)?;
        if !line.writers.is_empty() {
            return None;
        }
        let unwanted = line.asked.take_if(|asked| asked.answer.is_some());
        if line.asked.is_none() {
            self.by_directory.remove(&directory);
        }
        unwanted
    }
}

/// Hands over what a thread has waited for. Where nobody wants it, it ends here, and the lock with
/// it.
fn answer(directory: Inode, ticket: u64, locked: Result<OwnedFd, Errno>) {
    let mut lines = lines();
    lines.threads -= 1;
    let line = lines.by_directory.get_mut(&directory);
    let asked = line.and_then(|line| line.asked.as_mut());
    if let Some(asked) = asked.filter(|asked| asked.ticket == ticket) {
        asked.answer = Some(locked);
    }
    let unwanted = lines.tidied(directory);
    drop(lines);
    drop(unwanted);
    CHANGED.notify_all();
}

fn held(file: &OwnedFd) -> ExclusiveError {
    let by = kernel::holder(file);
    ExclusiveError::Held { by }
}

/// Waits as long as this is so, and no longer than until then.
fn wait_while(
    lines: MutexGuard<'static, Lines>,
    until: Instant,
    mut is_so: impl FnMut(&Lines) -> bool,
) -> MutexGuard<'static, Lines> {
    let left = until.saturating_duration_since(Instant::now());
    let waited = CHANGED.wait_timeout_while(lines, left, |lines| is_so(lines));
    let (lines, _) = waited.unwrap_or_else(PoisonError::into_inner);
    lines
}

fn lines() -> MutexGuard<'static, Lines> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}
