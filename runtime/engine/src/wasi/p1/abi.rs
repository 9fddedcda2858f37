//! Preview 1's numbers and the layouts of its structures, as the witx files fix them.
//!
//! Structures are little-endian and are read and written field by field at fixed offsets; nothing
//! here touches a guest's memory.

use volume::{FileKind, Stat, Timestamp};

use super::errno::Errno;

/// Bytes of an iovec or ciovec: pointer, length.
pub(super) const IOVEC: usize = 8;
/// Bytes of a dirent before its name.
pub(super) const DIRENT: usize = 24;
/// Bytes of a subscription.
pub(super) const SUBSCRIPTION: usize = 48;
/// Bytes of an event.
pub(super) const EVENT: usize = 32;

/// `filetype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FileType {
    Unknown = 0,
    BlockDevice = 1,
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SocketStream = 6,
    SymbolicLink = 7,
}

/// `preopentype`, and beyond it what a program is to leave alone while it looks for directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum PreopenType {
    Directory = 0,
    Listener = 1,
}

/// `fdflags`.
pub(super) mod fdflags {
    pub(in crate::wasi::p1) const APPEND: u16 = 1;
    pub(in crate::wasi::p1) const DSYNC: u16 = 1 << 1;
    pub(in crate::wasi::p1) const NONBLOCK: u16 = 1 << 2;
    pub(in crate::wasi::p1) const RSYNC: u16 = 1 << 3;
    pub(in crate::wasi::p1) const SYNC: u16 = 1 << 4;
    /// Flags that say how writes reach the disk; they are fixed when a file is opened.
    pub(in crate::wasi::p1) const SYNCS: u16 = DSYNC | RSYNC | SYNC;
    /// Every flag there is.
    pub(in crate::wasi::p1) const ALL: u16 = APPEND | NONBLOCK | SYNCS;
}

/// `oflags` of `path_open`.
pub(super) mod oflags {
    pub(in crate::wasi::p1) const CREAT: u32 = 1;
    pub(in crate::wasi::p1) const DIRECTORY: u32 = 1 << 1;
    pub(in crate::wasi::p1) const EXCL: u32 = 1 << 2;
    pub(in crate::wasi::p1) const TRUNC: u32 = 1 << 3;
    /// Every flag there is.
    pub(in crate::wasi::p1) const ALL: u32 = CREAT | DIRECTORY | EXCL | TRUNC;
}

/// `fstflags`: which times to set, and to what.
pub(super) mod fstflags {
    pub(in crate::wasi::p1) const ATIM: u32 = 1;
    pub(in crate::wasi::p1) const ATIM_NOW: u32 = 1 << 1;
    pub(in crate::wasi::p1) const MTIM: u32 = 1 << 2;
    pub(in crate::wasi::p1) const MTIM_NOW: u32 = 1 << 3;
    /// Every flag there is.
    pub(in crate::wasi::p1) const ALL: u32 = ATIM | ATIM_NOW | MTIM | MTIM_NOW;
}

/// `rights`: what a descriptor may be used for. They are told, never granted or taken: what
/// decides is the kind of descriptor, how it was opened and the mount below it.
pub(super) mod rights {
    pub(in crate::wasi::p1) const FD_DATASYNC: u64 = 1;
    pub(in crate::wasi::p1) const FD_READ: u64 = 1 << 1;
    pub(in crate::wasi::p1) const FD_SEEK: u64 = 1 << 2;
    pub(in crate::wasi::p1) const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
    pub(in crate::wasi::p1) const FD_SYNC: u64 = 1 << 4;
    pub(in crate::wasi::p1) const FD_TELL: u64 = 1 << 5;
    pub(in crate::wasi::p1) const FD_WRITE: u64 = 1 << 6;
    pub(in crate::wasi::p1) const FD_ADVISE: u64 = 1 << 7;
    pub(in crate::wasi::p1) const FD_ALLOCATE: u64 = 1 << 8;
    pub(in crate::wasi::p1) const PATH_CREATE_DIRECTORY: u64 = 1 << 9;
    pub(in crate::wasi::p1) const PATH_CREATE_FILE: u64 = 1 << 10;
    pub(in crate::wasi::p1) const PATH_LINK_SOURCE: u64 = 1 << 11;
    pub(in crate::wasi::p1) const PATH_LINK_TARGET: u64 = 1 << 12;
    pub(in crate::wasi::p1) const PATH_OPEN: u64 = 1 << 13;
    pub(in crate::wasi::p1) const FD_READDIR: u64 = 1 << 14;
    pub(in crate::wasi::p1) const PATH_READLINK: u64 = 1 << 15;
    pub(in crate::wasi::p1) const PATH_RENAME_SOURCE: u64 = 1 << 16;
    pub(in crate::wasi::p1) const PATH_RENAME_TARGET: u64 = 1 << 17;
    pub(in crate::wasi::p1) const PATH_FILESTAT_GET: u64 = 1 << 18;
    pub(in crate::wasi::p1) const PATH_FILESTAT_SET_TIMES: u64 = 1 << 20;
    pub(in crate::wasi::p1) const FD_FILESTAT_GET: u64 = 1 << 21;
    pub(in crate::wasi::p1) const FD_FILESTAT_SET_SIZE: u64 = 1 << 22;
    pub(in crate::wasi::p1) const FD_FILESTAT_SET_TIMES: u64 = 1 << 23;
    pub(in crate::wasi::p1) const PATH_SYMLINK: u64 = 1 << 24;
    pub(in crate::wasi::p1) const PATH_REMOVE_DIRECTORY: u64 = 1 << 25;
    pub(in crate::wasi::p1) const PATH_UNLINK_FILE: u64 = 1 << 26;
    pub(in crate::wasi::p1) const POLL_FD_READWRITE: u64 = 1 << 27;
    pub(in crate::wasi::p1) const SOCK_SHUTDOWN: u64 = 1 << 28;
    pub(in crate::wasi::p1) const SOCK_ACCEPT: u64 = 1 << 29;

