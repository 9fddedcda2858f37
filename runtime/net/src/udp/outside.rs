//! The kernel sockets behind a UDP socket, and whom it knows outside.
//!
//! Who may be answered through which socket is remembered, as address translation remembers it:
//! through a door goes only what answers somebody who came through it, and the socket toward the
//! world takes only what comes from somebody the guest has sent to. On the host's network there is
//! one socket and no such rule.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use rustix::net::SocketType;

use crate::budget::Share;
use crate::door::OpenedDoor;
use crate::error::NetError;
use crate::kernel::{self, KernelSocket};
use crate::limits::MAX_DATAGRAM_PEERS;
use crate::options::Options;
use crate::pod::Pod;
use crate::tcp::Family;

/// The kernel side of one UDP socket.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    /// Toward the world, or the socket itself on the host's network.
    socket: Option<(KernelSocket, Share)>,
    /// Where the latter is bound.
    host_address: Option<SocketAddr>,
    pub(crate) doors: Vec<OpenedDoor>,
    /// Who came through which door, by the address shown.
    callers: Peers<(usize, SocketAddr)>,
    /// Whom the guest has sent to.
    called: Peers<()>,
}

/// How an outside address is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// Through a door, where it really is at another address than the guest sees.
    Door {
        /// Which one.
        door: usize,
        /// The address to send to.
        real: SocketAddr,
    },
    /// Through the socket toward the world.
    Outside,
}

/// Addresses that were met lately; the one met longest ago is forgotten first.
#[derive(Debug)]
struct Peers<T> {
    met: HashMap<SocketAddr, (T, u64)>,
    clock: u64,
}

/// Datagrams read from the kernel at once: enough to be worth the lock, few enough that a flood
/// of strangers holds nobody up.
const BATCH: usize = 16;

