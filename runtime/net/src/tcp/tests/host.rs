//! Listeners on the host's network, with ports of this machine that were free a moment ago.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream as Client};
use std::task::Waker;

use super::*;
use crate::stream::PeerEnd;

/// The kernel tells it once, to whoever asks first.
#[test]
fn a_reset_is_told_to_writer_and_reader() {
    let bench = Bench::new();
    let pod = bench.host_pod(1);
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = bench.connect(&pod, server.local_addr().unwrap()).unwrap();
    let (accepted, _) = server.accept().unwrap();
    assert_eq!(client.try_write(b"never read"), Ok(10));
    // Once it is there, closing resets the connection.
    accepted.peek(&mut [0]).unwrap();
    drop(accepted);
    bench.wait(|cx| client.poll_read_ready(cx));
    assert_eq!(client.try_write(b"more"), Err(NetError::ConnectionReset));
    let read = || client.try_read(&mut [0]);
    let peeked = client.try_peek(&mut [0]);
    assert_eq!(peeked, Err(NetError::ConnectionReset), "a look ahead");
    assert_eq!(read(), Err(NetError::ConnectionReset));
    assert_eq!(read(), Ok(0));
}

/// Whether the peer left something unread, whether it closed or only said all, and how that looks.
#[test]
fn the_end_of_a_peer_is_told_to_whoever_does_not_read() {
    let bench = Bench::new();
    let pod = bench.host_pod(1);
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for (unread, closes, wanted) in [
        (false, false, PeerEnd::Finished),
        (false, true, PeerEnd::Finished),
        (true, true, PeerEnd::Broken),
    ] {
        let client = bench.connect(&pod, server.local_addr().unwrap()).unwrap();
        let (mut peer, _) = server.accept().unwrap();
        let goes_on = || {
            let mut context = Context::from_waker(Waker::noop());
            client.poll_peer_ended(&mut context).is_pending()
        };
        assert!(goes_on());
        peer.write_all(b"never read").unwrap();
        bench.wait(|cx| client.poll_read_ready(cx));
        assert!(goes_on(), "there is only something to read");
        if unread {
            assert_eq!(client.try_write(b"never read either"), Ok(17));
            // Once it is there, closing resets the connection.
            peer.peek(&mut [0]).unwrap();
        }
        let half = (!closes).then_some(peer);
        if let Some(half) = &half {
            half.shutdown(Shutdown::Write).unwrap();
        }
        let mut end = None;
        bench.wait(|cx| client.poll_peer_ended(cx).map(|it| end = Some(it)));
        assert_eq!(end, Some(wanted), "{unread} {closes}");
    }
}

/// Whether this machine has no IPv6.
fn is_v4_only() -> bool {
    TcpListener::bind("[::1]:0").is_err()
}

fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    free.local_addr().unwrap().port()
}

fn any(family: Family, port: u16) -> SocketAddr {
    SocketAddr::new(family.unspecified(), port)
}

/// Whom a client of this machine that came by IPv4 is to a listener, and where it arrived.
fn visit(bench: &Bench, listener: &TcpSocket, port: u16) -> [SocketAddr; 2] {
    let client = Client::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let server = bench.accept(listener);
    let (local, peer) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
    let seen = [server.local_address(), server.remote_address()].map(Result::unwrap);
    let canonical = seen.map(|at| SocketAddr::new(at.ip().to_canonical(), at.port()));
    assert_eq!(canonical, [local, peer]);
    seen
}

#[test]
fn who_listens_at_every_ipv6_address_is_reached_over_ipv4() {
    if is_v4_only() {
        return;
    }
    let bench = Bench::new();
    let pod = bench.host_pod(1);
    let port = free_port();
    let six = listen(&pod, any(Family::V6, port));
    for seen in visit(&bench, &six, port) {
        assert!(seen.is_ipv6(), "{seen}");
    }
    // Whoever asks for IPv4 has it from then on, bound at every address or at one.
    for address in [IpAddr::from([0; 4]), Ipv4Addr::LOCALHOST.into()] {
        let four = listen(&pod, SocketAddr::new(address, port));
        for seen in visit(&bench, &four, port) {
            assert!(seen.is_ipv4(), "{seen}");
        }
    }
    drop(six);
    let again = listen(&pod, any(Family::V6, port));
    visit(&bench, &again, port);
}

#[test]
fn an_ipv4_port_of_another_is_left_to_it() {
    if is_v4_only() {
        return;
    }
    let bench = Bench::new();
    let pod = bench.host_pod(1);
    let other = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    let six = listen(&pod, any(Family::V6, port));
    let _client = Client::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    other.accept().unwrap();
    assert_eq!(six.try_accept().err(), Some(NetError::WouldBlock));
    let mut taken = pod.tcp(Family::V4).unwrap();
    let refused = taken.bind(any(Family::V4, port));
    assert_eq!(refused, Err(NetError::AddressInUse));
}
