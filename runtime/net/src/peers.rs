//! The other switches of a run: what is asked of them, and what comes from them.
//!
//! ```text
//!   connect ── decide: Peer ── Peers::connect ··> another process ··> Switch::accept ── listener
//!   datagram ─ decide: Peer ── Peers::send ····> another process ··> Switch::deliver ── socket
//!                              Switch::refused <·· another process: nobody there
//! ```
//!
//! A connection is a socket pair of which each switch has one end; to both guests it looks as it
//! does in memory. How the other switch is found is the business of whoever implements [`Peers`].

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;

use crate::error::NetError;
use crate::kernel::KernelSocket;
use crate::stream::kernel::KernelEnd;
use crate::stream::{Addresses, Link};
use crate::switch::Switch;

/// What comes of a question, later. May be polled on any thread; dropping it gives it up.
pub type Asked<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Knows the pods of a run's other switches.
pub trait Peers: Send + Sync + 'static {
    /// Connects a pod of this switch, at `from`, to a listener of another one. The answer is one
    /// end of a non-blocking stream socket pair; the other waits in the listener's queue.
    ///
    /// Errors: [`NetError::ConnectionRefused`], [`NetError::Timeout`].
    fn connect(&self, from: SocketAddr, to: SocketAddr) -> Asked<Result<OwnedFd, NetError>>;

    /// The addresses of all pods of the run with this name, in lower case and without a last dot,
    /// in the order in which they came.
    fn named(&self, name: &str) -> Asked<Vec<Ipv4Addr>>;

    /// Sends a datagram of a pod of this switch, at once; loses it where there is no room.
    fn send(&self, datagram: &[u8], from: SocketAddr, to: SocketAddr);
}

// === impl Switch ===

impl Switch {
    /// Puts a connection from a pod of another switch into the queue of the listener at `to`.
    /// `socket` is one end of a non-blocking stream socket pair.
    ///
    /// # Errors
    /// [`NetError::ConnectionRefused`] where nobody listens, or the backlog is full.
    pub fn accept(
        &self,
        socket: OwnedFd,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<(), NetError> {
        let refused = NetError::ConnectionRefused;
        let pod = self.fabric.pod_at(to.ip()).ok_or(refused)?;
        let listener = pod.tcp.lock().find_dual(to.ip(), to.port()).cloned();
        let listener = listener.ok_or(refused)?;
        let share = pod.kernel_slot().map_err(|_| refused)?;
        let reactor = pod.fabric.kernel.clone();
        let socket = KernelSocket::watch(socket, &pod.fabric.streams).map_err(|_| refused)?;
        let end = KernelEnd::new(socket, reactor, pod.buffers.clone(), share);
        let addresses = Addresses {
            local: to,
            remote: from,
        };
        listener.enqueue(Link::Kernel(end), addresses)
    }

    /// Gives a datagram of another switch to the socket at `to`, or loses it where Linux would.
    /// False where there is none: the sender should learn it.
    #[must_use]
    pub fn deliver(&self, datagram: &[u8], from: SocketAddr, to: SocketAddr) -> bool {
        let Some(pod) = self.fabric.pod_at(to.ip()) else {
            return false;
        };
        let taker = pod.udp.lock().find(to.ip(), to.port()).cloned();
        match taker.and_then(|taker| taker.upgrade()) {
            Some(receiver) => {
                receiver.deliver(datagram, from);
                true
            }
            None => false,
        }
    }

    /// Tells the socket at `sender` that nobody took what it sent to `to`. As on Linux only a
    /// connected socket learns it.
    pub fn refused(&self, sender: SocketAddr, to: SocketAddr) {
        let Some(pod) = self.fabric.pod_at(sender.ip()) else {
            return;
        };
        let socket = pod.udp.lock().find(sender.ip(), sender.port()).cloned();
        if let Some(socket) = socket.and_then(|socket| socket.upgrade()) {
            socket.refused_by(to);
        }
    }
}

#[cfg(test)]
mod tests;
