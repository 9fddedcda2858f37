//! Steering: how the outside reaches every port of every pod address, for those who may ask the
//! kernel for it.
//!
//! ```text
//!   SYN to 127.64.0.2:80 ──> program ─┬─ no claimed block      the kernel goes on as without us
//!                           (kernel)  ├─ nobody listens there  reset
//!                                     ├─ a plain door          its socket
//!                                     └─ a guest listens       the lane's listener
//!                                                                 └─ accept ─ TcpListener's queue
//! ```
//!
//! A program in the kernel (`program`) is asked for the socket of every new connection in this
//! network namespace. It knows the claimed blocks and, in a table, the endpoints that are open; one
//! listener for each address family takes all their connections, so a pod or a port costs an entry
//! in the table and no descriptor. The program hangs on a descriptor of this process: it is gone
//! with it, however it ends, and no route, rule or file is made.
//!
//! It is loaded when the first listener needs it, and a block is steered from its first door on:
//! until then a connection there goes where the kernel would lead it.
//!
//! [`Steering`] and its [`Lane`]s need rights; a switch needs only the [`Steer`] that it is given.
//! That seam is where the parts could live in two processes: a lane trusts nobody, and refuses
//! addresses that are not its own and endpoints that are open. Today they live in one, that of
//! `run`; pod hosts in processes of their own are given no steering, and have plain doors.
//!
//! TCP only: a datagram that arrives at a shared socket would have to be answered from the pod's
//! address and port, so UDP doors stay sockets of their own ([`Way::Socket`]). What is not here:
//! which endpoints are open, which `door` decides.

mod accept;
mod fileless;
mod lane;
mod lasting;
mod object;
mod program;
mod side;
mod tables;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use model::container::Protocol;

pub(crate) use self::accept::reset;
pub use self::lane::{Lane, Steering};
pub(crate) use self::side::{Steered, SteeredEndpoint};
use crate::limits::{MAX_LANES, MAX_STEERED_BLOCKS, MAX_STEERED_ENDPOINTS};
use crate::tcp::Family;

/// Opens and closes endpoints of a pod host's blocks. Every call answers soon: it is made on the
/// thread of the guest that listens, and the guest's own success does not depend on it.
pub trait Steer: fmt::Debug + Send + Sync + 'static {
    /// The listeners on which steered connections arrive, non-blocking, one for each family that is
    /// steered. Asked for before anything else, and again only where it failed.
    ///
    /// # Errors
    /// [`SteerError::Kernel`] where the kernel does not steer for this process, [`SteerError::Full`].
    fn listeners(&self) -> Result<Vec<(Family, OwnedFd)>, SteerError>;

    /// From now on every address of the block is steered: what is not open there is refused.
    ///
    /// # Errors
    /// [`SteerError::Foreign`] for what is no block of the range, or another's,
    /// [`SteerError::Kernel`], [`SteerError::Full`].
    fn add_block(&self, first: Ipv4Addr) -> Result<(), SteerError>;

    /// Opens an endpoint.
    ///
    /// # Errors
    /// [`SteerError::Foreign`] outside the blocks added, [`SteerError::Taken`], [`SteerError::Datagrams`] for a UDP
    /// endpoint toward the listener, [`SteerError::Full`], [`SteerError::Kernel`].
    fn open(&self, endpoint: Endpoint, way: Way) -> Result<(), SteerError>;

    /// Closes it; one that is not open is ignored.
    fn close(&self, endpoint: Endpoint);
}

/// Where something can arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Its protocol.
    pub protocol: Protocol,
    /// A pod's address, and a port.
    pub at: SocketAddr,
}

/// Where an open endpoint leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the lane's listener: TCP only.
    Listener,
    /// To a socket that is bound there: a plain door.
    Socket,
}

/// Why something is not steered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SteerError {
    /// The kernel refused.
    #[error(
        "the kernel does not steer connections to pods ({step}: {why}): it takes Linux 5.9 or \
         newer, the capabilities CAP_BPF and CAP_NET_ADMIN, and no more than 64 programs of this \
         kind in one network namespace"
    )]
    Kernel {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        why: String,
        /// Whether it may go by itself: descriptors or memory were short.
        passes: bool,
    },
    /// A table is full.
    #[error(
        "no further {what} is steered: all {limit} places are taken; end pods, or run them in \
         several processes"
    )]
    Full {
        /// What is too many.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Not of this lane.
    #[error("{0} is no address of this pod host's blocks, or of a family that is not steered")]
    Foreign(IpAddr),
    /// Open already.
    #[error("{0} is open already: close what is open there, or choose another port")]
    Taken(SocketAddr),
    /// Not TCP.
    #[error("datagrams to {0} are not steered: a UDP door is a socket of its own")]
    Datagrams(SocketAddr),
}

// === impl SteerError ===

impl SteerError {
    fn endpoints() -> Self {
        Self::full("port", MAX_STEERED_ENDPOINTS)
    }

    fn blocks() -> Self {
        Self::full("block of addresses", MAX_STEERED_BLOCKS)
    }

    fn lanes() -> Self {
        Self::full("pod host", MAX_LANES)
    }

    /// Whether trying again later may help.
    fn passes(&self) -> bool {
        match self {
            Self::Kernel { passes, .. } => *passes,
            Self::Full { .. } => true,
            Self::Foreign(_) | Self::Taken(_) | Self::Datagrams(_) => false,
        }
    }

    fn full(what: &'static str, limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self::Full { what, limit }
    }
}

#[cfg(test)]
mod tests;
