//! The semantics of UDP sockets, in memory.

use super::*;
use crate::limits::MAX_QUEUED_DATAGRAMS;
use crate::testing::{Bench, at, now, udp};

const OK: Result<(), NetError> = Ok(());

#[test]
fn who_hears_whom() {
    let bench = Bench::new();
    let (a, b) = (bench.pod(1), bench.pod(2));
    let at = |text, port| at(text, port, [&a, &b]);
    // Where A receives, who sends, bound to what, where to; what the call says and the source
    // that A sees, if it hears anything.
    let denied = Err(NetError::AccessDenied);
    let invalid = Err(NetError::InvalidArgument);
    let cases = [
        ("0.0.0.0", &a, "0.0.0.0", "127.0.0.1", OK, Some("127.0.0.1")),
        ("0.0.0.0", &a, "0.0.0.0", "0.0.0.0", OK, Some("127.0.0.1")),
        ("0.0.0.0", &a, "0.0.0.0", "A", OK, Some("A")),
        ("0.0.0.0", &a, "A", "127.0.0.1", OK, Some("A")),
        ("0.0.0.0", &a, "127.0.0.9", "A", OK, Some("127.0.0.9")),
        ("0.0.0.0", &b, "0.0.0.0", "A", OK, Some("B")),
        ("0.0.0.0", &b, "B", "A", OK, Some("B")),
        ("0.0.0.0", &b, "127.0.0.1", "A", invalid, None),
        ("0.0.0.0", &b, "0.0.0.0", "127.0.0.1", OK, None),
        ("127.0.0.1", &b, "0.0.0.0", "A", OK, None),
        (
            "127.0.0.1",
            &a,
            "0.0.0.0",
            "127.0.0.1",
            OK,
            Some("127.0.0.1"),
        ),
        ("A", &b, "0.0.0.0", "A", OK, Some("B")),
        ("::", &b, "::", "a", OK, Some("b")),
        ("::", &a, "::", "::1", OK, Some("::1")),
        ("0.0.0.0", &b, "::", "::ffff:A", invalid, None),
        ("0.0.0.0", &b, "0.0.0.0", "::1", invalid, None),
        ("0.0.0.0", &b, "0.0.0.0", "127.160.255.9", OK, None),
        ("0.0.0.0", &b, "0.0.0.0", "169.254.169.254", denied, None),
        ("0.0.0.0", &b, "0.0.0.0", "224.0.0.251", denied, None),
        ("0.0.0.0", &b, "0.0.0.0", "255.255.255.255", denied, None),
    ];
    for (receives, sender, bound, to, expected, heard) in cases {
        let name = format!("{bound} to {to} where {receives} receives");
        let receiver = udp(&a, at(receives, 53));
        let socket = udp(sender, at(bound, 4000));
        for payload in [&b"one"[..], b"", b"three"] {
            assert_eq!(
                socket.try_send(payload, Some(at(to, 53))),
                expected,
                "{name}"
            );
            let heard = heard.map(|from| (Bytes::copy_from_slice(payload), at(from, 4000)));
            assert_eq!(
                receiver.try_receive(),
                heard.ok_or(NetError::WouldBlock),
                "{name}"
            );
        }
    }
}

#[test]
fn an_unbound_sender_gets_a_port_and_answers() {
    let bench = Bench::new();
    let (a, b) = (bench.pod(1), bench.pod(2));
    let server = udp(&a, at("0.0.0.0", 53, [&a, &b]));
    let client = b.udp(Family::V4).unwrap();
    assert_eq!(client.try_receive().unwrap_err(), NetError::InvalidState);
    client
        .try_send(b"question", Some(at("A", 53, [&a, &b])))
        .unwrap();
    let (question, from) = bench.receive(&server);
    assert_eq!(question, b"question");
    assert_eq!(from.port(), client.local_address().unwrap().port());
    server.try_send(b"answer", Some(from)).unwrap();
    assert_eq!(
        bench.receive(&client),
        (b"answer".to_vec(), at("A", 53, [&a, &b]))
    );
    let counters = [&a, &b].map(PodNet::counters).map(|c| (c.received, c.sent));
    assert_eq!(counters, [(8, 6), (6, 8)]);
}

