//! Who shares a port with whom, in a network namespace that each test makes for itself.

use std::io::ErrorKind;

use rustix::net::{AddressFamily, SocketType, sockopt};

use super::*;
use crate::Steering;
use crate::testing::apart::{OWN_NETWORK, apart, ip, skip};

/// A port of containers, and of the node.
const PORT: u16 = 8080;

/// Whether this is the process that has a network of its own.
fn inside() -> bool {
    if !Steering::is_permitted() {
        skip("needs rights to a network namespace: run `cargo xtask test` as root");
        return false;
    }
    let inside = apart(OWN_NETWORK);
    if inside {
        ip("link set lo up");
    }
    inside
}

fn every() -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, PORT).into()
}

fn localhost() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, PORT).into()
}

/// A pod that has a port of its own and, where `is_published`, the node's at every address.
fn pod(bench: &Bench, number: u64, protocol: Protocol, is_published: bool) -> PodNet {
    let mut doors = vec![door(PORT, protocol, None)];
    if is_published {
        doors.push(door(PORT, protocol, Some(every())));
        let six = (Ipv6Addr::UNSPECIFIED, PORT).into();
        doors.push(door(PORT, protocol, Some(six)));
    }
    let network = PodNetwork {
        doors,
        ..PodNetwork::default()
    };
    bench.pod_with(number, network)
}

fn own(pod: &PodNet) -> SocketAddr {
    SocketAddr::new(pod.addresses()[0], PORT)
}

/// A server of a pod.
enum Server {
    Tcp(TcpSocket),
    Udp(crate::UdpSocket),
}

impl Server {
    fn of(pod: &PodNet, protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp(listen(pod, every())),
            Protocol::Udp => Self::Udp(udp(pod, every())),
        }
    }

    /// Holds it to be the one that answers at an address, and from there.
    fn answers(&self, bench: &Bench, at: SocketAddr) {
        match self {
            Self::Tcp(listener) => {
                let mut client = TcpStream::connect(at).unwrap();
                let server = bench.accept(listener);
                server.stream().unwrap().write_permitted(b"here").unwrap();
                drop(server);
                let mut answer = Vec::new();
                client.read_to_end(&mut answer).unwrap();
                assert_eq!(answer, b"here", "{at}");
            }
            Self::Udp(server) => {
                let client = UdpSocket::bind("127.0.0.1:0").unwrap();
                client.send_to(b"who", at).unwrap();
                let (question, from) = bench.receive(server);
                server.try_send(&question, Some(from)).unwrap();
                let (length, by) = client.recv_from(&mut [0; 8]).unwrap();
                assert_eq!((length, by), (3, at));
            }
        }
    }
}

#[test]
fn a_pods_own_address_is_its_own_whoever_has_the_port_of_every_address() {
    if !inside() {
        return;
    }
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for is_published_first in [true, false] {
            let mut bench = Bench::new();
            let pods = [1, 2].map(|number| pod(&bench, number, protocol, number == 1));
            let order = if is_published_first { [0, 1] } else { [1, 0] };
            let mut servers = order.map(|n| (n, Server::of(&pods[n], protocol)));
            servers.sort_by_key(|(n, _)| *n);
            let [(_, published), (_, other)] = &servers;
            for at in [localhost(), own(&pods[0])] {
                published.answers(&bench, at);
            }
            other.answers(&bench, own(&pods[1]));
            published.answers(&bench, localhost());
            let told = bench.notices.try_recv();
            assert!(told.is_err(), "{told:?}");
        }
    }
}