    /// What every stream has: standard input and output, sockets.
    pub(in crate::wasi::p1) const STREAM: u64 =
        FD_FDSTAT_SET_FLAGS | FD_FILESTAT_GET | POLL_FD_READWRITE;

    /// A directory. Programs expect these, and neither seeking nor sizes: isatty(3) of wasi-libc
    /// and the rights of what is opened below depend on it.
    pub(in crate::wasi::p1) const DIRECTORY: u64 = PATH_CREATE_DIRECTORY
        | PATH_CREATE_FILE
        | PATH_LINK_SOURCE
        | PATH_LINK_TARGET
        | PATH_OPEN
        | FD_READDIR
        | PATH_READLINK
        | PATH_RENAME_SOURCE
        | PATH_RENAME_TARGET
        | PATH_SYMLINK
        | PATH_REMOVE_DIRECTORY
        | PATH_UNLINK_FILE
        | PATH_FILESTAT_GET
        | PATH_FILESTAT_SET_TIMES
        | FD_FILESTAT_GET
        | FD_FILESTAT_SET_TIMES
        | FD_SYNC;

    /// A file that can be read and written.
    pub(in crate::wasi::p1) const FILE: u64 = FD_DATASYNC
        | FD_READ
        | FD_SEEK
        | FD_FDSTAT_SET_FLAGS
        | FD_SYNC
        | FD_TELL
        | FD_WRITE
        | FD_ADVISE
        | FD_ALLOCATE
        | FD_FILESTAT_GET
        | FD_FILESTAT_SET_SIZE
        | FD_FILESTAT_SET_TIMES
        | POLL_FD_READWRITE;

    /// What of [`FILE`] a file has only if it is open for writing.
    pub(in crate::wasi::p1) const WRITING: u64 = FD_WRITE | FD_ALLOCATE | FD_FILESTAT_SET_SIZE;
}

/// `lookupflags`: whether a link at the end of a path is followed.
pub(super) const SYMLINK_FOLLOW: u32 = 1;

/// `subclockflags`: the timeout is a point in time.
const CLOCK_ABSTIME: u16 = 1;

/// `eventrwflags`: the other end is closed, or there is nothing more to read.
pub(super) const HANGUP: u16 = 1;

/// `device` of every file: what lies behind a mount is the node's business.
const DEVICE: u64 = 1;

/// `fdstat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FdStat {
    pub(super) file_type: FileType,
    /// [`fdflags`].
    pub(super) flags: u16,
    /// [`rights`] of the descriptor.
    pub(super) rights: u64,
    /// [`rights`] of what is opened below it.
    pub(super) inheriting: u64,
}

/// `subscription`: what `poll_oneoff` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subscription {
    /// Given back in the event.
    pub(super) userdata: u64,
    pub(super) to: SubscribedTo,
}

/// `subscription_u`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubscribedTo {
    Clock {
        /// `clockid`.
        id: u32,
        /// Nanoseconds.
        timeout: u64,
        /// Whether the timeout is a point in time rather than a duration.
        absolute: bool,
    },
    /// This descriptor has something to read.
    Read(u32),
    /// This descriptor takes something.
    Write(u32),
}

/// `event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    /// The subscription's.
    pub(super) userdata: u64,
    /// Why it cannot be waited for.
    pub(super) error: Option<Errno>,
    /// The subscription's.
    pub(super) of: SubscribedTo,
    /// Bytes to be read or written without waiting.
    pub(super) bytes: u64,
    /// [`HANGUP`] or nothing.
    pub(super) flags: u16,
}

// === impl FileType ===

