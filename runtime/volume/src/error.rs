//! What a guest is told when a file call fails, and what the node is told when a volume cannot be
//! made.
//!
//! [`FsError`] is the error-code of wasi:filesystem 0.2, variant for variant; preview 1 has an
//! errno for each. Operating system errors become one in a single place, [`FsError::from_errno`].
//! Nothing here decides what is refused: that is said where it is refused.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Why a file call failed: `wasi:filesystem/types.error-code`, one to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FsError {
    /// EACCES.
    #[error("permission denied")]
    Access,
    /// EAGAIN.
    #[error("resource temporarily unavailable")]
    WouldBlock,
    /// EALREADY.
    #[error("operation already in progress")]
    Already,
    /// EBADF: a file call on a directory, a read of a descriptor opened for writing, and so on.
    #[error("bad descriptor")]
    BadDescriptor,
    /// EBUSY: removing or renaming a mount point or what holds one.
    #[error("device or resource busy")]
    Busy,
    /// EDEADLK.
    #[error("resource deadlock would occur")]
    Deadlock,
    /// EDQUOT.
    #[error("disk quota exceeded")]
    Quota,
    /// EEXIST.
    #[error("file exists")]
    Exist,
    /// EFBIG.
    #[error("file too large")]
    FileTooLarge,
    /// EILSEQ: a name that is not UTF-8.
    #[error("illegal byte sequence")]
    IllegalByteSequence,
    /// EINPROGRESS.
    #[error("operation in progress")]
    InProgress,
    /// EINTR.
    #[error("interrupted")]
    Interrupted,
    /// EINVAL.
    #[error("invalid argument")]
    Invalid,
    /// EIO, and every operating system error without a code of its own.
    #[error("input/output error")]
    Io,
    /// EISDIR.
    #[error("is a directory")]
    IsDirectory,
    /// ELOOP: too many links, or a link where none is to be followed.
    #[error("too many levels of symbolic links")]
    Loop,
    /// EMLINK.
    #[error("too many links")]
    TooManyLinks,
    /// EMSGSIZE.
    #[error("message too long")]
    MessageSize,
    /// ENAMETOOLONG.
    #[error("file name too long")]
    NameTooLong,
    /// ENODEV.
    #[error("no such device")]
    NoDevice,
    /// ENOENT.
    #[error("no such file or directory")]
    NoEntry,
    /// ENOLCK.
    #[error("no locks available")]
    NoLock,
    /// ENOMEM.
    #[error("cannot allocate memory")]
    InsufficientMemory,
    /// ENOSPC: the disk is full, or the volume's limit is reached.
    #[error("no space left on device")]
    InsufficientSpace,
    /// ENOTDIR.
    #[error("not a directory")]
    NotDirectory,
    /// ENOTEMPTY.
    #[error("directory not empty")]
    NotEmpty,
    /// ENOTRECOVERABLE.
    #[error("state not recoverable")]
    NotRecoverable,
    /// ENOTSUP, ENOSYS.
    #[error("operation not supported")]
    Unsupported,
    /// ENOTTY.
    #[error("inappropriate ioctl for device")]
    NoTty,
    /// ENXIO: opening a FIFO, a socket or a device.
    #[error("no such device or address")]
    NoSuchDevice,
    /// EOVERFLOW.
    #[error("value too large for defined data type")]
    Overflow,
    /// EPERM: a path that leads out of the descriptor it is relative to, an absolute link.
    #[error("operation not permitted")]
    NotPermitted,
    /// EPIPE.
    #[error("broken pipe")]
    Pipe,
    /// EROFS: writing below a read-only mount.
    #[error("read-only file system")]
    ReadOnly,
    /// ESPIPE.
    #[error("illegal seek")]
    InvalidSeek,
    /// ETXTBSY.
    #[error("text file busy")]
    TextFileBusy,
    /// EXDEV: renaming or linking from one mount to another.
    #[error("invalid cross-device link")]
    CrossDevice,
}

