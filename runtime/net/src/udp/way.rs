//! Where a datagram goes, and from where.
//!
//! Carries out what [`crate::decide()`] says. The sender's lock is held meanwhile, so nothing here
//! locks another socket: the receiver takes the datagram once it is free.

use std::net::SocketAddr;
use std::sync::Arc;

use model::container::Protocol;

use super::outside::Via;
use super::{Inner, Last, State, UdpSocket};
use crate::decide::{Verdict, World, decide};
use crate::error::NetError;
use crate::peers::Peers;
use crate::ports::{PortClaim, Reach};

/// Where one datagram goes.
pub(super) enum Way {
    /// To this socket, from this address.
    Memory(Arc<Inner>, SocketAddr),
    /// To another switch, through whoever knows it, from this address.
    Peer(Arc<dyn Peers>, SocketAddr),
    /// Nobody takes it.
    Nobody,
    /// It is sent already.
    Sent,
}

// === impl UdpSocket ===

impl UdpSocket {
    pub(super) fn bind_port(
        &self,
        state: &mut State,
        reach: Reach,
        port: u16,
    ) -> Result<(), NetError> {
        let pod = &self.0.net.pod;
        let claim = PortClaim::bind(pod, Protocol::Udp, reach, port)?;
        pod.udp
            .lock()
            .set(claim.reach, claim.port, Arc::downgrade(&self.0));
        state.bound = Some(claim);
        Ok(())
    }

    /// Binds to an ephemeral port where the guest has not bound.
    pub(super) fn bind_for(&self, state: &mut State) -> Result<(), NetError> {
        if state.bound.is_none() {
            self.bind_port(state, Reach::Any(self.0.family), 0)?;
        }
        Ok(())
    }

    /// Decides where a datagram goes; through the kernel it goes at once.
    pub(super) fn way(
        &self,
        state: &mut State,
        datagram: &[u8],
        to: SocketAddr,
    ) -> Result<Way, NetError> {
        let inner = &self.0;
        if inner.net.is_host_network() {
            inner.send_from_host(state, datagram, to)?;
            return Ok(Way::Sent);
        }
        self.bind_for(state)?;
        if let Some(Via::Door { door, real }) = state.outside.via(to) {
            state.outside.send_through(door, datagram, real)?;
            return Ok(Way::Sent);
        }
        if let Some(last) = state.last.as_ref().filter(|last| last.to == to)
            && let Some(receiver) = last.receiver.upgrade()
        {
            let from = last.from;
            if receiver.is_closed() {
                // Its pod was removed; the next datagram asks the directory.
                state.last = None;
            }
            return Ok(Way::Memory(receiver, from));
        }
        let pod = &inner.net.pod;
        let (target, address) = match decide(to.ip(), &**pod) {
            Verdict::Own(address) => (Some(Arc::clone(pod)), address),
            Verdict::Pod(address) => (pod.fabric.pod_at(address), address),
            Verdict::Peer(address) => {
                let from = state.source(inner, SocketAddr::new(address, to.port()))?;
                let peers = pod.fabric.peers.clone();
                return Ok(peers.map_or(Way::Nobody, |peers| Way::Peer(peers, from)));
            }
            Verdict::Nobody => return Ok(Way::Nobody),
            Verdict::Denied(_) => return Err(NetError::AccessDenied),
            Verdict::Unreachable => return Err(NetError::RemoteUnreachable),
            Verdict::Kernel(_) => {
                state.source(inner, to)?;
                inner.send_outside(state, datagram, to)?;
                return Ok(Way::Sent);
            }
        };
        let from = state.source(inner, SocketAddr::new(address, to.port()))?;
        let taker = target.and_then(|pod| pod.udp.lock().find(address, to.port())?.upgrade());
        Ok(match taker {
            Some(receiver) => {
                state.last = Some(Last {
                    to,
                    receiver: Arc::downgrade(&receiver),
                    from,
                });
                Way::Memory(receiver, from)
            }
            None => Way::Nobody,
        })
    }
}

// === impl State ===

impl State {
    /// The source of what goes to `to`: always an address of its own.
    pub(super) fn source(&self, inner: &Inner, to: SocketAddr) -> Result<SocketAddr, NetError> {
        let claim = self.bound.as_ref().ok_or(NetError::InvalidState)?;
        let pod = &inner.net.pod;
        let address = match claim.reach {
            Reach::Any(_) => pod.source_for(to.ip()),
            Reach::One(address) => {
                let inward = pod.is_own(to.ip()) || pod.is_localhost(to.ip());
                if !pod.is_own(address) && !inward {
                    // Bound to localhost, toward others: EINVAL on Linux.
                    return Err(NetError::InvalidArgument);
                }
                address
            }
        };
        Ok(SocketAddr::new(address, claim.port))
    }
}