thread_local! {
    /// Where a datagram is received before its length is known.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

// === impl Outside ===

impl Outside {
    /// The socket toward the world, made at first use.
    pub(crate) fn socket(
        &mut self,
        pod: &Pod,
        family: Family,
        options: &Options,
    ) -> Result<&KernelSocket, NetError> {
        let made = match self.socket.take() {
            Some(made) => made,
            None => {
                let share = pod.kernel_slot()?;
                let socket = kernel::open(family, SocketType::DGRAM)?;
                kernel::apply(&Options::DEFAULT, options, family, socket.as_fd());
                (KernelSocket::watch(socket, &pod.fabric.kernel)?, share)
            }
        };
        Ok(&self.socket.insert(made).0)
    }

    /// Closes it: what was on its way back is lost.
    pub(crate) fn close_socket(&mut self) {
        self.socket = None;
        self.called = Peers::default();
    }

    pub(crate) fn disconnect(&mut self, host: bool) -> Result<(), NetError> {
        match &self.socket {
            Some((socket, _)) if host => rustix::net::connect_unspec(socket)?,
            _ => self.close_socket(),
        }
        Ok(())
    }

    pub(crate) fn host_address(&self) -> Option<SocketAddr> {
        self.host_address
    }

    pub(crate) fn set_host_address(&mut self, address: SocketAddr) {
        self.host_address = Some(address);
    }

    /// How `peer` is reached, if it is known.
    pub(crate) fn via(&self, peer: SocketAddr) -> Option<Via> {
        if let Some((door, real)) = self.callers.get(peer) {
            return Some(Via::Door {
                door: *door,
                real: *real,
            });
        }
        self.called.get(peer).map(|()| Via::Outside)
    }

    /// Remembers that `peer` was met now.
    pub(crate) fn remember(&mut self, peer: SocketAddr, via: Via) {
        match via {
            Via::Door { door, real } => self.callers.meet(peer, (door, real)),
            Via::Outside => self.called.meet(peer, ()),
        }
    }

    /// Answers somebody through the door it came by. What the kernel has no room for is lost.
    pub(crate) fn send_through(
        &self,
        door: usize,
        datagram: &[u8],
        to: SocketAddr,
    ) -> Result<(), NetError> {
        let door = self.doors.get(door).ok_or(NetError::RemoteUnreachable)?;
        match door.socket.send_to(datagram, to) {
            Ok(_) | Err(NetError::WouldBlock) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads what the kernel has, up to [`BATCH`] datagrams: `shown` tells the address a guest
    /// sees for one that came through a door, `take` whether it wants it. True if all was read.
    ///
    /// # Errors
    /// What the socket toward the world says: ECONNREFUSED of a connected one.
    pub(crate) fn read(
        &mut self,
        host: bool,
        shown: impl Fn(SocketAddr) -> SocketAddr,
        mut take: impl FnMut(&[u8], SocketAddr) -> bool,
    ) -> Result<bool, NetError> {
        BUFFER.with_borrow_mut(|buffer| {
            // More than any datagram: nothing is cut.
            buffer.resize(usize::from(u16::MAX), 0);
            let mut left = BATCH;
            while let Some((socket, _)) = &self.socket {
                let (length, from) = match socket.receive_from(buffer) {
                    Err(NetError::WouldBlock) => break,
                    other => other?,
                };
                if host || self.called.get(from).is_some() {
                    take(buffer.get(..length).unwrap_or_default(), from);
                }
                left -= 1;
                if left == 0 {
                    return Ok(false);
                }
            }
            for (number, door) in self.doors.iter().enumerate() {
                // Errors of a door concern earlier answers, and nobody in particular.
                while let Ok((length, real)) = door.socket.receive_from(buffer) {
                    let from = shown(real);
                    self.callers.meet(from, (number, real));
                    take(buffer.get(..length).unwrap_or_default(), from);
                    left -= 1;
                    if left == 0 {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        })
    }

    /// Ready when something can be read; registers with all.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let sockets = self.socket.iter().map(|(socket, _)| socket);
        let sockets = sockets.chain(self.doors.iter().map(|door| &door.socket));
        match sockets
            .filter(|socket| socket.poll_receivable(cx).is_ready())
            .count()
        {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Ready when the socket toward the world takes a datagram, or there is none.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.socket {
            Some((socket, _)) => socket.poll_writable(cx),
            None => Poll::Ready(()),
        }
    }

    /// Gives the socket toward the world what has changed.
    pub(crate) fn apply(&self, before: &Options, now: &Options, family: Family) {
        if let Some((socket, _)) = &self.socket {
            kernel::apply(before, now, family, socket.as_fd());
        }
    }
}

// === impl Peers ===

impl<T> Peers<T> {
    fn get(&self, peer: SocketAddr) -> Option<&T> {
        self.met.get(&peer).map(|(value, _)| value)
    }

    fn meet(&mut self, peer: SocketAddr, value: T) {
        self.clock += 1;
        if self.met.len() >= MAX_DATAGRAM_PEERS && !self.met.contains_key(&peer) {
            let oldest = self.met.iter().min_by_key(|(_, (_, when))| *when);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.met.remove(&oldest);
            }
        }
        self.met.insert(peer, (value, self.clock));
    }
}

impl<T> Default for Peers<T> {
    fn default() -> Self {
        Self {
            met: HashMap::new(),
            clock: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_peer_is_forgotten() {
        let peer = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut peers = Peers::default();
        let last = u16::try_from(MAX_DATAGRAM_PEERS).unwrap();
        for port in 1..=last {
            peers.meet(peer(port), port);
        }
        peers.meet(peer(1), 1);
        peers.meet(peer(last + 1), 0);
        let known = |peers: &Peers<u16>, port| peers.get(peer(port)).is_some();
        assert_eq!(
            [1, 2, 3].map(|port| known(&peers, port)),
            [true, false, true]
        );
        assert_eq!(peers.met.len(), MAX_DATAGRAM_PEERS);
    }
}
