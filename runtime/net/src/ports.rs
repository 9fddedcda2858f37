//! The port space of a pod: who is bound where.
//!
//! One space per protocol. Two sockets share a port only where no destination address could mean
//! both: a wildcard excludes every address of its family. A port is free again the moment its
//! socket is gone (no TIME_WAIT), and connections that a listener accepted hold none.
//!
//! `::` claims no IPv4 port, as WASI says; TCP connections to an IPv4 address still reach it where
//! no IPv4 listener has the port, as programs know it from Linux ([`Ports::find_dual`]).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};

use model::container::Protocol;

use crate::error::NetError;
use crate::limits::EPHEMERAL_PORTS;
use crate::pod::Pod;
use crate::tcp::Family;

/// Which local addresses a socket is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// 0.0.0.0 or ::, which is v6-only.
    Any(Family),
    /// One address.
    One(IpAddr),
}

/// The ports of one protocol. `T` is the socket that takes what arrives.
#[derive(Debug)]
pub(crate) struct Ports<T> {
    bound: HashMap<u16, Vec<Entry<T>>>,
    /// Where the search for the next ephemeral port begins.
    cursor: u16,
    /// Set when the pod is gone: nothing can be bound any more.
    closed: bool,
}

#[derive(Debug)]
struct Entry<T> {
    reach: Reach,
    /// Absent for sockets that are bound or connected and do not take anything.
    taker: Option<T>,
}

/// A bound port; free again when dropped.
#[derive(Debug)]
pub(crate) struct PortClaim {
    pod: Weak<Pod>,
    protocol: Protocol,
    pub(crate) reach: Reach,
    pub(crate) port: u16,
}

// === impl Reach ===

impl Reach {
    /// What binding to `address` reaches.
    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_unspecified() {
            Self::Any(Family::of(address))
        } else {
            Self::One(address)
        }
    }

    /// Whether something sent to `address` arrives.
    pub(crate) fn covers(self, address: IpAddr) -> bool {
        match self {
            Self::Any(family) => family == Family::of(address),
            Self::One(one) => one == address,
        }
    }

    /// The address as a socket tells it.
    pub(crate) fn address(self) -> IpAddr {
        match self {
            Self::Any(family) => family.unspecified(),
            Self::One(address) => address,
        }
    }

    fn overlaps(self, other: Self) -> bool {
        self.covers(other.address()) || other.covers(self.address())
    }
}

// === impl Ports ===

impl<T> Ports<T> {
    /// Binds `port`, or an ephemeral one for 0, and tells which.
    pub(crate) fn bind(&mut self, reach: Reach, port: u16) -> Result<u16, NetError> {
        if self.closed {
            return Err(NetError::InvalidState);
        }
        let port = match port {
            0 => self.free_port(reach).ok_or(NetError::AddressInUse)?,
            port if self.is_free(reach, port) => port,
            _ => return Err(NetError::AddressInUse),
        };
        self.bound
            .entry(port)
            .or_default()
            .push(Entry { reach, taker: None });
        Ok(port)
    }

    /// Names who takes what arrives at a bound port.
    pub(crate) fn set(&mut self, reach: Reach, port: u16, taker: T) {
        let entries = self.bound.get_mut(&port).into_iter().flatten();
        if let Some(entry) = entries.into_iter().find(|entry| entry.reach == reach) {
            entry.taker = Some(taker);
        }
    }

    /// Who takes what is sent to `address` and `port`.
    pub(crate) fn find(&self, address: IpAddr, port: u16) -> Option<&T> {
        let entry = self
            .bound
            .get(&port)?
            .iter()
            .find(|entry| entry.reach.covers(address))?;
        entry.taker.as_ref()
    }

    /// As [`Ports::find`]; where nobody takes what is sent to an IPv4 address, whoever listens at
    /// `::` does.
    pub(crate) fn find_dual(&self, address: IpAddr, port: u16) -> Option<&T> {
        let six = || self.find(Ipv6Addr::UNSPECIFIED.into(), port);
        self.find(address, port)
            .or_else(|| address.is_ipv4().then(six).flatten())
    }

    /// Frees a port.
    pub(crate) fn release(&mut self, reach: Reach, port: u16) {
        if let Some(entries) = self.bound.get_mut(&port) {
            entries.retain(|entry| entry.reach != reach);
            if entries.is_empty() {
                self.bound.remove(&port);
            }
        }
    }

    /// Refuses every further bind and hands over who takes things now.
    pub(crate) fn close(&mut self) -> Vec<T> {
        self.closed = true;
        self.bound
            .values_mut()
            .flatten()
            .filter_map(|entry| entry.taker.take())
            .collect()
    }

    fn is_free(&self, reach: Reach, port: u16) -> bool {
        let entries = self.bound.get(&port).into_iter().flatten();
        !entries.into_iter().any(|entry| entry.reach.overlaps(reach))
    }

    fn free_port(&mut self, reach: Reach) -> Option<u16> {
        let (first, last) = (*EPHEMERAL_PORTS.start(), *EPHEMERAL_PORTS.end());
        let start = self.cursor.clamp(first, last);
        let port = (start..=last)
            .chain(first..start)
            .find(|port| self.is_free(reach, *port))?;
        self.cursor = port + 1;
        Some(port)
    }
}

impl<T> Default for Ports<T> {
    fn default() -> Self {
        Self {
            bound: HashMap::new(),
            cursor: *EPHEMERAL_PORTS.start(),
            closed: false,
        }
    }
}

