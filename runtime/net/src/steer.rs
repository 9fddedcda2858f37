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
//! The parts can live in two processes. [`Steering`] and its [`Lane`]s need rights; a switch needs
//! only the [`Steer`] that it is given. For an unprivileged pod host the parent makes a lane, hands
//! over the lane's listeners, and carries out the child's opens and closes; a lane refuses
//! addresses that are not its own, so a child cannot take another's.
//!
//! TCP only: a datagram that arrives at a shared socket would have to be answered from the pod's
//! address and port, so UDP doors stay sockets of their own ([`Way::Socket`]). What is not here:
//! which endpoints are open, which `door` decides.

mod accept;
mod fileless;
mod lane;
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
    /// steered. Asked for once, before anything else.
    ///
    /// # Errors
    /// [`SteerError::Kernel`] where the kernel does not steer for this process, [`SteerError::Full`].
    fn listeners(&self) -> Result<Vec<(Family, OwnedFd)>, SteerError>;

    /// From now on every address of the block is steered: what is not open there is refused.
    ///
    /// # Errors
    /// [`SteerError::Foreign`] for what is no block of the range, [`SteerError::Kernel`],
    /// [`SteerError::Full`].
    fn add_block(&self, first: Ipv4Addr) -> Result<(), SteerError>;

    /// Opens an endpoint.
    ///
    /// # Errors
    /// [`SteerError::Foreign`] outside the blocks added, [`SteerError::Datagrams`] for a UDP
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

    fn full(what: &'static str, limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self::Full { what, limit }
    }
}

#[cfg(test)]
mod tests;
