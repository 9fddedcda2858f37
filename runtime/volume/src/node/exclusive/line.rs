//! Whose turn it is in this process, for each directory that somebody wants to write in.
//!
//! ```text
//! stand ─> wait: for those before ─> lock: the file free? ─> written
//!                                      │ no
//!                                      └─> a thread waits in the kernel, the writer for it
//! ```
//!
//! The kernel has no wait for a lock that ends after a while. So where the file is locked by another
//! process, a thread waits in the kernel, and the writer whose turn it is waits for the thread, as
//! long as it wants to; the next one waits for the same thread. A lock that comes when nobody wants
//! it any more is given back at once. Such a thread ends when it has its answer, or with the
//! process: nothing else ends its wait.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::io::Errno;

use super::{ExclusiveError, Holder, identity, kernel};
use crate::FsError;
use crate::limit::Inode;

/// Threads that may wait for locks at once: each is a directory that a foreign process holds. Beyond
/// so many, writers wait for a thread first.
const THREADS: usize = 16;

/// Bytes of such a thread's stack: it makes a few calls of the kernel.
const STACK: usize = 128 << 10;

/// All lines of this process.
static LINES: Mutex<Lines> = Mutex::new(Lines {
    tickets: 0,
    threads: 0,
    by_directory: BTreeMap::new(),
});

/// Something in them has changed.
static CHANGED: Condvar = Condvar::new();

/// A place in the line of a directory, until it is dropped.
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
    inode: Inode,
    /// The file, locked once there is an answer that says so.
    file: Arc<OwnedFd>,
    answer: Option<Result<(), Errno>>,
}

// === impl Turn ===

impl Turn {
    /// Stands in line, at its end.
    pub(super) fn stand(directory: Inode) -> Self {
        let mut lines = lines();
        let ticket = lines.ticket();
        let line = lines.by_directory.entry(directory).or_default();
        line.writers.push_back(ticket);
        Self { directory, ticket }
    }

    /// Waits until it is the first in line.
    ///
    /// # Errors
    /// Held, if that does not come in time.
    pub(super) fn wait(&self, until: Instant) -> Result<(), ExclusiveError> {
        let lines = wait_while(lines(), until, |lines| !lines.is_first(self));
        if lines.is_first(self) {
            return Ok(());
        }
        // Those before us may be held up themselves.
        let line = lines.by_directory.get(&self.directory);
        let asked = line.and_then(|line| line.asked.as_ref());
        let elsewhere = asked.filter(|asked| asked.answer.is_none());
        let file = elsewhere.map(|asked| Arc::clone(&asked.file));
        drop(lines);
        let by = file.map_or(Holder::Here, kernel::holder);
        Err(ExclusiveError::Held { by })
    }

    /// Has the file locked, as the first in line; answers the descriptor that the lock lasts with.
    ///
    /// # Errors
    /// Held, if another process has it for too long; no-thread; of files, what the kernel says.
    pub(super) fn lock(
        &self,
        file: OwnedFd,
        until: Instant,
    ) -> Result<Arc<OwnedFd>, ExclusiveError> {
        let inode = identity(&file)?;
        let file = Arc::new(file);
        let replaced = lines().take_replaced(self.directory, inode);
        drop(replaced);
        let is_asked = lines().is_asked(self.directory);
        if !is_asked && self.try_or_ask(&file, inode, until)? {
            return Ok(file);
        }
        match self.answer(until) {
            Some(asked) => asked,
            None => Err(held(&file)),
        }
    }

    /// Locks the file where nobody else has it, and answers true; else has a thread wait for it, once
    /// one is to be had.
    fn try_or_ask(
        &self,
        file: &Arc<OwnedFd>,
        inode: Inode,
        until: Instant,
    ) -> Result<bool, ExclusiveError> {
        if kernel::try_lock(file).map_err(FsError::from)? {
            return Ok(true);
        }
        let lines = wait_while(lines(), until, |lines| lines.threads >= THREADS);
        if lines.threads < THREADS {
            return self.ask(lines, file, inode).map(|()| false);
        }
        drop(lines);
        match kernel::try_lock(file).map_err(FsError::from)? {
            true => Ok(true),
            false => Err(held(file)),
        }
    }

