//! What a file call takes and gives besides bytes: kinds, times, attributes, flags.
//!
//! The shapes are those of wasi:filesystem 0.2; the engine turns them into its generated types.
//! Nothing here opens anything.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::time::SystemTime;

use rustix::fs::{
    Advice as KernelAdvice, FileType, Stat as KernelStat, Timespec, UTIME_NOW, UTIME_OMIT,
};

use crate::FsError;

/// The type of a file system object: `descriptor-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// None of the others.
    Unknown,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharacterDevice,
    /// A directory, those that exist only because a mount lies below them included.
    Directory,
    /// A named pipe.
    Fifo,
    /// A symbolic link.
    SymbolicLink,
    /// A regular file.
    RegularFile,
    /// A socket.
    Socket,
}

/// Attributes of a file: `descriptor-stat`, and its identity for preview 1's `dev` and `ino`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Hard links to it.
    pub link_count: u64,
    /// Bytes; for a symbolic link the length of its target.
    pub size: u64,
    /// Last read.
    pub accessed: Timestamp,
    /// Last written.
    pub modified: Timestamp,
    /// Last change of its attributes.
    pub changed: Timestamp,
    /// The same for two names of one object, different for two objects; says nothing about the
    /// node's device and inode numbers. `lower` serves as preview 1's `ino`.
    pub identity: MetadataHash,
}

/// A point in time, as the kernel keeps it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970; negative before.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// What a timestamp is set to: `new-timestamp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// It stays.
    NoChange,
    /// The time of the call.
    Now,
    /// This time.
    At(Timestamp),
}

/// 128 bits that stand for an object: `metadata-hash-value`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct MetadataHash {
    /// The lower half.
    pub lower: u64,
    /// The upper half.
    pub upper: u64,
}

/// How a file will be used: `advice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Nothing is known.
    Normal,
    /// From low to high offsets.
    Sequential,
    /// In any order.
    Random,
    /// Soon.
    WillNeed,
    /// Not soon.
    DontNeed,
    /// Once.
    NoReuse,
}

/// How [`crate::Node::open_at`] opens: `open-flags` and `descriptor-flags` in one.
///
/// As wasi:filesystem has it, `create` and `truncate` imply writing, and what is not opened for
/// writing is opened for reading; [`NodeFlags`] tells the outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Content may be read.
    pub read: bool,
    /// Content may be written; on a directory is-directory.
    pub write: bool,
    /// Entries of the directory may be changed. Recorded only: what decides is the mount.
    pub mutate_directory: bool,
    /// Makes the file where it is absent.
    pub create: bool,
    /// With `create`: exist if there is anything, a link included.
    pub exclusive: bool,
    /// Not-directory unless it is one. Invalid together with create, exclusive or truncate.
    pub directory: bool,
    /// Cuts the file to nothing.
    pub truncate: bool,
    /// Every write waits for data and metadata to be on disk (O_SYNC).
    pub file_integrity_sync: bool,
    /// Every write waits for its data to be on disk (O_DSYNC).
    pub data_integrity_sync: bool,
    /// Reads are as synchronous as writes; Linux has no more than O_SYNC for it.
    pub requested_write_sync: bool,
}

/// How a node is open: `descriptor-flags`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeFlags {
    /// Content may be read.
    pub read: bool,
    /// Content may be written.
    pub write: bool,
    /// Entries may be changed; never set below a read-only mount.
    pub mutate_directory: bool,
    /// As asked for when it was opened.
    pub file_integrity_sync: bool,
    /// As asked for when it was opened.
    pub data_integrity_sync: bool,
    /// As asked for when it was opened.
    pub requested_write_sync: bool,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name; never `.` or `..`.
    pub name: String,
    /// What it is; a link is not followed.
    pub kind: FileKind,
    /// The `lower` half of its [`Stat::identity`]: preview 1's `d_ino`.
    pub inode: u64,
}

/// What hides the node's device and inode numbers: random per process.
static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Linux' UTIME_NOW and UTIME_OMIT stand in the nanoseconds.
const BILLION: u32 = 1_000_000_000;

// === impl FileKind ===

impl From<FileType> for FileKind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::RegularFile,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::SymbolicLink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharacterDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Unknown => Self::Unknown,
        }
    }
}

// === impl Stat ===

impl Stat {
    /// What the kernel says of a real object.
    pub(crate) fn from_kernel(stat: &KernelStat) -> Self {
        Self {
            kind: kind_of(stat),
            link_count: stat.st_nlink,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            accessed: Timestamp::from_kernel(stat.st_atime, stat.st_atime_nsec),
            modified: Timestamp::from_kernel(stat.st_mtime, stat.st_mtime_nsec),
            changed: Timestamp::from_kernel(stat.st_ctime, stat.st_ctime_nsec),
            identity: MetadataHash::of(&Identity::Object(stat.st_dev, stat.st_ino)),
        }
    }

    /// A directory that is nowhere on the disk.
    pub(crate) fn of_unmade_directory(at: Timestamp) -> Self {
        Self {
            kind: FileKind::Directory,
            link_count: 1,
            size: 0,
            accessed: at,
            modified: at,
            changed: at,
            identity: MetadataHash::default(),
        }
    }
}

/// The type of what the kernel describes.
pub(crate) fn kind_of(stat: &KernelStat) -> FileKind {
    FileType::from_raw_mode(stat.st_mode).into()
}

// === impl Timestamp ===

impl Timestamp {
    /// The time now.
    pub(crate) fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: since.subsec_nanos(),
        }
    }

    fn from_kernel(seconds: i64, nanoseconds: u64) -> Self {
        Self {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
        }
    }
}

// === impl SetTime ===

impl SetTime {
    /// As `utimensat` takes it. Errors: invalid for a full second of nanoseconds or more.
    pub(crate) fn to_kernel(self) -> Result<Timespec, FsError> {
        let (tv_sec, tv_nsec) = match self {
            Self::NoChange => (0, UTIME_OMIT),
            Self::Now => (0, UTIME_NOW),
            Self::At(time) if time.nanoseconds < BILLION => {
                (time.seconds, i64::from(time.nanoseconds))
            }
            Self::At(_) => return Err(FsError::Invalid),
        };
        Ok(Timespec { tv_sec, tv_nsec })
    }
}

// === impl MetadataHash ===

/// What makes an object itself.
#[derive(Debug, Hash)]
pub(crate) enum Identity {
    /// Device and inode number.
    Object(u64, u64),
    /// The root of a volume, whether it is made or not.
    Volume(u64),
    /// A directory of a mount table at or above a mount point: table, place in its tree.
    Point(u64, usize),
}

impl MetadataHash {
    /// The hash that stands for an identity as long as this process lives.
    pub(crate) fn of(identity: &Identity) -> Self {
        Self {
            lower: SECRET.hash_one((identity, "lower")),
            upper: SECRET.hash_one((identity, "upper")),
        }
    }
}

// === impl Advice ===

impl From<Advice> for KernelAdvice {
    fn from(advice: Advice) -> Self {
        match advice {
            Advice::Normal => Self::Normal,
            Advice::Sequential => Self::Sequential,
            Advice::Random => Self::Random,
            Advice::WillNeed => Self::WillNeed,
            Advice::DontNeed => Self::DontNeed,
            Advice::NoReuse => Self::NoReuse,
        }
    }
}
