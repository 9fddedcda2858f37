//! The semantics of TCP sockets as tables, in memory.

mod host;

use super::*;
use crate::limits::MAX_SOCKETS_PER_POD;
use crate::testing::{Bench, at, listen, now};

const OK: Result<(), NetError> = Ok(());

#[test]
fn what_may_be_bound() {
    let bench = Bench::new();
    let (a, b) = (bench.pod(1), bench.pod(2));
    let cases = [
        (Family::V4, "0.0.0.0", OK),
        (Family::V4, "A", OK),
        (Family::V4, "127.0.0.1", OK),
        (Family::V4, "127.0.0.99", OK),
        (Family::V6, "::", OK),
        (Family::V6, "::1", OK),
        (Family::V6, "a", OK),
        (Family::V4, "B", Err(NetError::AddressNotBindable)),
        (Family::V6, "b", Err(NetError::AddressNotBindable)),
        (
            Family::V4,
            "127.160.255.9",
            Err(NetError::AddressNotBindable),
        ),
        (Family::V4, "10.0.0.1", Err(NetError::AddressNotBindable)),
        (Family::V6, "2001:db8::1", Err(NetError::AddressNotBindable)),
        (Family::V4, "224.0.0.1", Err(NetError::InvalidArgument)),
        (
            Family::V4,
            "255.255.255.255",
            Err(NetError::InvalidArgument),
        ),
        (Family::V6, "ff02::1", Err(NetError::InvalidArgument)),
        (Family::V4, "::1", Err(NetError::InvalidArgument)),
        (Family::V6, "127.0.0.1", Err(NetError::InvalidArgument)),
        (
            Family::V6,
            "::ffff:127.0.0.1",
            Err(NetError::InvalidArgument),
        ),
    ];
    for (family, address, expected) in cases {
        let mut socket = a.tcp(family).unwrap();
        assert_eq!(
            socket.bind(at(address, 80, [&a, &b])),
            expected,
            "{family:?} {address}"
        );
    }
}

const REFUSED: Result<(), NetError> = Err(NetError::ConnectionRefused);
const INVALID: Result<(), NetError> = Err(NetError::InvalidArgument);
const DENIED: Result<(), NetError> = Err(NetError::AccessDenied);

/// A listener of pod A, a client of pod A or B, where it connects to, what comes of it.
const WHO_REACHES_WHOM: &[(&str, char, &str, Result<(), NetError>)] = &[
    ("0.0.0.0", 'A', "127.0.0.1", OK),
    ("0.0.0.0", 'A', "127.9.9.9", OK),
    ("0.0.0.0", 'A', "0.0.0.0", OK),
    ("0.0.0.0", 'A', "A", OK),
    ("0.0.0.0", 'A', "::1", REFUSED),
    ("0.0.0.0", 'A', "::", REFUSED),
    ("0.0.0.0", 'A', "::ffff:127.0.0.1", INVALID),
    ("0.0.0.0", 'A', "::ffff:A", INVALID),
    ("::", 'A', "::ffff:A", INVALID),
    ("0.0.0.0", 'B', "A", OK),
    ("0.0.0.0", 'B', "::ffff:A", INVALID),
    ("0.0.0.0", 'A', "::ffff:8.8.8.8", INVALID),
    ("0.0.0.0", 'B', "a", REFUSED),
    ("0.0.0.0", 'B', "127.0.0.1", REFUSED),
    ("0.0.0.0", 'B', "0.0.0.0", REFUSED),
    ("127.0.0.1", 'A', "127.0.0.1", OK),
    ("127.0.0.1", 'A', "127.0.0.2", REFUSED),
    ("127.0.0.1", 'A', "A", REFUSED),
    ("127.0.0.1", 'B', "A", REFUSED),
    ("A", 'A', "A", OK),
    ("A", 'A', "127.0.0.1", REFUSED),
    ("A", 'B', "A", OK),
    ("::", 'A', "::1", OK),
    ("::", 'A', "::", OK),
    ("::", 'A', "a", OK),
    ("::", 'A', "127.0.0.1", OK),
    ("::", 'A', "127.9.9.9", OK),
    ("::", 'A', "0.0.0.0", OK),
    ("::", 'A', "A", OK),
    ("::", 'B', "a", OK),
    ("::", 'B', "A", OK),
    ("::", 'B', "127.0.0.1", REFUSED),
    ("::1", 'A', "::1", OK),
    ("::1", 'A', "127.0.0.1", REFUSED),
    ("a", 'A', "A", REFUSED),
    ("a", 'B', "A", REFUSED),
    ("::1", 'B', "a", REFUSED),
    ("a", 'B', "a", OK),
    // What leads to no pod, whoever listens where.
    ("0.0.0.0", 'A', "127.160.255.9", REFUSED),
    ("0.0.0.0", 'A', "169.254.169.254", DENIED),
    ("0.0.0.0", 'A', "fe80::1", DENIED),
    ("0.0.0.0", 'A', "224.0.0.1", INVALID),
    ("0.0.0.0", 'A', "255.255.255.255", INVALID),
];