/// Nobody is told that the other pod's server is this one.
#[test]
fn what_is_sent_to_a_pod_that_does_not_listen_reaches_no_other() {
    if !inside() {
        return;
    }
    let bench = Bench::new();
    let pods = [1, 2].map(|number| pod(&bench, number, Protocol::Tcp, number == 1));
    let published = Server::of(&pods[0], Protocol::Tcp);
    let other = Server::of(&pods[1], Protocol::Tcp);
    drop(other);
    let Server::Tcp(listener) = &published else {
        unreachable!()
    };
    for nobodys in [own(&pods[1]), spare_in_range(&pods[1])] {
        let mut client = TcpStream::connect(nobodys).unwrap();
        let listener = listener.listener().unwrap();
        bench.wait(|cx| listener.poll_acceptable(cx));
        assert_eq!(listener.try_accept().err(), Some(NetError::WouldBlock));
        let error = client.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{nobodys}");
    }
    published.answers(&bench, localhost());
    Server::of(&pods[1], Protocol::Tcp).answers(&bench, own(&pods[1]));
}

/// An address of the pod's block that no pod has.
fn spare_in_range(pod: &PodNet) -> SocketAddr {
    let IpAddr::V4(address) = own(pod).ip() else {
        panic!("IPv4 comes first");
    };
    let [a, b, c, _] = address.octets();
    SocketAddr::from(([a, b, c, 250], PORT))
}

#[test]
fn where_addresses_are_steered_a_datagram_reaches_its_pod_or_nobody() {
    if !inside() {
        return;
    }
    let lane = Steering::new(RANGE, &[Family::V4]).lane();
    let bench = Bench::with(RANGE, Some(Arc::new(lane)));
    let pods = [1, 2].map(|number| pod(&bench, number, Protocol::Udp, number == 1));
    let [published, other] = [0, 1].map(|n| Server::of(&pods[n], Protocol::Udp));
    for at in [localhost(), own(&pods[0])] {
        published.answers(&bench, at);
    }
    other.answers(&bench, own(&pods[1]));
    drop(other);
    for nobodys in [own(&pods[1]), spare_in_range(&pods[1])] {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(nobodys).unwrap();
        client.send(b"who").unwrap();
        let refused = client.recv(&mut [0; 8]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{nobodys}");
    }
}

#[test]
fn two_runs_do_not_share_a_port_of_every_address() {
    if !inside() {
        return;
    }
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let (bench, mut second) = (Bench::new(), Bench::new());
        let first = pod(&bench, 1, protocol, true);
        let late = pod(&second, 2, protocol, true);
        let holds = Server::of(&first, protocol);
        let refused = Server::of(&late, protocol);
        let notice = second.notice();
        assert_eq!((notice.reason, notice.warning), ("HostPortConflict", true));
        let is_told = |part: &str| assert!(notice.message.contains(part), "{}", notice.message);
        is_told("another program listens there");
        is_told("restart the container");
        is_told(&every().to_string());
        refused.answers(&second, own(&late));
        holds.answers(&bench, localhost());
        drop((holds, refused));
        Server::of(&late, protocol).answers(&second, localhost());
    }
}

#[test]
fn who_has_the_port_in_this_run_is_named() {
    if !inside() {
        return;
    }
    let mut bench = Bench::new();
    let pods = [1, 2].map(|number| pod(&bench, number, Protocol::Udp, true));
    let _servers = pods.map(|pod| Server::of(&pod, Protocol::Udp));
    let message = bench.notice().message;
    for part in ["UDP port 8080 of pod pod2", "pod pod1 of this run"] {
        assert!(message.contains(part), "{message}");
    }
}

/// A program of the same user that would share with everybody.
#[test]
fn no_program_shares_a_port_of_every_address() {
    if !inside() {
        return;
    }
    for (protocol, kind) in [
        (Protocol::Tcp, SocketType::STREAM),
        (Protocol::Udp, SocketType::DGRAM),
    ] {
        let program = rustix::net::socket(AddressFamily::INET, kind, None).unwrap();
        sockopt::set_socket_reuseport(&program, true).unwrap();
        rustix::net::bind(&program, &every()).unwrap();
        let mut bench = Bench::new();
        let pod = pod(&bench, 1, protocol, true);
        let server = Server::of(&pod, protocol);
        assert_eq!(bench.notice().reason, "HostPortConflict");
        server.answers(&bench, own(&pod));
    }
}
