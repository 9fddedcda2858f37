//! Asks the kernel what an address is to this node: its own, a broadcast, or somewhere else.
//!
//! One netlink question per new outside destination (RTM_GETROUTE, what `ip route get` asks):
//! exact for every way in which Linux can own an address, AnyIP ranges and secondary addresses
//! among them, and never stale, so nothing is cached. It costs a few microseconds beside a connect
//! that costs more. It decides nothing: [`crate::decide()`] does.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::lock::Lock;

/// What an address is to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Somewhere else, and there is a way.
    Remote,
    /// An address of this node, a broadcast or multicast address.
    Node,
    /// There is no way.
    None,
    /// The kernel did not say.
    Unknown,
}

/// A socket to ask through.
#[derive(Debug)]
pub(crate) struct Routes(Option<Lock<OwnedFd>>);

/// Room for one answer: a route has a few dozen attributes at most.
const ANSWER: usize = 8 * 1024;

// linux/netlink.h, linux/rtnetlink.h
const NLMSG_ERROR: u16 = 2;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST: u16 = 1;
const RTA_DST: u16 = 1;
const RTN_UNICAST: u8 = 1;
/// Local, broadcast, anycast and multicast.
const RTN_NODE: std::ops::RangeInclusive<u8> = 2..=5;
/// Offsets in an answer: nlmsghdr.nlmsg_type, the nlmsgerr after it, rtmsg.rtm_type.
const TYPE_AT: usize = 4;
const ERROR_AT: usize = 16;
const ROUTE_TYPE_AT: usize = 23;

// === impl Routes ===

impl Routes {
    /// Opens the socket. Where that fails every answer is [`Route::Unknown`].
    pub(crate) fn open() -> Self {
        let flags = SocketFlags::CLOEXEC;
        let netlink = AddressFamily::NETLINK;
        match rustix::net::socket_with(netlink, SocketType::RAW, flags, None) {
            Ok(socket) => Self(Some(Lock::new(socket))),
            Err(error) => {
                tracing::warn!(%error, "no netlink socket: pods cannot reach outside addresses");
                Self(None)
            }
        }
    }

    /// What `address` is to this node, now.
    pub(crate) fn of(&self, address: IpAddr) -> Route {
        let Some(socket) = &self.0 else {
            return Route::Unknown;
        };
        let socket = socket.lock();
        let mut answer = [0; ANSWER];
        // The kernel answers before send returns.
        let asked = rustix::net::send(&*socket, &question(address), SendFlags::empty());
        match asked.and_then(|_| rustix::net::recv(&*socket, &mut answer, RecvFlags::DONTWAIT)) {
            Ok((_, length)) => read(answer.get(..length).unwrap_or_default()),
            Err(error) => {
                tracing::warn!(%error, %address, "netlink does not answer");
                Route::Unknown
            }
        }
    }
}

/// nlmsghdr, rtmsg and one attribute.
fn question(address: IpAddr) -> Vec<u8> {
    let (family, bytes): (u16, Vec<u8>) = match address {
        IpAddr::V4(v4) => (AddressFamily::INET.as_raw(), v4.octets().to_vec()),
        IpAddr::V6(v6) => (AddressFamily::INET6.as_raw(), v6.octets().to_vec()),
    };
    let [family, _] = family.to_le_bytes();
    let size = u8::try_from(bytes.len()).unwrap_or(16);
    let mut message = Vec::with_capacity(64);
    message.extend(u32::from(32 + size).to_ne_bytes());
    message.extend(RTM_GETROUTE.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, size * 8, 0, 0, 0, 0, 0, 0]);
    message.extend(0u32.to_ne_bytes());
    message.extend(u16::from(4 + size).to_ne_bytes());
    message.extend(RTA_DST.to_ne_bytes());
    message.extend(bytes);
    message
}

fn read(answer: &[u8]) -> Route {
    let kind = answer.get(TYPE_AT..).and_then(|rest| rest.first_chunk());
    match kind.map(|bytes| u16::from_ne_bytes(*bytes)) {
        Some(RTM_NEWROUTE) => match answer.get(ROUTE_TYPE_AT) {
            Some(&RTN_UNICAST) => Route::Remote,
            Some(kind) if RTN_NODE.contains(kind) => Route::Node,
            // Blackhole, unreachable, prohibit.
            Some(_) => Route::None,
            None => Route::Unknown,
        },
        Some(NLMSG_ERROR) => {
            let error = answer.get(ERROR_AT..).and_then(|rest| rest.first_chunk());
            match error
                .map(|bytes| rustix::io::Errno::from_raw_os_error(-i32::from_ne_bytes(*bytes)))
            {
                Some(
                    rustix::io::Errno::NETUNREACH
                    | rustix::io::Errno::HOSTUNREACH
                    | rustix::io::Errno::ACCESS
                    | rustix::io::Errno::INVAL,
                ) => Route::None,
                _ => Route::Unknown,
            }
        }
        _ => Route::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_its_own() {
        let routes = Routes::open();
        for own in ["127.0.0.1", "127.77.1.2", "127.255.255.255", "::1"] {
            assert_eq!(routes.of(own.parse().unwrap()), Route::Node, "{own}");
        }
        let outside = crate::kernel::source_toward([192, 0, 2, 77].into());
        if let Some(own) = outside.filter(|address| !address.is_loopback()) {
            assert_eq!(routes.of(own), Route::Node, "{own}");
            assert_eq!(routes.of([192, 0, 2, 77].into()), Route::Remote);
        }
    }

    #[test]
    fn nonsense_is_unknown() {
        assert_eq!(read(&[]), Route::Unknown);
        assert_eq!(read(&[0; 64]), Route::Unknown);
        let mut short = vec![0; 20];
        short[TYPE_AT..TYPE_AT + 2].copy_from_slice(&RTM_NEWROUTE.to_ne_bytes());
        assert_eq!(read(&short), Route::Unknown);
    }
}