#[test]
fn who_reaches_whom() {
    let bench = Bench::new();
    let (a, b) = (bench.pod(1), bench.pod(2));
    for (listens, client, to, expected) in WHO_REACHES_WHOM.iter().copied() {
        let _listener = listen(&a, at(listens, 80, [&a, &b]));
        let client = if client == 'A' { &a } else { &b };
        let result = bench.connect(client, at(to, 80, [&a, &b])).map(drop);
        assert_eq!(
            result, expected,
            "listens on {listens}, {client:?} connects to {to}"
        );
    }
}

/// Where pod A listens, which pod connects, bound to what, to where; then the client's address as
/// the client and as the server see it, and the server's as it sees it itself.
const WHO_SEES_WHAT: &str = "
    0.0.0.0  A  -          127.0.0.1  127.0.0.1  127.0.0.1  127.0.0.1
    0.0.0.0  A  -          127.3.2.1  127.0.0.1  127.0.0.1  127.3.2.1
    0.0.0.0  A  -          0.0.0.0    127.0.0.1  127.0.0.1  127.0.0.1
    0.0.0.0  A  -          A          A          A          A
    0.0.0.0  A  127.0.0.7  127.0.0.1  127.0.0.7  127.0.0.7  127.0.0.1
    0.0.0.0  A  A          127.0.0.1  A          A          127.0.0.1
    0.0.0.0  B  -          A          B          B          A
    0.0.0.0  B  0.0.0.0    A          B          B          A
    ::       B  -          A          B          ::ffff:B   ::ffff:A
    ::       A  -          127.0.0.1  127.0.0.1  ::ffff:127.0.0.1 ::ffff:127.0.0.1
    ::       B  -          a          b          b          a
    ::       A  -          ::1        ::1        ::1        ::1";

#[test]
fn both_sides_know_each_other() {
    let bench = Bench::new();
    let (a, b) = (bench.pod(1), bench.pod(2));
    let at = |text, port| at(text, port, [&a, &b]);
    for row in WHO_SEES_WHAT.lines().skip(1) {
        let words: Vec<&str> = row.split_whitespace().collect();
        let [listens, who, bound, to, client, by_server, server] = words[..] else {
            panic!("{row}");
        };
        let listener = listen(&a, at(listens, 80));
        let pod = if who == "A" { &a } else { &b };
        let mut socket = pod.tcp(Family::of(at(to, 80).ip())).unwrap();
        if bound != "-" {
            socket.bind(at(bound, 4000)).unwrap();
        }
        socket.connect(at(to, 80)).unwrap();
        let port = socket.try_finish_connect().unwrap().local_address().port();
        let accepted = bench.accept(&listener);
        let ephemeral = crate::limits::EPHEMERAL_PORTS.contains(&port);
        assert!(
            if bound == "-" {
                ephemeral
            } else {
                port == 4000
            },
            "{row}"
        );
        let named = if to == "0.0.0.0" { server } else { to };
        assert_eq!(socket.local_address(), Ok(at(client, port)), "{row}");
        assert_eq!(socket.remote_address(), Ok(at(named, 80)), "{row}");
        assert_eq!(accepted.remote_address(), Ok(at(by_server, port)), "{row}");
        assert_eq!(accepted.local_address(), Ok(at(server, 80)), "{row}");
    }
}

