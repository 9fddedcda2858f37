//! The kernel's lock on an open file, and who else has one.
//!
//! ```text
//! byte 0         held by who is next, while it waits
//! all others     held by who writes
//! ```
//!
//! Why this of its three locks: a record lock of POSIX is the process's, who loses it with any
//! descriptor of the file that it closes, a guest's too; and `flock` is not for confined processes,
//! which could hold up others with it. One of an open file description has neither fault.
//!
//! Why two parts: the kernel wakes who waits, and does not hand the lock over. A process that
//! writes without a pause would have it again before the one that was woken runs. So whoever comes
//! needs byte 0 as well, and who waits keeps that until its turn has come.

use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::io::Errno;

use super::Holder;

/// Part of a file: its first byte, and how many there are, 0 for all to its end.
type Part = (libc::off_t, libc::off_t);

const WHOLE: Part = (0, 0);
const NEXT: Part = (0, 1);
const WRITER: Part = (1, 0);

/// Locks the file for writing if nobody else has it or waits for it; answers whether it did.
pub(super) fn try_lock(file: impl AsFd) -> Result<bool, Errno> {
    match said(fcntl(&file, FcntlArg::F_OFD_SETLK(&lock(WHOLE)))) {
        Ok(()) => let_others_wait(file).map(|()| true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The same, waited for: as long as another has it, and nothing ends it before.
pub(super) fn wait(file: impl AsFd) -> Result<(), Errno> {
    wait_for(&file, NEXT)?;
    wait_for(&file, WRITER)?;
    let_others_wait(file)
}

/// Who else writes, or waits to; nameless too where that has just changed.
pub(super) fn holder(file: impl AsFd) -> Holder {
    let found = [WRITER, NEXT].into_iter().find_map(|part| {
        let mut asked = lock(part);
        let said = said(fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked)));
        let is_held = said.is_ok() && i32::from(asked.l_type) != libc::F_UNLCK;
        is_held.then_some(asked.l_pid)
    });
    match found {
        // Zero is one of another PID namespace, and no number is one of an open file.
        Some(process) if process > 0 => Holder::Process(process),
        _ => Holder::Nameless,
    }
}

/// Gives back what only the next one needs.
fn let_others_wait(file: impl AsFd) -> Result<(), Errno> {
    let free = range(libc::F_UNLCK, NEXT);
    said(fcntl(file, FcntlArg::F_OFD_SETLK(&free)))
}

fn wait_for(file: impl AsFd, part: Part) -> Result<(), Errno> {
    loop {
        match said(fcntl(&file, FcntlArg::F_OFD_SETLKW(&lock(part)))) {
            Err(Errno::INTR) => {}
            locked => return locked,
        }
    }
}

/// A part of a file, for nobody else.
fn lock(part: Part) -> libc::flock {
    range(libc::F_WRLCK, part)
}

fn range(kind: libc::c_int, (start, length): Part) -> libc::flock {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the kernel's numbers are small"
    )]
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

fn said(answer: nix::Result<i32>) -> Result<(), Errno> {
    match answer {
        Ok(_) => Ok(()),
        Err(errno) => Err(Errno::from_raw_os_error(errno as i32)),
    }
}
