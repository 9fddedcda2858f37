//! Steering: how the outside reaches every port of every pod address, for those who may ask the
//! kernel for it.
//!
//! ```text
//!   SYN to 127.64.0.2:80 ──> program ─┬─ no claimed block      the kernel goes on as without us
//!                           (kernel)  ├─ nobody listens there  reset
//!                                     ├─ a plain door          its socket
//!                                     ├─ a guest listens       the lane's listener
//!                                     │                           └─ accept ─ TcpListener's queue
//!                                     └─ many wait there       a listener of its own
//! ```
//!
//! A program in the kernel (`program`) is asked for the socket of every new connection in this
//! network namespace. It knows the claimed blocks and, in a table, the endpoints that are open; one
//! listener for each address family and pod host takes all their connections, so a port costs an
//! entry in the table and no descriptor, until more wait there than its guest takes: then they wait
//! in a kernel's listener of its own. The program hangs on a descriptor of this process: it is gone
//! with it, however it ends, and no route, rule or file is made.
//!
//! It is loaded when the first listener needs it, and a block is steered from its first door on:
//! until then a connection there goes where the kernel would lead it.
//!
//! [`Steering`] and its [`Lane`]s need rights; a switch needs only the [`Steer`] that it is given.
//! At that seam the parts may live in two processes: a pod host without rights is handed the
//! listener and accepts by itself, and asks its parent, which has the lane, to open and close.
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

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use model::container::Protocol;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub(crate) use self::accept::reset;
pub use self::lane::{Lane, Steering};
pub(crate) use self::side::{Steered, SteeredEndpoint};
use crate::limits::{
    MAX_LANES, MAX_PASSAGES_PER_POD, MAX_QUEUES, MAX_QUEUES_PER_POD, MAX_STEERED_BLOCKS,
    MAX_STEERED_ENDPOINTS, MAX_STEERED_PER_POD,
};
use crate::peers::Asked;
use crate::tcp::Family;

/// Opens and closes endpoints of a pod host's pods. Answers may take as long as whoever steers
/// takes to be asked, so the guest that listens waits for them; its own success does not depend on
/// them.
pub trait Steer: fmt::Debug + Send + Sync + 'static {
    /// The listeners on which steered connections arrive, non-blocking, one for each family that is
    /// steered. Asked for before anything else, and again only where it failed.
    ///
    /// Errors: [`SteerError::Kernel`] where the kernel does not steer for this process,
    /// [`SteerError::Full`].
    fn listeners(&self) -> Asked<Result<Vec<(Family, OwnedFd)>, SteerError>>;

    /// Opens an endpoint. From now on every address of its block is steered: what is not open
    /// there is refused. Where a block cannot be steered the socket of a plain door is reached as
    /// it is, so that succeeds, and it gets its passage if the block is steered later. Whoever
    /// drops the answer before it is there closes the endpoint.
    ///
    /// Errors: [`SteerError::Foreign`] outside the range, [`SteerError::Taken`],
    /// [`SteerError::Full`]; toward the listener [`SteerError::Datagrams`] for UDP, and
    /// [`SteerError::Kernel`].
    fn open(&self, endpoint: Endpoint, way: Way) -> Asked<Result<(), SteerError>>;

    /// Gives an endpoint that leads to the listener one of its own, non-blocking, at which its
    /// connections arrive from now on; those that are on their way still arrive at the other.
    ///
    /// Errors: [`SteerError::Foreign`] where it is not open here, [`SteerError::Taken`] where it
    /// has one, [`SteerError::Full`], [`SteerError::Kernel`].
    fn single_out(&self, endpoint: Endpoint) -> Asked<Result<OwnedFd, SteerError>>;

    /// Leads it to the listener of all again, if it had one of its own: for whoever could not use
    /// that, or did not get it.
    fn rejoin(&self, endpoint: Endpoint);

    /// Closes it; one that is not open is ignored.
    fn close(&self, endpoint: Endpoint);
}

/// Makes sockets of plain doors that the switch's own process may not bind.
pub trait Binder: fmt::Debug + Send + Sync + 'static {
    /// A socket that is bound there, non-blocking, and listens if it is one of TCP.
    ///
    /// Errors: what the kernel says; [`Errno::ACCESS`] where no pod of this host has such a door.
    fn bind(&self, door: Endpoint) -> Asked<Result<OwnedFd, Errno>>;
}

/// Where something can arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its protocol.
    pub protocol: Protocol,
    /// An address, a pod's but for plain doors, and a port.
    pub at: SocketAddr,
}

/// Where an open endpoint leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// To the lane's listener: TCP only.
    Listener,
    /// To a socket that is bound there: a plain door.
    Socket,
}

/// Why something is not steered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SteerError {
    /// The kernel refused.
    #[error(
        "the kernel does not steer connections to pods ({step}: {why}): it takes Linux 5.9 or \
         newer, the capabilities CAP_BPF and CAP_NET_ADMIN, and no more than 64 programs of this \
         kind in one network namespace"
    )]
    Kernel {
        /// What was tried.
        step: Cow<'static, str>,
        /// What the kernel said.
        why: String,
        /// Whether it may go by itself: descriptors or memory were short.
        passes: bool,
    },
    /// A table is full.
    #[error(
        "no further {what} is steered: all {limit} places are taken; listen on fewer ports, end \
         pods, or split them among several runs"
    )]
    Full {
        /// What is too many.
        what: Cow<'static, str>,
        /// The limit.
        limit: usize,
    },
    /// Not for this lane.
    #[error("{0} is no address of this pod host's pods, or of a family that is not steered")]
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
    /// A socket cannot be handed over to the process that asked for it. One of the two has no room
    /// for its descriptor, whatever it says, and may have some later.
    pub fn lost(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut lost = tables::refused("handing over a socket", error);
        if let Self::Kernel { passes, .. } = &mut lost {
            *passes = true;
        }
        lost
    }

    fn endpoints() -> Self {
        Self::full("port", MAX_STEERED_ENDPOINTS)
    }

    fn blocks() -> Self {
        Self::full("block of addresses", MAX_STEERED_BLOCKS)
    }

    fn pods() -> Self {
        Self::Full {
            what: Cow::Borrowed("port of this pod"),
            limit: MAX_STEERED_PER_POD,
        }
    }

    fn passages() -> Self {
        Self::Full {
            what: Cow::Borrowed("plain door of this pod"),
            limit: MAX_PASSAGES_PER_POD,
        }
    }

    fn pod_queues() -> Self {
        Self::Full {
            what: Cow::Borrowed("port of this pod with a queue of its own"),
            limit: MAX_QUEUES_PER_POD,
        }
    }

    fn queues() -> Self {
        Self::full("port with a queue of its own", MAX_QUEUES)
    }

    fn lanes() -> Self {
        Self::full("pod host", MAX_LANES)
    }

    /// Whether trying again later may help.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Kernel { passes, .. } => *passes,
            Self::Full { .. } => true,
            Self::Foreign(_) | Self::Taken(_) | Self::Datagrams(_) => false,
        }
    }

    fn full(what: &'static str, limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let what = Cow::Borrowed(what);
        Self::Full { what, limit }
    }
}

#[cfg(test)]
mod tests;
