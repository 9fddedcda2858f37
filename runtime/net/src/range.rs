//! The range that pod addresses come from, as arithmetic.
//!
//! A range is cut into blocks; each process claims blocks of it ([`crate::switch`]). Every pod
//! address has an IPv6 twin in one fixed local prefix, so IPv6 needs no blocks of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::SwitchError;

/// The range that pod addresses come from. Every process on a machine must cut the same range in
/// the same way: blocks are told apart by their first address and prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodRange {
    /// First address of the IPv4 range.
    pub first: Ipv4Addr,
    /// Its prefix length.
    pub prefix: u8,
    /// Prefix length of the blocks that processes claim.
    pub block: u8,
}

/// One block: the first address is not used, the second is the gateway, the last is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) first: Ipv4Addr,
    pub(crate) prefix: u8,
}

/// The IPv6 prefix of pods: a unique local address (RFC 4193), the same in every process. The
/// last 32 bits are the pod's IPv4 address.
pub(crate) const PODS_V6: [u16; 6] = [0xfd9d, 0x7761, 0x736d, 0x706f, 0, 0];

// === impl PodRange ===

impl PodRange {
    /// Without root: 127.64.0.0/10 in 1,024 blocks of 4,093 pods. Any user may bind any address
    /// of 127.0.0.0/8, and nothing common lives in this part of it (resolvers and host names sit
    /// in 127.0.0.0/16).
    pub const LOOPBACK: Self = Self {
        first: Ipv4Addr::new(127, 64, 0, 0),
        prefix: 10,
        block: 20,
    };

    /// Whether `address` is a pod's, or could become one: of any process.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.contains_v4(v4),
            IpAddr::V6(v6) => v6.segments().starts_with(&PODS_V6),
        }
    }

    /// The IPv6 address of the pod with this IPv4 address.
    pub fn twin(&self, address: Ipv4Addr) -> Ipv6Addr {
        let [a, b, c, d] = address.octets();
        let [p0, p1, p2, p3, p4, p5] = PODS_V6;
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Ipv6Addr::new(p0, p1, p2, p3, p4, p5, high, low)
    }

    /// The IPv4 address of the pod that could have this address of either family.
    pub fn untwin(&self, address: IpAddr) -> Option<Ipv4Addr> {
        let v4 = match address {
            IpAddr::V4(v4) => v4,
            IpAddr::V6(v6) if self.contains(address) => {
                let [.., a, b, c, d] = v6.octets();
                Ipv4Addr::new(a, b, c, d)
            }
            IpAddr::V6(_) => return None,
        };
        self.contains_v4(v4).then_some(v4)
    }

    pub(crate) fn check(&self) -> Result<(), SwitchError> {
        let why = if self.prefix < 8 || self.prefix > self.block {
            "its prefix must be 8 or more and no longer than that of its blocks"
        } else if self.block > 29 {
            "a block must have at least 8 addresses: a prefix of 29 or less"
        } else if self.first.to_bits() & !mask(self.prefix) != 0 {
            "its first address must end with its prefix"
        } else {
            return Ok(());
        };
        Err(SwitchError::BadRange {
            range: self.first,
            prefix: self.prefix,
            why,
        })
    }

    pub(crate) fn blocks(&self) -> u32 {
        1 << (self.block - self.prefix)
    }

    pub(crate) fn block(&self, number: u32) -> Block {
        let offset = number << (32 - self.block);
        Block {
            first: Ipv4Addr::from_bits(self.first.to_bits() + offset),
            prefix: self.block,
        }
    }

    /// The address under which pods see the node when it comes to them: the gateway of the block
    /// that `pod` is in.
    pub(crate) fn gateway(&self, pod: Ipv4Addr) -> Ipv4Addr {
        Ipv4Addr::from_bits((pod.to_bits() & mask(self.block)) + 1)
    }

    /// The block that an address of the range is in.
    pub(crate) fn block_of(&self, address: Ipv4Addr) -> Block {
        Block {
            first: Ipv4Addr::from_bits(address.to_bits() & self.block_mask()),
            prefix: self.block,
        }
    }

    /// The bits that all addresses of the range have in common.
    pub(crate) fn mask(&self) -> u32 {
        mask(self.prefix)
    }

    /// The bits that all addresses of a block have in common.
    pub(crate) fn block_mask(&self) -> u32 {
        mask(self.block)
    }

    fn contains_v4(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.first.to_bits()
    }
}

// === impl Block ===

impl Block {
    /// How many pods it holds.
    pub(crate) fn pods(&self) -> u32 {
        (1 << (32 - self.prefix)) - 3
    }

    /// The address of its `number`th pod, from 0.
    pub(crate) fn pod(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first.to_bits() + 2 + number)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX << (32 - prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_range() {
        let range = PodRange::LOOPBACK;
        range.check().unwrap();
        assert_eq!(range.blocks(), 1024);
        let last = range.block(1023);
        assert_eq!(last.first, Ipv4Addr::new(127, 127, 240, 0));
        assert_eq!(last.pod(last.pods() - 1), Ipv4Addr::new(127, 127, 255, 254));
        assert_eq!(range.block(1).pod(0), Ipv4Addr::new(127, 64, 16, 2));
        assert_eq!(
            range.gateway(Ipv4Addr::new(127, 64, 31, 7)),
            Ipv4Addr::new(127, 64, 16, 1)
        );
    }

    #[test]
    fn belongs_to_the_range() {
        let cases = [
            ("127.64.0.0", true),
            ("127.127.255.255", true),
            ("127.63.255.255", false),
            ("127.128.0.0", false),
            ("127.0.0.1", false),
            ("10.64.0.1", false),
            ("fd9d:7761:736d:706f::7f40:2", true),
            ("fd9d:7761:736d:706e::7f40:2", false),
            ("::1", false),
        ];
        for (address, expected) in cases {
            assert_eq!(
                PodRange::LOOPBACK.contains(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
        let twin = PodRange::LOOPBACK.twin(Ipv4Addr::new(127, 64, 0, 2));
        assert_eq!(twin.to_string(), "fd9d:7761:736d:706f::7f40:2");
    }

    #[test]
    fn bad_ranges_are_named() {
        let first = Ipv4Addr::new(10, 0, 0, 0);
        let cases = [(7, 20, first), (20, 16, first), (16, 30, first)];
        let host_bits = (8, 16, Ipv4Addr::new(10, 1, 0, 0));
        for (prefix, block, first) in cases.into_iter().chain([host_bits]) {
            let range = PodRange {
                first,
                prefix,
                block,
            };
            assert!(
                matches!(range.check(), Err(SwitchError::BadRange { .. })),
                "{range:?}"
            );
        }
    }
}
