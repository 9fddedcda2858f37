//! Ports at which more wait than their guest takes.

use super::*;
use crate::limits::{
    DEFAULT_BACKLOG, MAX_KERNEL_SOCKETS_PER_POD, MAX_STEERED_WAITING, STEERED_CROWD,
};
use crate::testing::warnings::warnings;

/// Connections for which a pod has room here.
const ROOM: usize = 10;

fn connect(count: usize, to: SocketAddr) -> Vec<TcpStream> {
    let clients = (0..count).map(|_| TcpStream::connect(to).unwrap());
    clients.collect()
}

#[test]
fn what_a_pod_has_no_room_for_waits_in_the_kernel() {
    let Some(bench) = steered() else { return };
    let pod = bench.pod(1);
    let at = |address| at(address, 80, [&pod, &pod]);
    let listener = listen(&pod, at("0.0.0.0"));
    let others: Vec<_> = (ROOM..MAX_KERNEL_SOCKETS_PER_POD)
        .map(|_| pod.pod.kernel_slot().unwrap())
        .collect();

    // One too many was on its way, and is let in.
    let mut clients = connect(ROOM + 1, at("A"));
    let mut servers: Vec<_> = (0..=ROOM).map(|_| bench.accept(&listener)).collect();
    clients.extend(connect(2 * ROOM, at("A")));
    let waiting = listener.listener().unwrap();
    bench.wait(|cx| waiting.poll_acceptable(cx));
    let refused = waiting.try_accept().map(drop);
    assert_eq!(refused, Err(NetError::NewSocketLimit));
    let denied = pod.pod.kernel_slot().map(drop);
    assert_eq!(denied, Err(NetError::NewSocketLimit), "the limit holds");

    drop(others);
    servers.extend((0..2 * ROOM).map(|_| bench.accept(&listener)));
    for server in &servers {
        assert_eq!(server.local_address(), Ok(at("A")));
        server.stream().unwrap().write_permitted(b"x").unwrap();
    }
    for client in &mut clients {
        client.read_exact(&mut [0]).expect("none was reset");
    }

    // It ends with its listener, and the next begins as the first did.
    let mut left = connect(1, at("A"));
    drop(listener);
    let end = left[0].read(&mut [0]).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    assert!(refuses(at("A")));
    let listener = listen(&pod, at("0.0.0.0"));
    let _client = TcpStream::connect(at("A")).unwrap();
    bench.accept(&listener);
}

/// The port's own queue is its door's, whoever has that.
#[test]
fn who_waits_in_the_kernel_is_heard_by_the_ports_next_listener() {
    let Some(bench) = steered() else { return };
    let pod = bench.pod(1);
    let at = |address| at(address, 80, [&pod, &pod]);
    let six = listen(&pod, at("::"));
    let others: Vec<_> = (0..MAX_KERNEL_SOCKETS_PER_POD)
        .map(|_| pod.pod.kernel_slot().unwrap())
        .collect();
    let _first = TcpStream::connect(at("A")).unwrap();
    bench.accept(&six);
    let second = TcpStream::connect(at("A")).unwrap();
    let four = listen(&pod, at("0.0.0.0"));
    drop(others);
    let server = bench.accept(&four);
    let port = second.local_addr().unwrap().port();
    assert_eq!(server.remote_address().unwrap().port(), port);
}

/// A listener whose connections a test delivers, and what is asked for them.
struct Crowded {
    steer: Arc<Recorder>,
    pod: PodNet,
    listener: TcpSocket,
    at: SocketAddr,
    outside: TcpListener,
    _bench: Bench,
}

impl Crowded {
    /// Connections in memory wait there, as many as may, and then a crowd from outside. Nothing is
    /// asked for yet.
    fn new() -> Self {
        let steer = Recorder::new(true);
        let bench = Bench::with(RANGE, Some(Arc::clone(&steer) as _));
        let pod = bench.pod(1);
        let at = |address| at(address, 80, [&pod, &pod]);
        let (listener, at) = (listen(&pod, at("0.0.0.0")), at("A"));
        assert_eq!(steer.said(), ["listeners", "open Tcp 80 Listener"]);
        let connect = || pod.connect_from_host(80, HostTarget::PodIp);
        for _ in 0..DEFAULT_BACKLOG {
            connect().unwrap();
        }
        assert!(connect().is_err());
        let crowded = Self {
            outside: TcpListener::bind("127.0.0.1:0").unwrap(),
            _bench: bench,
            steer,
            pod,
            listener,
            at,
        };
        for _ in 0..STEERED_CROWD {
            assert!(!crowded.is_reset());
        }
        assert_eq!(crowded.steer.said(), [""; 0]);
        crowded
    }

