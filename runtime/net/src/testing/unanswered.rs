//! A connect through the kernel to where nobody answers ends as it should, and never as done: in a
//! network namespace whose routes lead nowhere. That a closed port refuses, and an open one connects,
//! is seen in `outside`: here every address that answers is the node's own, which no pod reaches.

use std::net::SocketAddr;
use std::process::Command;

use super::Bench;
use super::apart::{OWN_NETWORK, apart, ip, skip};
use crate::{Family, NetError};

/// What stands in for a network: a link that swallows everything, and routes to nowhere.
const NETWORK: [&str; 9] = [
    "link set lo up",
    "link add silent type veth peer name nobody",
    "link set silent up",
    "link set nobody up",
    "addr add 10.78.1.1/24 dev silent",
    "neigh add 10.78.1.9 lladdr 02:00:00:00:00:09 dev silent",
    "route add blackhole 10.78.2.0/24",
    "route add unreachable 10.78.3.0/24",
    "route add prohibit 10.78.4.0/24",
];

#[test]
fn who_does_not_answer_is_not_connected_to() {
    let possible = Command::new("unshare")
        .args(["--net", "ip", "link", "add", "silent", "type", "veth"])
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        skip("needs root, unshare(1), ip(8) and virtual links");
        return;
    }
    if !apart(OWN_NETWORK) {
        return;
    }
    NETWORK.into_iter().for_each(ip);
    // One repetition: the kernel gives up after three seconds.
    std::fs::write("/proc/sys/net/ipv4/tcp_syn_retries", "1").unwrap();
    let bench = Bench::new();
    let pod = bench.pod(1);
    for (to, expected) in [
        ("10.78.1.9:80", NetError::Timeout),
        ("10.78.2.1:80", NetError::RemoteUnreachable),
        ("10.78.3.1:80", NetError::RemoteUnreachable),
        ("10.78.4.1:80", NetError::RemoteUnreachable),
        ("192.0.2.1:80", NetError::RemoteUnreachable),
        ("[2001:db8::1]:80", NetError::RemoteUnreachable),
    ] {
        let to: SocketAddr = to.parse().unwrap();
        let mut socket = pod.tcp(Family::of(to.ip())).unwrap();
        // Begun is not done, however it is asked, and as often as a guest asks.
        let begun = socket.connect(to);
        let mut asked = 0;
        let told = loop {
            match socket.try_finish_connect() {
                Err(NetError::WouldBlock) if asked < 100 => {
                    asked += 1;
                    assert!(socket.stream().is_none(), "{to}");
                }
                Err(NetError::WouldBlock) => bench.wait(|cx| socket.poll_ready(cx)),
                told => break told.map(drop),
            }
        };
        assert_eq!(begun.and(told), Err(expected), "{to}");
        assert!(socket.stream().is_none(), "{to}");
    }
}
