//! Where a destination leads: the one place that knows.
//!
//! ```text
//! ::ffff:a.b.c.d ──> a.b.c.d
//! 0.0.0.0, ::                      own localhost
//! own address                      the pod itself
//! pod range: a pod of this switch  that pod
//!            with peers            whoever knows the pods of other switches is asked
//!            anything else         nobody: never the kernel, where a wildcard listener would answer
//! 127.0.0.0/8, ::1                 own localhost
//! multicast, broadcast, link-local (metadata), reserved   denied
//! an address of the node           denied
//! everything else                  the kernel
//! ```
//!
//! The pod range comes before localhost because without root it lies in 127.0.0.0/8. Pods of
//! other runs are nobody: an address of theirs that they do not listen on would lead to
//! whoever listens on the node's wildcard address at that port, and no look-up before the connect
//! can exclude that. Names, ports and policy play no part here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use crate::routes::Route;

/// Where a destination leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Into the pod itself, at this address of its own or of its localhost.
    Own(IpAddr),
    /// To the pod of this switch that has this address.
    Pod(IpAddr),
    /// To a pod that another switch of the same run may have.
    Peer(IpAddr),
    /// Nobody has this address: refused.
    Nobody,
    /// The pod may not go there.
    Denied(Denial),
    /// There is no way.
    Unreachable,
    /// Out of this process, through the kernel.
    Kernel(IpAddr),
}

/// Why a pod may not go there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// No single host has it: multicast or broadcast.
    NotUnicast,
    /// It means this link: routers and the metadata services of clouds.
    LinkLocal,
    /// A metadata service outside the link-local range.
    Metadata,
    /// Reserved, or another way to write a reserved IPv4 address.
    Reserved,
    /// The node itself, or the kernel did not say whether it is.
    Node,
}

/// What must be known to decide.
pub trait World {
    /// Whether the pod that asks has this address.
    fn is_own(&self, address: IpAddr) -> bool;
    /// Whether it lies in the range of pod addresses, of whatever process.
    fn in_pod_range(&self, address: IpAddr) -> bool;
    /// Whether a pod of this switch has it.
    fn has_pod(&self, address: IpAddr) -> bool;
    /// Whether other switches have pods of the same run.
    fn has_peers(&self) -> bool;
    /// What the kernel says about it; asked only for addresses that nothing else decides.
    fn route(&self, address: IpAddr) -> Route;
}

/// AWS and GCP, over IPv6.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];
/// Alibaba, and Oracle's older one: ordinary addresses by their looks.
const METADATA_V4: [Ipv4Addr; 2] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// RFC 6052: a gateway makes IPv4 of these.
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// Decides where a destination leads, for TCP connects and UDP sends alike.
pub fn decide(destination: IpAddr, world: &impl World) -> Verdict {
    let address = destination.to_canonical();
    if address.is_unspecified() {
        return Verdict::Own(localhost(address));
    }
    if world.is_own(address) {
        return Verdict::Own(address);
    }
    if world.in_pod_range(address) {
        return match (world.has_pod(address), world.has_peers()) {
            (true, _) => Verdict::Pod(address),
            (false, true) => Verdict::Peer(address),
            (false, false) => Verdict::Nobody,
        };
    }
    if address.is_loopback() {
        return Verdict::Own(address);
    }
    if let Some(denial) = forbidden(address) {
        return Verdict::Denied(denial);
    }
    match world.route(address) {
        Route::Remote => Verdict::Kernel(address),
        Route::Node | Route::Unknown => Verdict::Denied(Denial::Node),
        Route::None => Verdict::Unreachable,
    }
}