#[test]
fn localhost_does_not_lead_out() {
    let bench = Bench::new();
    let (a, b) = (bench.pod(1), bench.pod(2));
    let _listener = listen(&b, at("0.0.0.0", 80, [&a, &b]));
    let mut socket = a.tcp(Family::V4).unwrap();
    socket.bind(at("127.0.0.1", 0, [&a, &b])).unwrap();
    socket.connect(at("B", 80, [&a, &b])).unwrap();
    assert_eq!(
        socket.try_finish_connect().unwrap_err(),
        NetError::InvalidArgument
    );
}

#[test]
fn states_refuse_what_they_must() {
    let bench = Bench::new();
    let pod = bench.pod(1);
    let any = |port| SocketAddr::new(Family::V4.unspecified(), port);
    let local = |port| SocketAddr::new([127, 0, 0, 1].into(), port);
    let invalid = NetError::InvalidState;

    let mut socket = pod.tcp(Family::V4).unwrap();
    assert_eq!(socket.local_address(), Err(invalid));
    assert_eq!(socket.remote_address(), Err(invalid));
    assert_eq!(socket.try_accept().unwrap_err(), invalid);
    assert_eq!(socket.try_finish_connect().unwrap_err(), invalid);
    assert_eq!(socket.shutdown(Shutdown::Both), Err(invalid));
    assert_eq!(socket.set_backlog(0), Err(NetError::InvalidArgument));
    socket.bind(any(80)).unwrap();
    assert_eq!(socket.bind(any(81)), Err(invalid));
    assert_eq!(socket.local_address(), Ok(any(80)));
    now(socket.listen()).unwrap();
    assert_eq!(now(socket.listen()), Err(invalid));
    assert_eq!(socket.connect(local(80)), Err(invalid));
    assert_eq!(socket.try_accept().unwrap_err(), NetError::WouldBlock);

    let mut client = pod.tcp(Family::V4).unwrap();
    assert_eq!(client.connect(local(0)), Err(NetError::InvalidArgument));
    assert_eq!(
        client.connect("[::1]:80".parse().unwrap()),
        Err(NetError::InvalidArgument)
    );
    client.connect(local(80)).unwrap();
    assert_eq!(client.connect(local(80)), Err(invalid));
    assert_eq!(client.bind(any(90)), Err(invalid));
    client.try_finish_connect().unwrap();
    assert_eq!(client.try_finish_connect().unwrap_err(), invalid);
    assert_eq!(now(client.listen()), Err(invalid));
    assert_eq!(client.set_backlog(1), Err(invalid));

    let mut unbound = pod.tcp(Family::V6).unwrap();
    now(unbound.listen()).unwrap();
    assert!(crate::limits::EPHEMERAL_PORTS.contains(&unbound.local_address().unwrap().port()));

    let mut refused = pod.tcp(Family::V4).unwrap();
    refused.connect(local(99)).unwrap();
    assert_eq!(
        refused.try_finish_connect().unwrap_err(),
        NetError::ConnectionRefused
    );
    assert_eq!(
        refused.connect(local(80)),
        Err(invalid),
        "a failed socket is closed"
    );
}

#[test]
fn the_backlog_is_a_limit() {
    let bench = Bench::new();
    let pod = bench.pod(1);
    let local = SocketAddr::from(([127, 0, 0, 1], 80));
    let mut listener = pod.tcp(Family::V4).unwrap();
    listener.bind(local).unwrap();
    listener.set_backlog(2).unwrap();
    now(listener.listen()).unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| bench.connect(&pod, local).unwrap())
        .collect();
    assert_eq!(
        bench.connect(&pod, local).unwrap_err(),
        NetError::ConnectionRefused
    );
    let accepted = bench.accept(&listener);
    let third = bench.connect(&pod, local).unwrap();
    listener.set_backlog(3).unwrap();
    let fourth = bench.connect(&pod, local).unwrap();
    drop(listener);
    // Accepted connections live on; waiting ones are reset.
    accepted.stream().unwrap().try_write(b"hi").unwrap();
    assert_eq!(bench.read(&waiting[0], 2), b"hi");
    for stream in [&waiting[1], &third, &fourth] {
        assert_eq!(stream.try_read(&mut [0]), Err(NetError::ConnectionReset));
        assert_eq!(stream.try_write(b"x"), Err(NetError::ConnectionReset));
    }
    assert_eq!(
        bench.connect(&pod, local).unwrap_err(),
        NetError::ConnectionRefused
    );
}