#[test]
fn a_connected_socket_has_one_peer() {
    let bench = Bench::new();
    let (a, b) = (bench.pod(1), bench.pod(2));
    let at = |text, port| at(text, port, [&a, &b]);
    let socket = udp(&a, at("0.0.0.0", 1000));
    let (friend, stranger) = (udp(&b, at("0.0.0.0", 2000)), udp(&b, at("0.0.0.0", 3000)));
    let from_both = || {
        for sender in [&stranger, &friend] {
            sender.try_send(b"x", Some(at("A", 1000))).unwrap();
        }
    };
    from_both();
    assert_eq!(socket.connect(None), Err(NetError::InvalidState));
    assert_eq!(
        socket.connect(Some(at("0.0.0.0", 2000))),
        Err(NetError::InvalidArgument)
    );
    assert_eq!(
        socket.connect(Some(at("B", 0))),
        Err(NetError::InvalidArgument)
    );
    assert_eq!(
        socket.connect(Some(at("169.254.169.254", 80))),
        Err(NetError::AccessDenied)
    );
    socket.connect(Some(at("B", 2000))).unwrap();
    assert_eq!(socket.local_address(), Ok(at("A", 1000)));
    from_both();
    for _ in 0..2 {
        assert_eq!(bench.receive(&socket), (b"x".to_vec(), at("B", 2000)));
    }
    assert_eq!(socket.try_receive().unwrap_err(), NetError::WouldBlock);
    socket.try_send(b"to the peer", None).unwrap();
    assert_eq!(bench.receive(&friend).0, b"to the peer");
    let other = socket.try_send(b"x", Some(at("B", 3000)));
    assert_eq!(other, Err(NetError::InvalidArgument));
    socket.connect(None).unwrap();
    assert_eq!(socket.local_address(), Ok(at("0.0.0.0", 1000)));
    assert_eq!(socket.remote_address(), Err(NetError::InvalidState));
    assert_eq!(socket.try_send(b"x", None), Err(NetError::InvalidArgument));
    stranger.try_send(b"again", Some(at("A", 1000))).unwrap();
    assert_eq!(bench.receive(&socket).0, b"again");
}

#[test]
fn only_a_connected_socket_learns_that_nobody_is_there() {
    let bench = Bench::new();
    let (a, b) = (bench.pod(1), bench.pod(2));
    let nobody = at("B", 9, [&a, &b]);
    let socket = udp(&a, at("0.0.0.0", 1000, [&a, &b]));
    socket.try_send(b"x", Some(nobody)).unwrap();
    assert_eq!(socket.try_receive().unwrap_err(), NetError::WouldBlock);
    socket.connect(Some(nobody)).unwrap();
    socket.try_send(b"x", None).unwrap();
    bench.wait(|cx| socket.poll_receive_ready(cx));
    assert_eq!(
        socket.try_receive().unwrap_err(),
        NetError::ConnectionRefused
    );
    assert_eq!(socket.try_receive().unwrap_err(), NetError::WouldBlock);
    socket.try_send(b"x", None).unwrap();
    assert_eq!(
        socket.try_send(b"x", None),
        Err(NetError::ConnectionRefused)
    );
}

#[test]
fn a_receiver_that_comes_back_is_found_again() {
    let bench = Bench::new();
    let (a, b) = (bench.pod(1), bench.pod(2));
    let (here, there) = (at("0.0.0.0", 53, [&a, &b]), at("A", 53, [&a, &b]));
    let sender = udp(&b, at("0.0.0.0", 0, [&a, &b]));
    for round in 0..3 {
        let receiver = udp(&a, here);
        let twice = a.udp(Family::V4).unwrap();
        assert_eq!(now(twice.bind(here)), Err(NetError::AddressInUse));
        for _ in 0..2 {
            sender.try_send(&[round], Some(there)).unwrap();
            assert_eq!(bench.receive(&receiver).0, [round]);
        }
        drop(receiver);
        sender.try_send(b"lost", Some(there)).unwrap();
    }
}

#[test]
fn limits_and_options() {
    let bench = Bench::new();
    let pod = bench.pod(1);
    let local = SocketAddr::from(([127, 0, 0, 1], 53));
    let socket = udp(&pod, local);
    let largest = vec![1; MAX_DATAGRAM + 1];
    assert_eq!(
        socket.try_send(&largest, Some(local)),
        Err(NetError::DatagramTooLarge)
    );
    socket.try_send(&largest[1..], Some(local)).unwrap();
    assert_eq!(
        bench.receive(&socket).0.len(),
        MAX_DATAGRAM,
        "to itself, whole"
    );
    for _ in 0..MAX_QUEUED_DATAGRAMS + 10 {
        socket.try_send(b"", Some(local)).unwrap();
    }
    let queued = std::iter::from_fn(|| socket.try_receive().ok()).count();
    assert_eq!(queued, MAX_QUEUED_DATAGRAMS, "what does not fit is lost");
    assert_eq!(socket.try_send(b"", None), Err(NetError::InvalidArgument));
    let zero = SocketAddr::new(local.ip(), 0);
    assert_eq!(
        socket.try_send(b"", Some(zero)),
        Err(NetError::InvalidArgument)
    );
    assert_eq!(
        socket.set_option(SetOption::KeepAlive(true)),
        Err(NetError::NotSupported)
    );
    assert_eq!(
        socket.set_option(SetOption::HopLimit(0)),
        Err(NetError::InvalidArgument)
    );
    socket.set_option(SetOption::HopLimit(7)).unwrap();
    assert_eq!(socket.options().hop_limit, 7);
}

#[test]
fn two_sockets_may_send_to_each_other_at_once() {
    let bench = Bench::new();
    let pod = bench.pod(1);
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let (first, second) = (udp(&pod, local(1)), udp(&pod, local(2)));
    std::thread::scope(|scope| {
        for (own, other) in [(&first, 2), (&second, 1)] {
            scope.spawn(move || {
                for _ in 0..2000 {
                    own.try_send(b"x", Some(local(other))).unwrap();
                    let _ = own.try_receive();
                }
            });
        }
    });
}