/// The localhost of the same family.
pub(crate) fn localhost(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

fn forbidden(address: IpAddr) -> Option<Denial> {
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => forbidden_v6(v6),
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<Denial> {
    if address.is_multicast() || address.is_broadcast() {
        Some(Denial::NotUnicast)
    } else if address.is_link_local() {
        Some(Denial::LinkLocal)
    } else if METADATA_V4.contains(&address) {
        Some(Denial::Metadata)
    } else if address.octets().starts_with(&[0]) || address.is_loopback() {
        Some(Denial::Reserved)
    } else {
        None
    }
}

fn forbidden_v6(address: Ipv6Addr) -> Option<Denial> {
    let segments = address.segments();
    if address.is_multicast() {
        Some(Denial::NotUnicast)
    } else if address.is_unicast_link_local() {
        Some(Denial::LinkLocal)
    } else if METADATA_V6.contains(&address) {
        Some(Denial::Metadata)
    } else if segments.starts_with(&[0; 6]) {
        // ::a.b.c.d, deprecated by RFC 4291.
        Some(Denial::Reserved)
    } else if segments.starts_with(&NAT64) {
        let [.., a, b, c, d] = address.octets();
        forbidden_v4(Ipv4Addr::new(a, b, c, d))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::PodRange;

    /// A pod at 127.64.0.2 beside one at 127.64.0.3, on a node that has 192.0.2.2; whether there
    /// are other switches.
    struct Example(bool);

    impl World for Example {
        fn is_own(&self, address: IpAddr) -> bool {
            ["127.64.0.2", "fd9d:7761:736d:706f::7f40:2"]
                .map(parse)
                .contains(&address)
        }
        fn in_pod_range(&self, address: IpAddr) -> bool {
            PodRange::LOOPBACK.contains(address)
        }
        fn has_pod(&self, address: IpAddr) -> bool {
            ["127.64.0.3", "fd9d:7761:736d:706f::7f40:3"]
                .map(parse)
                .contains(&address)
        }
        fn has_peers(&self) -> bool {
            self.0
        }
        fn route(&self, address: IpAddr) -> Route {
            match address.to_string().as_str() {
                "192.0.2.2" | "192.0.2.255" | "2001:db8::2" => Route::Node,
                "203.0.113.9" => Route::None,
                "203.0.113.10" => Route::Unknown,
                _ => Route::Remote,
            }
        }
    }

    fn parse(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    /// Destination, verdict, and where it leads.
    const TABLE: &str = "
        127.0.0.1                     own 127.0.0.1
        127.0.0.53                    own 127.0.0.53
        127.255.255.254               own 127.255.255.254
        ::1                           own ::1
        0.0.0.0                       own 127.0.0.1
        ::                            own ::1
        ::ffff:127.0.0.1              own 127.0.0.1
        ::ffff:0.0.0.0                own 127.0.0.1

        127.64.0.2                    own 127.64.0.2
        ::ffff:127.64.0.2             own 127.64.0.2
        fd9d:7761:736d:706f::7f40:2   own fd9d:7761:736d:706f::7f40:2
        127.64.0.3                    pod 127.64.0.3
        ::ffff:127.64.0.3             pod 127.64.0.3
        fd9d:7761:736d:706f::7f40:3   pod fd9d:7761:736d:706f::7f40:3

        127.64.0.1                    nobody
        127.64.0.4                    nobody
        127.100.0.2                   nobody
        ::ffff:127.100.0.2            nobody
        fd9d:7761:736d:706f::1        nobody

        192.0.2.2                     denied Node
        192.0.2.255                   denied Node
        ::ffff:192.0.2.2              denied Node
        2001:db8::2                   denied Node
        203.0.113.10                  denied Node

        169.254.169.254               denied LinkLocal
        169.254.0.1                   denied LinkLocal
        ::ffff:169.254.169.254        denied LinkLocal
        fe80::1                       denied LinkLocal
        64:ff9b::a9fe:a9fe            denied LinkLocal
        64:ff9b::7f00:1               denied Reserved
        fd00:ec2::254                 denied Metadata
        100.100.100.200               denied Metadata

        224.0.0.1                     denied NotUnicast
        255.255.255.255               denied NotUnicast
        ff02::1                       denied NotUnicast
        0.0.0.1                       denied Reserved
        ::7f00:1                      denied Reserved

        203.0.113.9                   unreachable
        192.0.2.3                     kernel 192.0.2.3
        10.0.0.1                      kernel 10.0.0.1
        ::ffff:8.8.8.8                kernel 8.8.8.8
        2001:db8::3                   kernel 2001:db8::3
        64:ff9b::808:808              kernel 64:ff9b::808:808";

    fn word(verdict: Verdict) -> String {
        match verdict {
            Verdict::Own(address) => format!("own {address}"),
            Verdict::Pod(address) => format!("pod {address}"),
            Verdict::Peer(address) => format!("peer {address}"),
            Verdict::Nobody => "nobody".to_owned(),
            Verdict::Denied(denial) => format!("denied {denial:?}"),
            Verdict::Unreachable => "unreachable".to_owned(),
            Verdict::Kernel(address) => format!("kernel {address}"),
        }
    }

    #[test]
    fn table() {
        let rows = TABLE.lines().filter_map(|row| row.trim().split_once(' '));
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows.len(), 43);
        for (destination, expected) in rows {
            let verdict = word(decide(parse(destination), &Example(false)));
            assert_eq!(verdict, expected.trim(), "{destination}");
            // Other switches are asked for what this one does not have, and for nothing else.
            let peer = parse(destination).to_canonical();
            let expected = match expected.trim() {
                "nobody" => format!("peer {peer}"),
                other => other.to_owned(),
            };
            let verdict = word(decide(parse(destination), &Example(true)));
            assert_eq!(verdict, expected, "{destination}, with peers");
        }
    }
}