#[test]
fn a_port_is_free_with_its_socket() {
    let bench = Bench::new();
    let pod = bench.pod(1);
    let any = SocketAddr::from(([0, 0, 0, 0], 80));
    let local = SocketAddr::from(([127, 0, 0, 1], 80));
    let listener = listen(&pod, any);
    let mut second = pod.tcp(Family::V4).unwrap();
    assert_eq!(second.bind(any), Err(NetError::AddressInUse));
    assert_eq!(second.bind(local), Err(NetError::AddressInUse));
    let client = bench.connect(&pod, local).unwrap();
    let server = bench.accept(&listener);
    drop(listener);
    second.bind(any).unwrap();
    now(second.listen()).unwrap();
    client.try_write(b"still there").unwrap();
    assert_eq!(bench.read(server.stream().unwrap(), 11), b"still there");
    // The client's port is taken while its connection lives.
    let mut third = pod.tcp(Family::V4).unwrap();
    assert_eq!(
        third.bind(client.local_address()),
        Err(NetError::AddressInUse)
    );
    let port = client.local_address();
    drop(client);
    third.bind(port).unwrap();
}

/// How a connection ends, seen from the other side.
#[test]
fn ends() {
    let bench = Bench::new();
    let (a, b) = (bench.pod(1), bench.pod(2));
    let listener = listen(&a, at("0.0.0.0", 80, [&a, &b]));
    let pair = || {
        let client = bench.connect(&b, at("A", 80, [&a, &b])).unwrap();
        (client, bench.accept(&listener))
    };

    let (client, server) = pair();
    client.try_write(b"last words").unwrap();
    drop(client);
    let stream = server.stream().unwrap();
    assert_eq!(bench.read_to_end(stream), (b"last words".to_vec(), Ok(())));
    assert_eq!(stream.try_write(b"x"), Err(NetError::ConnectionBroken));

    let (client, server) = pair();
    client.try_write(b"never read").unwrap();
    drop(server);
    assert_eq!(bench.read_to_end(&client).1, Err(NetError::ConnectionReset));
    assert_eq!(client.try_read(&mut [0]), Ok(0), "a reset is told once");

    let (client, server) = pair();
    client.shutdown(Shutdown::Write);
    assert_eq!(client.try_write(b"x"), Err(NetError::ConnectionBroken));
    assert_eq!(
        bench.read_to_end(server.stream().unwrap()),
        (vec![], Ok(()))
    );
    server.stream().unwrap().try_write(b"answer").unwrap();
    assert_eq!(bench.read(&client, 6), b"answer");

    let (client, server) = pair();
    server.shutdown(Shutdown::Read).unwrap();
    assert_eq!(client.try_write(b"into the void"), Ok(13));
    assert_eq!(server.stream().unwrap().try_read(&mut [0]), Ok(0));

    let (client, server) = pair();
    let clone = client.clone();
    drop(client);
    assert_eq!(
        server.stream().unwrap().try_read(&mut [0]),
        Err(NetError::WouldBlock)
    );
    drop(clone);
    assert_eq!(server.stream().unwrap().try_read(&mut [0]), Ok(0));
}

#[test]
fn waiting_ends_when_something_happens() {
    let bench = Bench::new();
    let (a, b) = (bench.pod(1), bench.pod(2));
    let listener = listen(&a, at("0.0.0.0", 80, [&a, &b]));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let server = bench.accept(&listener);
            let stream = server.stream().unwrap();
            let request = bench.read(stream, 1 << 20);
            assert!(request.iter().all(|byte| *byte == 7));
            stream.try_write(b"thanks").unwrap();
        });
        let client = bench.connect(&b, at("A", 80, [&a, &b])).unwrap();
        let mut left = 1 << 20;
        while left > 0 {
            bench.wait(|cx| client.poll_write_ready(cx));
            let permitted = client.writable().unwrap().min(left);
            client.write_permitted(&vec![7; permitted]).unwrap();
            left -= permitted;
        }
        assert_eq!(bench.read_to_end(&client), (b"thanks".to_vec(), Ok(())));
    });
    let counters = [&a, &b].map(PodNet::counters);
    assert_eq!((counters[0].received, counters[0].sent), (1 << 20, 6));
    assert_eq!((counters[1].received, counters[1].sent), (6, 1 << 20));
    assert_eq!(a.for_instance().counters(), crate::Counters::default());
}