/// Why a volume or a mount cannot be made, in kubelet's words where it has some.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A mount or an order names a volume that the pod does not have.
    #[error("volume {volume:?} is not among the pod's volumes; declare it under spec.volumes")]
    Unknown {
        /// The name.
        volume: String,
    },
    /// `hostPath.type` does not hold.
    #[error(
        "MountVolume.SetUp failed for volume {volume:?} : hostPath type check failed: {path} is not {expected}"
    )]
    HostPathType {
        /// The volume's name.
        volume: String,
        /// The path on the node.
        path: PathBuf,
        /// What it should be: "a directory", "a file" and so on.
        expected: &'static str,
    },
    /// A path that the manifest gives cannot be used.
    #[error("{field} {path:?} of volume {volume:?} {problem}")]
    Path {
        /// The volume's name.
        volume: String,
        /// The field of the manifest: "mountPath", "subPath", "path".
        field: &'static str,
        /// Its value.
        path: String,
        /// What is wrong and what would be right.
        problem: &'static str,
    },
    /// No directory can be made where a container is to begin.
    #[error("workingDir {path:?} {problem}; give another workingDir")]
    WorkingDir {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A subPath cannot be opened or made.
    #[error(
        "failed to prepare subPath {path:?} of volume {volume:?}: {reason}; it must lie in the volume"
    )]
    SubPath {
        /// The volume's name.
        volume: String,
        /// The subPath.
        path: String,
        /// What stood in the way.
        reason: FsError,
    },
    /// The order does not fit what the volume holds.
    #[error("volume {volume:?} {problem}")]
    Kind {
        /// The volume's name.
        volume: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The volume has been removed with its pod or container.
    #[error("volume {volume:?} has been removed with its pod")]
    Removed {
        /// Its name.
        volume: String,
    },
    /// A directory of a pod or container cannot be deleted.
    #[error("cannot remove {}: {source}; remove it by hand if that stays so", path.display())]
    Remove {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system refused.
    #[error("volume {volume:?}: cannot {action} {}: {source}", path.display())]
    Io {
        /// The volume's name, or the container's for its scratch directory.
        volume: String,
        /// What was tried: "make directory", "write", "remove" and so on.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

// === impl FsError ===

impl FsError {
    /// The code for an operating system error.
    pub fn from_errno(errno: Errno) -> Self {
        match errno {
            Errno::ACCESS => Self::Access,
            Errno::AGAIN => Self::WouldBlock,
            Errno::ALREADY => Self::Already,
            Errno::BADF => Self::BadDescriptor,
            Errno::BUSY => Self::Busy,
            Errno::DEADLK => Self::Deadlock,
            Errno::DQUOT => Self::Quota,
            Errno::EXIST => Self::Exist,
            Errno::FBIG => Self::FileTooLarge,
            Errno::ILSEQ => Self::IllegalByteSequence,
            Errno::INPROGRESS => Self::InProgress,
            Errno::INTR => Self::Interrupted,
            Errno::INVAL => Self::Invalid,
            Errno::ISDIR => Self::IsDirectory,
            Errno::LOOP => Self::Loop,
            Errno::MLINK => Self::TooManyLinks,
            Errno::MSGSIZE => Self::MessageSize,
            Errno::NAMETOOLONG => Self::NameTooLong,
            Errno::NODEV => Self::NoDevice,
            Errno::NOENT => Self::NoEntry,
            Errno::NOLCK => Self::NoLock,
            Errno::NOMEM => Self::InsufficientMemory,
            Errno::NOSPC => Self::InsufficientSpace,
            Errno::NOTDIR => Self::NotDirectory,
            Errno::NOTEMPTY => Self::NotEmpty,
            Errno::NOTRECOVERABLE => Self::NotRecoverable,
            Errno::NOTSUP | Errno::NOSYS => Self::Unsupported,
            Errno::NOTTY => Self::NoTty,
            Errno::NXIO => Self::NoSuchDevice,
            Errno::OVERFLOW => Self::Overflow,
            Errno::PERM => Self::NotPermitted,
            Errno::PIPE => Self::Pipe,
            Errno::ROFS => Self::ReadOnly,
            Errno::SPIPE => Self::InvalidSeek,
            Errno::TXTBSY => Self::TextFileBusy,
            Errno::XDEV => Self::CrossDevice,
            _ => Self::Io,
        }
    }
}

impl From<Errno> for FsError {
    fn from(errno: Errno) -> Self {
        Self::from_errno(errno)
    }
}

impl From<&io::Error> for FsError {
    fn from(error: &io::Error) -> Self {
        if let Some(errno) = Errno::from_io_error(error) {
            return Self::from_errno(errno);
        }
        match error.kind() {
            io::ErrorKind::NotFound => Self::NoEntry,
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            io::ErrorKind::AlreadyExists => Self::Exist,
            io::ErrorKind::InvalidInput => Self::Invalid,
            _ => Self::Io,
        }
    }
}

impl From<io::Error> for FsError {
    fn from(error: io::Error) -> Self {
        Self::from(&error)
    }
}

// === impl VolumeError ===

impl VolumeError {
    /// An operating system error with what was tried where.
    pub(crate) fn io(
        volume: &str,
        action: &'static str,
        path: &Path,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io {
            volume: volume.to_owned(),
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }
}

/// What a guest is told when the volume below its path cannot be made: the operating system's
/// reason where there is one, else an input/output error. The node learns the whole text from
/// `check`.
impl From<&VolumeError> for FsError {
    fn from(error: &VolumeError) -> Self {
        match error {
            VolumeError::Io { source, .. } => Self::from(source),
            VolumeError::HostPathType { .. } | VolumeError::Removed { .. } => Self::NoEntry,
            VolumeError::SubPath { reason, .. } => *reason,
            _ => Self::Io,
        }
    }
}
