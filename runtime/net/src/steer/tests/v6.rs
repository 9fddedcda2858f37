//! IPv6: pods' addresses are the node's own by a route, in a network namespace that this test
//! makes, where the test runs a second time.

use super::*;
use crate::testing::apart::{OWN_NETWORK, apart, ip};

#[test]
fn an_ipv6_listener_is_reached_where_a_route_leads() {
    if steered().is_some() && apart(OWN_NETWORK) {
        inside();
    }
}

fn inside() {
    ip("link set lo up");
    ip("-6 route add local fd9d:7761:736d:706f::/64 dev lo");
    let _host = TcpListener::bind("[::]:81").unwrap();
    let both = Steering::new(RANGE, &[Family::V4, Family::V6]);
    let bench = Bench::with(RANGE, Some(Arc::new(both.lane())));
    let pod = bench.pod(1);
    let at = |address, port| at(address, port, [&pod, &pod]);
    let (four, six) = (listen(&pod, at("0.0.0.0", 80)), listen(&pod, at("::", 80)));
    for (listener, address) in [(&four, "A"), (&six, "a")] {
        let client = TcpStream::connect(at(address, 80)).unwrap();
        let server = bench.accept(listener);
        assert_eq!(server.local_address(), Ok(at(address, 80)));
        let peer = server.remote_address().unwrap();
        assert_eq!(peer.port(), client.local_addr().unwrap().port());
    }
    assert!(refuses(at("a", 81)));
    TcpStream::connect("[::1]:81").unwrap();
}