#[test]
fn more_than_permitted_is_refused() {
    let bench = Bench::new();
    let pod = bench.pod(1);
    let local = SocketAddr::from(([127, 0, 0, 1], 80));
    let _listener = listen(&pod, local);
    let client = bench.connect(&pod, local).unwrap();
    let permitted = client.writable().unwrap();
    assert_eq!(
        client.write_permitted(&vec![0; permitted + 1]),
        Err(NetError::OutOfMemory)
    );
}

#[test]
fn sockets_are_counted() {
    let bench = Bench::new();
    let pod = bench.pod(1);
    let local = SocketAddr::from(([127, 0, 0, 1], 80));
    let listener = listen(&pod, local);
    let mut sockets: Vec<_> = (2..MAX_SOCKETS_PER_POD)
        .map(|_| pod.tcp(Family::V4).unwrap())
        .collect();
    let mut last = pod.tcp(Family::V4).unwrap();
    assert_eq!(pod.tcp(Family::V4).unwrap_err(), NetError::NewSocketLimit);
    assert_eq!(pod.udp(Family::V4).unwrap_err(), NetError::NewSocketLimit);
    // The accepting end would be one too many.
    last.connect(local).unwrap();
    assert_eq!(
        last.try_finish_connect().unwrap_err(),
        NetError::ConnectionRefused
    );
    let mut client = sockets.pop().unwrap();
    client.connect(local).unwrap();
    client.try_finish_connect().unwrap();
    let accepted = bench.accept(&listener);
    drop((sockets, last, client, accepted, listener));
    assert_eq!(
        pod.pod.sockets.left(MAX_SOCKETS_PER_POD),
        MAX_SOCKETS_PER_POD
    );
    assert_eq!(pod.pod.buffers.left(1), 1);
}

#[test]
fn who_waits_for_a_socket_learns_that_one_is_free() {
    let bench = Bench::new();
    let pod = bench.pod(1);
    let mut sockets: Vec<_> = (0..MAX_SOCKETS_PER_POD)
        .map(|_| pod.tcp(Family::V4).unwrap())
        .collect();
    assert!(!pod.has_socket());
    let mut freed = std::pin::pin!(pod.socket_freed());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    // Who tries in vain gives nothing back.
    assert_eq!(pod.pod.both_slots().unwrap_err(), NetError::NewSocketLimit);
    assert!(freed.as_mut().poll(&mut cx).is_pending());
    drop(sockets.pop());
    assert!(freed.as_mut().poll(&mut cx).is_ready());
    assert!(pod.has_socket());
}

#[test]
fn options_are_kept_and_inherited() {
    let bench = Bench::new();
    let pod = bench.pod(1);
    let local = SocketAddr::from(([127, 0, 0, 1], 80));
    let second = 1_000_000_000;
    let mut listener = pod.tcp(Family::V4).unwrap();
    assert_eq!(listener.options(), Options::DEFAULT);
    for zero in [
        SetOption::KeepIdle(0),
        SetOption::KeepInterval(0),
        SetOption::KeepCount(0),
        SetOption::HopLimit(0),
        SetOption::ReceiveBuffer(0),
        SetOption::SendBuffer(0),
    ] {
        assert_eq!(
            listener.set_option(zero),
            Err(NetError::InvalidArgument),
            "{zero:?}"
        );
    }
    for option in [
        SetOption::KeepAlive(true),
        SetOption::KeepIdle(1),
        SetOption::KeepInterval(u64::MAX),
        SetOption::KeepCount(1000),
        SetOption::HopLimit(3),
        SetOption::ReceiveBuffer(1),
        SetOption::SendBuffer(100_000),
    ] {
        listener.set_option(option).unwrap();
    }
    let expected = Options {
        keep_alive: true,
        keep_idle: second,
        keep_interval: 32_767 * second,
        keep_count: 127,
        hop_limit: 3,
        receive_buffer: 2_304,
        send_buffer: 100_000,
    };
    assert_eq!(listener.options(), expected);
    listener.bind(local).unwrap();
    now(listener.listen()).unwrap();
    let _client = bench.connect(&pod, local).unwrap();
    assert_eq!(bench.accept(&listener).options(), expected);
    listener.set_option(SetOption::HopLimit(9)).unwrap();
    let _client = bench.connect(&pod, local).unwrap();
    assert_eq!(bench.accept(&listener).options().hop_limit, 9);
}