// === impl PortClaim ===

impl PortClaim {
    /// Binds a port of `pod`; 0 chooses one.
    pub(crate) fn bind(
        pod: &Arc<Pod>,
        protocol: Protocol,
        reach: Reach,
        port: u16,
    ) -> Result<Self, NetError> {
        let port = match protocol {
            Protocol::Tcp => pod.tcp.lock().bind(reach, port),
            Protocol::Udp => pod.udp.lock().bind(reach, port),
        }?;
        Ok(Self {
            pod: Arc::downgrade(pod),
            protocol,
            reach,
            port,
        })
    }

    /// Where it is, as a socket tells it.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.reach.address(), self.port)
    }
}

impl Drop for PortClaim {
    fn drop(&mut self) {
        let Some(pod) = self.pod.upgrade() else {
            return;
        };
        match self.protocol {
            Protocol::Tcp => pod.tcp.lock().release(self.reach, self.port),
            Protocol::Udp => pod.udp.lock().release(self.reach, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(address: &str) -> Reach {
        Reach::of(address.parse().unwrap())
    }

    #[test]
    fn who_may_share_a_port() {
        let cases = [
            ("0.0.0.0", "0.0.0.0", false),
            ("0.0.0.0", "127.0.0.1", false),
            ("127.0.0.1", "0.0.0.0", false),
            ("127.0.0.1", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.2", true),
            ("127.0.0.1", "10.0.0.2", true),
            ("::", "0.0.0.0", true),
            ("::", "127.0.0.1", true),
            ("::", "::1", false),
            ("::1", "::", false),
            ("::1", "0.0.0.0", true),
        ];
        for (first, second, shared) in cases {
            let mut ports = Ports::<()>::default();
            assert_eq!(ports.bind(reach(first), 80), Ok(80));
            let expected = if shared {
                Ok(80)
            } else {
                Err(NetError::AddressInUse)
            };
            assert_eq!(
                ports.bind(reach(second), 80),
                expected,
                "{first}, then {second}"
            );
            ports.release(reach(first), 80);
            let again = ports.bind(reach(first), 80);
            assert_eq!(again, if shared { Ok(80) } else { again }, "{first} again");
        }
    }

    #[test]
    fn finds_who_covers_the_address() {
        let mut ports = Ports::default();
        for (address, name) in [("127.0.0.1", "local"), ("10.0.0.2", "own"), ("::", "six")] {
            ports.bind(reach(address), 80).unwrap();
            ports.set(reach(address), 80, name);
        }
        ports.bind(reach("0.0.0.0"), 81).unwrap();
        let cases = [
            ("127.0.0.1", 80, Some("local")),
            ("10.0.0.2", 80, Some("own")),
            ("127.0.0.2", 80, None),
            ("::1", 80, Some("six")),
            ("10.0.0.2", 81, None),
            ("10.0.0.2", 82, None),
        ];
        for (address, port, expected) in cases {
            let found = ports.find(address.parse().unwrap(), port).copied();
            assert_eq!(found, expected, "{address}:{port}");
        }
        assert_eq!(ports.close().len(), 3);
        assert_eq!(
            ports.bind(reach("0.0.0.0"), 90),
            Err(NetError::InvalidState)
        );
    }

    #[test]
    fn who_listens_at_every_ipv6_address_takes_what_no_ipv4_listener_takes() {
        // Who is bound, and whether it takes anything; then who is found at three addresses.
        type Bound = [(&'static str, bool)];
        let cases: [(&Bound, [Option<&str>; 3]); 6] = [
            (&[("::", true)], [Some("::"); 3]),
            (&[("::1", true)], [None, None, Some("::1")]),
            (
                &[("::", true), ("0.0.0.0", true)],
                [Some("0.0.0.0"), Some("0.0.0.0"), Some("::")],
            ),
            (&[("::", true), ("0.0.0.0", false)], [Some("::"); 3]),
            (
                &[("::", true), ("127.0.0.1", true)],
                [Some("127.0.0.1"), Some("::"), Some("::")],
            ),
            (
                &[("0.0.0.0", true)],
                [Some("0.0.0.0"), Some("0.0.0.0"), None],
            ),
        ];
        for (bound, expected) in cases {
            let mut ports = Ports::default();
            for (address, takes) in bound {
                ports.bind(reach(address), 80).unwrap();
                if *takes {
                    ports.set(reach(address), 80, *address);
                }
            }
            let found = ["127.0.0.1", "10.0.0.2", "::1"]
                .map(|address| ports.find_dual(address.parse().unwrap(), 80).copied());
            assert_eq!(found, expected, "{bound:?}");
        }
    }

    #[test]
    fn ephemeral_ports_go_round_and_end() {
        let mut ports = Ports::<()>::default();
        let any = reach("0.0.0.0");
        let first = ports.bind(any, 0).unwrap();
        assert_eq!(first, *EPHEMERAL_PORTS.start());
        ports.release(any, first);
        for n in 1..EPHEMERAL_PORTS.len() {
            assert_eq!(
                usize::from(ports.bind(any, 0).unwrap()),
                usize::from(first) + n
            );
        }
        assert_eq!(ports.bind(any, 0), Ok(first), "a free port is reused last");
        assert_eq!(ports.bind(any, 0), Err(NetError::AddressInUse));
        assert_eq!(ports.bind(reach("::1"), 0), Ok(first + 1));
    }
}
