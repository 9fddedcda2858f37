//! What can go wrong: for a guest a code, for the host a sentence.
//!
//! A guest's mistake is a value here and never a fault of the host. Nothing in this file knows
//! WASI; the codes are chosen so that each WASI error code has exactly one of them.

use std::io;

use model::runtime::PodId;
use rustix::io::Errno;

/// Why a socket or a name look-up refuses a guest: one code for each of WASI's, named as there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NetError {
    /// The switch does not let this pod go there. EACCES.
    #[error("access denied")]
    AccessDenied,
    /// The operation is not supported. EOPNOTSUPP.
    #[error("not supported")]
    NotSupported,
    /// Wrong address family, no unicast address, port 0 as a destination. EINVAL.
    #[error("invalid argument")]
    InvalidArgument,
    /// A buffer limit of the pod or of the machine. ENOBUFS.
    #[error("out of memory")]
    OutOfMemory,
    /// The peer did not answer in time. ETIMEDOUT.
    #[error("timed out")]
    Timeout,
    /// Not ready now: wait with the matching `poll_*`. EWOULDBLOCK.
    #[error("would block")]
    WouldBlock,
    /// The socket is not in a state that allows this. EINVAL, EISCONN, ENOTCONN.
    #[error("invalid state")]
    InvalidState,
    /// [`crate::limits::MAX_SOCKETS_PER_POD`] sockets are open, or the machine has no more. EMFILE.
    #[error("too many sockets")]
    NewSocketLimit,
    /// No address of this pod. EADDRNOTAVAIL.
    #[error("address not bindable")]
    AddressNotBindable,
    /// Another socket of the pod has it, or no ephemeral port is left. EADDRINUSE.
    #[error("address in use")]
    AddressInUse,
    /// No way to that address. ENETUNREACH, EHOSTUNREACH.
    #[error("remote unreachable")]
    RemoteUnreachable,
    /// Nobody listens there, or its backlog is full. ECONNREFUSED.
    #[error("connection refused")]
    ConnectionRefused,
    /// The peer went away with data unread. ECONNRESET.
    #[error("connection reset")]
    ConnectionReset,
    /// The connection was given up on this side. ECONNABORTED.
    #[error("connection aborted")]
    ConnectionAborted,
    /// Written to a connection that can take no more: closed by the peer or shut down. EPIPE.
    #[error("connection broken")]
    ConnectionBroken,
    /// More than [`crate::limits::MAX_DATAGRAM`] bytes. EMSGSIZE.
    #[error("datagram too large")]
    DatagramTooLarge,
    /// The name has no address of the wanted family. EAI_NONAME.
    #[error("name unresolvable")]
    NameUnresolvable,
    /// No resolver answered; later it may work. EAI_AGAIN.
    #[error("temporary resolver failure")]
    TemporaryResolverFailure,
    /// Every resolver refused or answered nonsense. EAI_FAIL.
    #[error("permanent resolver failure")]
    PermanentResolverFailure,
    /// Anything else the kernel said.
    #[error("unknown network error")]
    Unknown,
}

/// Why the switch cannot be made, or cannot take a pod.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The same pod twice.
    #[error("pod {} is on the switch already; remove it first", .0.0)]
    PodExists(PodId),
    /// The range is no range that blocks can be cut from.
    #[error("address range {range}/{prefix} cannot hold pods: {why}")]
    BadRange {
        /// The range's first address.
        range: std::net::Ipv4Addr,
        /// Its prefix length.
        prefix: u8,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Every block of the range belongs to some process.
    #[error(
        "no pod address is left in {range}/{prefix}: its {blocks} blocks are claimed by this and \
         other processes; end some, or choose a larger range"
    )]
    NoAddressLeft {
        /// The range's first address.
        range: std::net::Ipv4Addr,
        /// Its prefix length.
        prefix: u8,
        /// How many blocks it has.
        blocks: u32,
    },
    /// A switch whose addresses are given was asked to choose one.
    #[error("the pod was given no address, and this switch has none of its own to give")]
    NoAddressGiven,
    /// An address outside the range, or of another pod of the switch.
    #[error("address {0} is not free for a pod of this switch")]
    BadAddress(std::net::Ipv4Addr),
    /// A guard socket cannot be made at all.
    #[error("cannot claim pod addresses with the guard socket @{name}: {source}")]
    Guard {
        /// The guard's abstract name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

// === impl NetError ===

impl From<Errno> for NetError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ACCESS | Errno::PERM => Self::AccessDenied,
            Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT => Self::NotSupported,
            Errno::INVAL | Errno::DESTADDRREQ => Self::InvalidArgument,
            Errno::NOMEM | Errno::NOBUFS => Self::OutOfMemory,
            Errno::TIMEDOUT => Self::Timeout,
            Errno::AGAIN | Errno::INPROGRESS | Errno::ALREADY => Self::WouldBlock,
            Errno::ISCONN | Errno::NOTCONN => Self::InvalidState,
            Errno::MFILE | Errno::NFILE => Self::NewSocketLimit,
            Errno::ADDRNOTAVAIL => Self::AddressNotBindable,
            Errno::ADDRINUSE => Self::AddressInUse,
            Errno::HOSTUNREACH | Errno::HOSTDOWN | Errno::NETUNREACH | Errno::NETDOWN => {
                Self::RemoteUnreachable
            }
            Errno::CONNREFUSED => Self::ConnectionRefused,
            Errno::CONNRESET | Errno::NETRESET => Self::ConnectionReset,
            Errno::CONNABORTED => Self::ConnectionAborted,
            Errno::PIPE => Self::ConnectionBroken,
            Errno::MSGSIZE => Self::DatagramTooLarge,
            _ => Self::Unknown,
        }
    }
}

impl From<io::Error> for NetError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None if error.kind() == io::ErrorKind::WouldBlock => Self::WouldBlock,
            None => Self::Unknown,
        }
    }
}

impl From<NetError> for io::Error {
    fn from(error: NetError) -> Self {
        let kind = match error {
            NetError::AccessDenied => io::ErrorKind::PermissionDenied,
            NetError::NotSupported => io::ErrorKind::Unsupported,
            NetError::InvalidArgument | NetError::DatagramTooLarge => io::ErrorKind::InvalidInput,
            NetError::OutOfMemory | NetError::NewSocketLimit => io::ErrorKind::OutOfMemory,
            NetError::Timeout => io::ErrorKind::TimedOut,
            NetError::WouldBlock => io::ErrorKind::WouldBlock,
            NetError::InvalidState => io::ErrorKind::NotConnected,
            NetError::AddressNotBindable => io::ErrorKind::AddrNotAvailable,
            NetError::AddressInUse => io::ErrorKind::AddrInUse,
            NetError::RemoteUnreachable => io::ErrorKind::HostUnreachable,
            NetError::ConnectionRefused => io::ErrorKind::ConnectionRefused,
            NetError::ConnectionReset => io::ErrorKind::ConnectionReset,
            NetError::ConnectionAborted => io::ErrorKind::ConnectionAborted,
            NetError::ConnectionBroken => io::ErrorKind::BrokenPipe,
            NetError::NameUnresolvable => io::ErrorKind::NotFound,
            NetError::TemporaryResolverFailure
            | NetError::PermanentResolverFailure
            | NetError::Unknown => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