    /// Has a thread wait for the file.
    fn ask(
        &self,
        mut lines: MutexGuard<'static, Lines>,
        file: &Arc<OwnedFd>,
        inode: Inode,
    ) -> Result<(), ExclusiveError> {
        let (directory, ticket) = (self.directory, lines.ticket());
        let thread = thread::Builder::new()
            .name("volume-lock".to_owned())
            .stack_size(STACK);
        let waited_for = Arc::clone(file);
        let waiting = thread.spawn(move || {
            let locked = kernel::wait(&waited_for);
            // Before the answer: whoever gets that decides how long the lock lasts.
            drop(waited_for);
            answer(directory, ticket, locked);
        });
        if waiting.is_err() {
            drop(lines);
            let by = kernel::holder(file);
            return Err(ExclusiveError::NoThread { by });
        }
        lines.threads += 1;
        let line = lines.by_directory.entry(directory).or_default();
        line.asked = Some(Asked {
            ticket,
            inode,
            file: Arc::clone(file),
            answer: None,
        });
        Ok(())
    }

    /// Waits for the thread; what it has got, if that comes in time.
    fn answer(&self, until: Instant) -> Option<Result<Arc<OwnedFd>, ExclusiveError>> {
        let mut lines = wait_while(lines(), until, |lines| {
            let line = lines.by_directory.get(&self.directory);
            let asked = line.and_then(|line| line.asked.as_ref());
            asked.is_some_and(|asked| asked.answer.is_none())
        });
        let line = lines.by_directory.get_mut(&self.directory)?;
        let asked = line.asked.take_if(|asked| asked.answer.is_some())?;
        drop(lines);
        match asked.answer? {
            Ok(()) => Some(Ok(asked.file)),
            Err(errno) => Some(Err(FsError::from(errno).into())),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lines = lines();
        if let Some(line) = lines.by_directory.get_mut(&self.directory) {
            line.writers.retain(|ticket| *ticket != self.ticket);
        }
        let unwanted = lines.take_unwanted(self.directory);
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

    fn is_first(&self, turn: &Turn) -> bool {
        let line = self.by_directory.get(&turn.directory);
        line.and_then(|line| line.writers.front()) == Some(&turn.ticket)
    }

    /// Whether a thread waits, or has waited, for the file of a directory.
    fn is_asked(&self, directory: Inode) -> bool {
        let line = self.by_directory.get(&directory);
        line.is_some_and(|line| line.asked.is_some())
    }

    /// Takes out what waits for another file than this: the one that was there before it.
    fn take_replaced(&mut self, directory: Inode, inode: Inode) -> Option<Asked> {
        let line = self.by_directory.get_mut(&directory)?;
        line.asked.take_if(|asked| asked.inode != inode)
    }

    /// Takes out what nobody needs of a line: an answer when nobody is left in it, then itself.
    fn take_unwanted(&mut self, directory: Inode) -> Option<Asked> {
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
fn answer(directory: Inode, ticket: u64, locked: Result<(), Errno>) {
    let mut lines = lines();
    lines.threads -= 1;
    let line = lines.by_directory.get_mut(&directory);
    let asked = line.and_then(|line| line.asked.as_mut());
    if let Some(asked) = asked.filter(|asked| asked.ticket == ticket) {
        asked.answer = Some(locked);
    }
    let unwanted = lines.take_unwanted(directory);
    drop(lines);
    drop(unwanted);
    CHANGED.notify_all();
}

fn held(file: &Arc<OwnedFd>) -> ExclusiveError {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turn_is_the_first_ones_then_the_next_ones() {
        // No file system has it.
        let directory = (u64::MAX, 1);
        let in_line = |turns: &[Option<Turn>]| -> Vec<bool> {
            let now = Instant::now();
            let there = turns.iter().flatten();
            there.map(|turn| turn.wait(now).is_ok()).collect()
        };
        let mut turns: Vec<_> = (0..4).map(|_| Some(Turn::stand(directory))).collect();
        assert_eq!(in_line(&turns), [true, false, false, false]);
        // One that gives up goes from the middle.
        for (gone, left) in [(2, vec![true, false, false]), (0, vec![true, false])] {
            turns[gone] = None;
            assert_eq!(in_line(&turns), left);
        }
        turns.push(Some(Turn::stand(directory)));
        assert_eq!(in_line(&turns), [true, false, false]);
        turns[1] = None;
        assert_eq!(in_line(&turns), [true, false], "not the last one");
        let now = Instant::now();
        assert!(turns[3].as_ref().is_some_and(|turn| turn.wait(now).is_ok()));
        turns.clear();
        assert!(!lines().by_directory.contains_key(&directory));
    }
}
