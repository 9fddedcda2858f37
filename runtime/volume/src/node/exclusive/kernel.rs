//! The kernel's lock on an open file, and who else has one.
//!
//! Why this of its three: a record lock of POSIX is the process's, who loses it with any descriptor
//! of the file that it closes, a guest's too; and `flock` is not for confined processes, which could
//! hold up others with it. One of an open file description has neither fault.

use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::io::Errno;

use super::Holder;

/// Locks all of the file if nobody else has it; answers whether it did.
pub(super) fn try_lock(file: impl AsFd) -> Result<bool, Errno> {
    match said(fcntl(file, FcntlArg::F_OFD_SETLK(&whole()))) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The same, waited for: as long as another has it, and nothing ends it before.
pub(super) fn wait(file: impl AsFd) -> Result<(), Errno> {
    loop {
        match said(fcntl(&file, FcntlArg::F_OFD_SETLKW(&whole()))) {
            Err(Errno::INTR) => {}
            locked => return locked,
        }
    }
}

/// Who else has it; nameless too where that has just changed.
pub(super) fn holder(file: impl AsFd) -> Holder {
    let mut asked = whole();
    let found = said(fcntl(file, FcntlArg::F_OFD_GETLK(&mut asked)));
    match found {
        // Zero is one of another PID namespace, and no number is one of an open file.
        Ok(()) if asked.l_pid > 0 => Holder::Process(asked.l_pid),
        _ => Holder::Nameless,
    }
}

/// All of a file, to be written in by nobody else.
fn whole() -> libc::flock {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the kernel's numbers are small"
    )]
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn said(answer: nix::Result<i32>) -> Result<(), Errno> {
    match answer {
        Ok(_) => Ok(()),
        Err(errno) => Err(Errno::from_raw_os_error(errno as i32)),
    }
}
