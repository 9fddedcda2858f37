//! Listeners on the host's network, with ports of this machine that were free a moment ago.

use std::io::{ErrorKind, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream as Client};
use std::pin::Pin;
use std::task::Waker;

use rustix::net::{SendFlags, sockopt};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

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

/// The first read of a task is given little room, and a reset comes behind it.
#[test]
fn a_task_reads_all_that_came_before_a_reset() {
    let bench = Bench::new();
    let pod = bench.host_pod(1);
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for length in [1, 2047, 2048, 2049, 10_000] {
        let mut client = bench.connect(&pod, server.local_addr().unwrap()).unwrap();
        let (mut peer, _) = server.accept().unwrap();
        let mut none = ReadBuf::new(&mut []);
        let mut context = Context::from_waker(Waker::noop());
        let read = Pin::new(&mut client).poll_read(&mut context, &mut none);
        assert!(read.is_ready(), "no room is no reason to wait");
        assert_eq!(client.try_write(b"never read"), Ok(10));
        peer.write_all(&vec![b'x'; length]).unwrap();
        // Once it is there, closing resets the connection.
        peer.peek(&mut [0]).unwrap();
        drop(peer);
        bench.wait(|cx| client.poll_peer_ended(cx).map(drop));
        let mut memory = vec![MaybeUninit::uninit(); 16 << 10];
        let mut buffer = ReadBuf::uninit(&mut memory);
        while buffer.filled().len() < length {
            bench.wait(|cx| {
                Pin::new(&mut client)
                    .poll_read(cx, &mut buffer)
                    .map(|read| read.unwrap())
            });
        }
        let mut error = None;
        bench.wait(|cx| {
            let read = Pin::new(&mut client).poll_read(cx, &mut buffer);
            read.map(|read| error = read.err())
        });
        let kind = error.map(|error| error.kind());
        assert_eq!(kind, Some(ErrorKind::ConnectionReset), "{length}");
    }
}

/// Who times a peer that takes nothing would else be told of room that was there all the time.
#[test]
fn a_task_that_found_no_room_writes_again_once_there_is_some() {
    let bench = Bench::new();
    let pod = bench.host_pod(1);
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut client = bench.connect(&pod, server.local_addr().unwrap()).unwrap();
    let (mut peer, _) = server.accept().unwrap();
    let Link::Kernel(end) = client.link() else {
        panic!("it goes through the kernel");
    };
    let (end, small) = (end.socket().as_fd(), 64 << 10);
    let buffer = end.try_clone_to_owned().unwrap();
    sockopt::set_socket_send_buffer_size(&buffer, small).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut write = |bytes| Pin::new(&mut client).poll_write(&mut context, bytes);
    let mut sent = 0;
    while let Poll::Ready(count) = write(&[0; 4096]) {
        sent += count.unwrap();
    }
    // A little more, which is less than the kernel tells of.
    sockopt::set_socket_send_buffer_size(&buffer, small + small / 4).unwrap();
    assert!(write(b"x").is_pending());
    assert_eq!(rustix::net::send(&buffer, b"x", SendFlags::DONTWAIT), Ok(1));
    let mut taken = vec![0; sent + 1];
    peer.read_exact(&mut taken).unwrap();
    bench.wait(|cx| {
        Pin::new(&mut client)
            .poll_write(cx, b"x")
            .map(|count| assert_eq!(count.unwrap(), 1))
    });
    peer.read_exact(&mut [0]).unwrap();
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