impl From<FileKind> for FileType {
    fn from(kind: FileKind) -> Self {
        match kind {
            // Preview 1 has no code for a FIFO, and cannot tell what sort of socket a file is.
            FileKind::Unknown | FileKind::Fifo | FileKind::Socket => Self::Unknown,
            FileKind::BlockDevice => Self::BlockDevice,
            FileKind::CharacterDevice => Self::CharacterDevice,
            FileKind::Directory => Self::Directory,
            FileKind::SymbolicLink => Self::SymbolicLink,
            FileKind::RegularFile => Self::RegularFile,
        }
    }
}

// === impl FdStat ===

impl FdStat {
    /// As it lies in memory.
    pub(super) fn pack(&self) -> [u8; 24] {
        let mut out = [0; 24];
        put(&mut out, 0, &[self.file_type as u8]);
        put(&mut out, 2, &self.flags.to_le_bytes());
        put(&mut out, 8, &self.rights.to_le_bytes());
        put(&mut out, 16, &self.inheriting.to_le_bytes());
        out
    }
}

/// `filestat` of a file.
pub(super) fn pack_stat(stat: &Stat) -> [u8; 64] {
    let mut out = pack_stream_stat(stat.kind.into());
    put(&mut out, 0, &DEVICE.to_le_bytes());
    put(&mut out, 8, &stat.identity.lower.to_le_bytes());
    put(&mut out, 24, &stat.link_count.to_le_bytes());
    put(&mut out, 32, &stat.size.to_le_bytes());
    put(&mut out, 40, &nanoseconds(stat.accessed).to_le_bytes());
    put(&mut out, 48, &nanoseconds(stat.modified).to_le_bytes());
    put(&mut out, 56, &nanoseconds(stat.changed).to_le_bytes());
    out
}

/// `filestat` of what has no attributes but its type.
pub(super) fn pack_stream_stat(file_type: FileType) -> [u8; 64] {
    let mut out = [0; 64];
    put(&mut out, 16, &[file_type as u8]);
    out
}

/// `dirent`, whose name follows. `next` is the cookie of the entry after it.
pub(super) fn pack_dirent(next: u64, inode: u64, name: &str, file_type: FileType) -> [u8; DIRENT] {
    let mut out = [0; DIRENT];
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    put(&mut out, 0, &next.to_le_bytes());
    put(&mut out, 8, &inode.to_le_bytes());
    put(&mut out, 16, &length.to_le_bytes());
    put(&mut out, 20, &[file_type as u8]);
    out
}

/// `prestat` of something whose name has so many bytes.
pub(super) fn pack_prestat(kind: PreopenType, name: u32) -> [u8; 8] {
    let mut out = [0; 8];
    put(&mut out, 0, &[kind as u8]);
    put(&mut out, 4, &name.to_le_bytes());
    out
}

// === impl Subscription ===

impl Subscription {
    /// Reads one. Errors: invalid for a type there is not.
    pub(super) fn unpack(bytes: &[u8; SUBSCRIPTION]) -> Result<Self, Errno> {
        let to = match number(bytes, 8, 1) {
            0 => SubscribedTo::Clock {
                id: word(bytes, 16),
                timeout: number(bytes, 24, 8),
                absolute: number(bytes, 40, 2) & u64::from(CLOCK_ABSTIME) != 0,
            },
            1 => SubscribedTo::Read(word(bytes, 16)),
            2 => SubscribedTo::Write(word(bytes, 16)),
            _ => return Err(Errno::Inval),
        };
        Ok(Self {
            userdata: number(bytes, 0, 8),
            to,
        })
    }
}

// === impl Event ===

impl Event {
    /// As it lies in memory.
    pub(super) fn pack(&self) -> [u8; EVENT] {
        let mut out = [0; EVENT];
        let kind = match self.of {
            SubscribedTo::Clock { .. } => 0,
            SubscribedTo::Read(_) => 1,
            SubscribedTo::Write(_) => 2,
        };
        put(&mut out, 0, &self.userdata.to_le_bytes());
        put(
            &mut out,
            8,
            &self.error.map_or(0, Errno::number).to_le_bytes(),
        );
        put(&mut out, 10, &[kind]);
        put(&mut out, 16, &self.bytes.to_le_bytes());
        put(&mut out, 24, &self.flags.to_le_bytes());
        out
    }
}

/// `timestamp`: nanoseconds since 1970. Earlier times have no form; they become 0.
fn nanoseconds(time: Timestamp) -> u64 {
    let seconds = u64::try_from(time.seconds).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(time.nanoseconds))
}

/// Puts a field at its offset. Offsets are constants within the structure.
fn put(out: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = out.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}

/// The number of `length` bytes at an offset.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let field = bytes.get(at..at + length).unwrap_or_default();
    field
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::try_from(number(bytes, at, 4)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