    /// Whether one more is.
    fn is_reset(&self) -> bool {
        let mut client = TcpStream::connect(self.outside.local_addr().unwrap()).unwrap();
        let (server, peer) = self.outside.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        let listener = self.listener.listener().unwrap();
        listener.deliver(server.into(), self.at, peer);
        client.set_nonblocking(true).unwrap();
        match client.read(&mut [0]).unwrap_err().kind() {
            ErrorKind::WouldBlock => false,
            ErrorKind::ConnectionReset => true,
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_port_gets_a_queue_once_a_crowd_waits() {
    let crowded = Crowded::new();
    for said in [&["single out 80"][..], &[]] {
        assert!(!crowded.is_reset());
        assert_eq!(crowded.steer.said(), said);
    }
}

#[test]
fn where_a_port_gets_no_queue_what_is_too_much_is_reset() {
    let crowded = Crowded::new();
    crowded.steer.works.store(false, Ordering::Relaxed);
    for _ in STEERED_CROWD..MAX_STEERED_WAITING {
        assert!(!crowded.is_reset());
    }
    let said = crowded.steer.said();
    assert_eq!(said, ["single out 80", "rejoin 80"], "it is asked once");
    assert!(crowded.is_reset());
    let longer = u32::try_from(MAX_STEERED_WAITING).unwrap() + 1;
    crowded.listener.listener().unwrap().set_backlog(longer);
    assert!(!crowded.is_reset());
    assert!(crowded.is_reset());
    // Who is accepted in its turn leaves a place.
    for _ in 0..DEFAULT_BACKLOG {
        crowded.listener.try_accept().unwrap();
    }
    assert!(crowded.is_reset(), "they were in memory");
    crowded.listener.try_accept().unwrap();
    assert!(!crowded.is_reset());
    assert!(crowded.is_reset());
    assert_eq!(crowded.steer.said(), [""; 0]);
}

#[test]
fn what_keeps_a_port_from_a_queue_for_now_does_not_for_good() {
    let crowded = Crowded::new();
    crowded.steer.works.store(false, Ordering::Relaxed);
    crowded.steer.passes.store(true, Ordering::Relaxed);
    let told = warnings(|| {
        for _ in 0..3 {
            assert!(!crowded.is_reset());
            let said = crowded.steer.said();
            assert_eq!(said, ["single out 80", "rejoin 80"]);
        }
    });
    assert_eq!(told, 1);
    // Nor does a pod whose sockets are all taken.
    let others: Vec<_> = std::iter::from_fn(|| crowded.pod.pod.kernel_slot_beyond().ok()).collect();
    assert!(crowded.is_reset());
    assert_eq!(crowded.steer.said(), [""; 0], "it has none for the queue");
    drop(others);
    crowded.steer.works.store(true, Ordering::Relaxed);
    for said in [&["single out 80"][..], &[]] {
        assert!(!crowded.is_reset());
        assert_eq!(crowded.steer.said(), said);
    }
}

/// What has failed before is not counted on while nobody has answered.
#[test]
fn no_more_than_so_many_wait_while_a_queue_is_asked_for_again() {
    let crowded = Crowded::new();
    let steer = &crowded.steer;
    steer.works.store(false, Ordering::Relaxed);
    steer.passes.store(true, Ordering::Relaxed);
    assert!(!crowded.is_reset());
    assert_eq!(steer.said(), ["single out 80", "rejoin 80"]);
    steer.works.store(true, Ordering::Relaxed);
    steer.is_slow.store(true, Ordering::Relaxed);
    for _ in STEERED_CROWD + 1..MAX_STEERED_WAITING {
        assert!(!crowded.is_reset());
    }
    assert_eq!(steer.said(), ["single out 80"]);
    assert!(crowded.is_reset());
}
