//! Datagrams between pods of different children, over a socket of their own.
//!
//! ```text
//!   child A ── packet ──> parent: is it A's address? who has the other? ── packet ──> child B
//! ```
//!
//! Each packet is one datagram with both its addresses. What there is no room for is lost, as UDP
//! may lose it, so nobody waits and nothing piles up.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use net::Switch;
use net::limits::MAX_DATAGRAM;
use rustix::net::SendFlags;
use serde::{Deserialize, Serialize};
use tokio::net::UnixDatagram;

use crate::child::Link;
use crate::descriptors::packet_pair;
use crate::known::{Breach, Heard};
use crate::network::Network;

/// The most bytes of a header: two IPv6 addresses and what says so.
const HEADER: usize = 64;

/// One end of the socket.
#[derive(Debug)]
pub(crate) struct Wire(UnixDatagram);

/// What stands before the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) kind: Kind,
}

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Datagram,
    /// Says to the sender of a datagram that nobody at `from` takes it.
    Refused,
}

// === impl Wire ===

impl Wire {
    /// The parent's end, and the child's.
    ///
    /// # Errors
    /// When the system has no sockets left.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (near, far) = packet_pair()?;
        Ok((Self(near), far))
    }

    /// The child's end.
    ///
    /// # Errors
    /// When it is no socket.
    pub(crate) fn open(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(UnixDatagram::from_std(socket.into())?))
    }

    /// Sends now, or loses it.
    pub(crate) fn send(&self, header: Header, payload: &[u8]) {
        let buffer = Vec::with_capacity(HEADER + payload.len());
        let Ok(mut packet) = postcard::to_extend(&header, buffer) else {
            return;
        };
        packet.extend_from_slice(payload);
        // No room, or nobody any more.
        let _ = rustix::net::send(&self.0, &packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// The next packet; `None` at the end.
    async fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<(Header, &'a [u8])>> {
        let length = self.0.recv(buffer).await?;
        if length == 0 {
            return Ok(None);
        }
        let packet = buffer.get(..length).unwrap_or_default();
        match postcard::take_from_bytes(packet) {
            Ok((header, payload)) if payload.len() <= MAX_DATAGRAM => Ok(Some((header, payload))),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Room for any packet, and for a byte more, which tells one that is too long.
fn room() -> Vec<u8> {
    vec![0; HEADER + MAX_DATAGRAM + 1]
}

/// The parent's side: passes on what a child sends, until the child is gone.
pub(crate) async fn pass_on(wire: Arc<Wire>, link: Weak<Link>, network: Arc<Network>) {
    let mut buffer = room();
    loop {
        let packet = wire.receive(&mut buffer).await;
        let Some(link) = link.upgrade() else { return };
        match packet {
            Ok(Some((header, payload))) => {
                if let Err(breach) = pass_on_one(&wire, &link, &network, header, payload) {
                    return link.break_off(breach);
                }
            }
            Ok(None) => return,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return link.break_off(Breach::new("it sent a datagram that is none"));
            }
            Err(_) => return,
        }
    }
}

fn pass_on_one(
    wire: &Wire,
    link: &Link,
    network: &Network,
    header: Header,
    payload: &[u8],
) -> Result<(), Breach> {
    if link.check_address(header.from)? == Heard::LeftOut {
        return Ok(());
    }
    let child = network.child_at(header.to.ip());
    match (child.filter(|child| !child.is_gone()), header.kind) {
        (Some(child), _) => child.wire().send(header, payload),
        (None, Kind::Datagram) => {
            let refused = Header {
                from: header.to,
                to: header.from,
                kind: Kind::Refused,
            };
            wire.send(refused, &[]);
        }
        (None, Kind::Refused) => {}
    }
    Ok(())
}

/// The child's side: gives what comes to the pods of its switch, until the parent is gone.
pub(crate) async fn take_in(wire: Arc<Wire>, switch: Switch) {
    let mut buffer = room();
    while let Ok(Some((header, payload))) = wire.receive(&mut buffer).await {
        let Header { from, to, kind } = header;
        match kind {
            Kind::Datagram if switch.deliver(payload, from, to) => {}
            Kind::Datagram => {
                let refused = Header {
                    from: to,
                    to: from,
                    kind: Kind::Refused,
                };
                wire.send(refused, &[]);
            }
            Kind::Refused => switch.refused(to, from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_come_out_as_they_went_in_and_nonsense_is_told() {
        let (near, far) = Wire::pair().expect("a pair");
        let far = Wire::open(far).expect("a socket");
        let mut buffer = room();
        let header = Header {
            from: "[fd9d:7761:736d:706f::7f40:2]:53"
                .parse()
                .expect("an address"),
            to: "[fd9d:7761:736d:706f::7f40:3]:65535"
                .parse()
                .expect("an address"),
            kind: Kind::Datagram,
        };
        for payload in [vec![], vec![7; 5], vec![7; MAX_DATAGRAM]] {
            near.send(header, &payload);
            let packet = far.receive(&mut buffer).await.expect("a packet");
            assert_eq!(packet, Some((header, payload.as_slice())));
        }
        for nonsense in [vec![9; 3], vec![0; MAX_DATAGRAM + HEADER + 1]] {
            near.0.send(&nonsense).await.expect("sent");
            let error = far.receive(&mut buffer).await.expect_err("no packet");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        drop(near);
        assert_eq!(far.receive(&mut buffer).await.expect("the end"), None);
    }
}
