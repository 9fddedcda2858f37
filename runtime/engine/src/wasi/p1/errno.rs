//! Error numbers of preview 1, and what our own errors are in them: each in one place.

use net::NetError;
use volume::FsError;

/// Why a call failed. The numbers are preview 1's own, not Linux'; 0 is success and none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Errno {
    Acces = 2,
    Addrinuse = 3,
    Addrnotavail = 4,
    Again = 6,
    Already = 7,
    Badf = 8,
    Busy = 10,
    Connaborted = 13,
    Connrefused = 14,
    Connreset = 15,
    Deadlk = 16,
    Dquot = 19,
    Exist = 20,
    Fault = 21,
    Fbig = 22,
    Hostunreach = 23,
    Ilseq = 25,
    Inprogress = 26,
    Intr = 27,
    Inval = 28,
    Io = 29,
    Isdir = 31,
    Loop = 32,
    Mfile = 33,
    Mlink = 34,
    Msgsize = 35,
    Nametoolong = 37,
    Nobufs = 42,
    Nodev = 43,
    Noent = 44,
    Nolck = 46,
    Nomem = 48,
    Nospc = 51,
    Nosys = 52,
    Notconn = 53,
    Notdir = 54,
    Notempty = 55,
    Notrecoverable = 56,
    Notsock = 57,
    Notsup = 58,
    Notty = 59,
    Nxio = 60,
    Overflow = 61,
    Perm = 63,
    Pipe = 64,
    Rofs = 69,
    Spipe = 70,
    Timedout = 73,
    Txtbsy = 74,
    Xdev = 75,
}

// === impl Errno ===

impl Errno {
    /// Its number on the wire.
    pub(super) fn number(self) -> u16 {
        self as u16
    }
}

impl From<FsError> for Errno {
    fn from(error: FsError) -> Self {
        match error {
            FsError::Access => Self::Acces,
            FsError::WouldBlock => Self::Again,
            FsError::Already => Self::Already,
            FsError::BadDescriptor => Self::Badf,
            FsError::Busy => Self::Busy,
            FsError::Deadlock => Self::Deadlk,
            FsError::Quota => Self::Dquot,
            FsError::Exist => Self::Exist,
            FsError::FileTooLarge => Self::Fbig,
            FsError::IllegalByteSequence => Self::Ilseq,
            FsError::InProgress => Self::Inprogress,
            FsError::Interrupted => Self::Intr,
            FsError::Invalid => Self::Inval,
            FsError::Io => Self::Io,
            FsError::IsDirectory => Self::Isdir,
            FsError::Loop => Self::Loop,
            FsError::TooManyLinks => Self::Mlink,
            FsError::MessageSize => Self::Msgsize,
            FsError::NameTooLong => Self::Nametoolong,
            FsError::NoDevice => Self::Nodev,
            FsError::NoEntry => Self::Noent,
            FsError::NoLock => Self::Nolck,
            FsError::InsufficientMemory => Self::Nomem,
            FsError::InsufficientSpace => Self::Nospc,
            FsError::NotDirectory => Self::Notdir,
            FsError::NotEmpty => Self::Notempty,
            FsError::NotRecoverable => Self::Notrecoverable,
            FsError::Unsupported => Self::Notsup,
            FsError::NoTty => Self::Notty,
            FsError::NoSuchDevice => Self::Nxio,
            FsError::Overflow => Self::Overflow,
            FsError::NotPermitted => Self::Perm,
            FsError::Pipe => Self::Pipe,
            FsError::ReadOnly => Self::Rofs,
            FsError::InvalidSeek => Self::Spipe,
            FsError::TextFileBusy => Self::Txtbsy,
            FsError::CrossDevice => Self::Xdev,
        }
    }
}

impl From<NetError> for Errno {
    fn from(error: NetError) -> Self {
        match error {
            NetError::AccessDenied => Self::Acces,
            NetError::NotSupported => Self::Notsup,
            NetError::InvalidArgument | NetError::InvalidState => Self::Inval,
            NetError::OutOfMemory => Self::Nobufs,
            NetError::Timeout => Self::Timedout,
            NetError::WouldBlock | NetError::TemporaryResolverFailure => Self::Again,
            NetError::NewSocketLimit => Self::Mfile,
            NetError::AddressNotBindable => Self::Addrnotavail,
            NetError::AddressInUse => Self::Addrinuse,
            NetError::RemoteUnreachable => Self::Hostunreach,
            NetError::ConnectionRefused => Self::Connrefused,
            NetError::ConnectionReset => Self::Connreset,
            NetError::ConnectionAborted => Self::Connaborted,
            NetError::ConnectionBroken => Self::Pipe,
            NetError::DatagramTooLarge => Self::Msgsize,
            NetError::NameUnresolvable => Self::Noent,
            NetError::PermanentResolverFailure | NetError::Unknown => Self::Io,
        }
    }
}
