//! Two switches of one run, joined in this process: what one pod sees of the other is what it sees
//! of a pod of its own switch.

use std::net::{IpAddr, Shutdown};
use std::sync::{Arc, Mutex};

use model::runtime::{PodId, PodNetwork};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;
use crate::error::SwitchError;
use crate::testing::{Bench, RANGE, at, listen, now, udp};
use crate::{Family, Lookup, PodNet, TcpSocket};

/// All switches of a run; the way between them is a call.
#[derive(Default)]
struct Run(Mutex<Vec<(Switch, Names)>>);

/// The names of one switch's pods.
type Names = Vec<(String, Ipv4Addr)>;

// === impl Run ===

impl Run {
    fn switch_of(&self, address: IpAddr) -> Option<Switch> {
        let switches = self.0.lock().unwrap();
        let has = |switch: &&(Switch, _)| switch.0.fabric.pod_at(address).is_some();
        switches.iter().find(has).map(|(switch, _)| switch.clone())
    }
}

impl Peers for Run {
    fn connect(&self, from: SocketAddr, to: SocketAddr) -> Asked<Result<OwnedFd, NetError>> {
        let switch = self.switch_of(to.ip());
        Box::pin(async move {
            // Not at once: the asking guest has to wait.
            tokio::task::yield_now().await;
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let (ours, theirs) =
                socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
            let switch = switch.ok_or(NetError::ConnectionRefused)?;
            switch.accept(theirs, from, to).map(|()| ours)
        })
    }

    fn named(&self, name: &str) -> Asked<Vec<Ipv4Addr>> {
        let switches = self.0.lock().unwrap();
        let names = switches.iter().flat_map(|(_, names)| names);
        let found = names.filter(|(other, _)| other == name);
        Box::pin(std::future::ready(
            found.map(|(_, address)| *address).collect(),
        ))
    }

    fn send(&self, datagram: &[u8], from: SocketAddr, to: SocketAddr) {
        let taken = self
            .switch_of(to.ip())
            .is_some_and(|switch| switch.deliver(datagram, from, to));
        if let Some(sender) = self.switch_of(from.ip()).filter(|_| !taken) {
            sender.refused(from, to);
        }
    }
}

/// Two switches with a pod each.
struct Pair {
    benches: [Bench; 2],
    pods: [PodNet; 2],
}

// === impl Pair ===

impl Pair {
    fn new() -> Self {
        let run = Arc::<Run>::default();
        let mut number = 0;
        let mut one = || {
            number += 1;
            let bench = Bench::beside(Arc::clone(&run) as Arc<dyn Peers>);
            let network = PodNetwork {
                hostname: format!("pod{number}"),
                ..PodNetwork::default()
            };
            let address = Ipv4Addr::new(127, 160, 0, number + 1);
            let id = PodId(number.into());
            let pod = bench.switch.add_pod_at(id, &network, address).unwrap();
            let names = vec![(network.hostname, address)];
            run.0.lock().unwrap().push((bench.switch.clone(), names));
            (bench, pod)
        };
        let ((first, a), (second, b)) = (one(), one());
        Self {
            benches: [first, second],
            pods: [a, b],
        }
    }

    fn at(&self, text: &str, port: u16) -> SocketAddr {
        at(text, port, [&self.pods[0], &self.pods[1]])
    }

    /// B connects to A.
    fn connect(&self, to: SocketAddr) -> Result<TcpSocket, NetError> {
        let mut socket = self.pods[1].tcp(Family::of(to.ip())).unwrap();
        socket.connect(to)?;
        self.benches[1].wait(|cx| socket.poll_ready(cx));
        socket.try_finish_connect().map(|_| socket)
    }
}

#[test]
fn a_connection_looks_as_it_does_within_one_switch() {
    let pair = Pair::new();
    // Where A listens, where B goes, and how both see it; nothing where it is refused.
    let cases = [
        ("0.0.0.0", "A", Some(("A", "B"))),
        ("A", "A", Some(("A", "B"))),
        ("::", "a", Some(("a", "b"))),
        ("127.0.0.1", "A", None),
        ("::", "A", Some(("::ffff:A", "B"))),
        ("::1", "A", None),
        ("a", "A", None),
    ];
    for (listens, to, seen) in cases {
        let listener = listen(&pair.pods[0], pair.at(listens, 80));
        let connected = pair.connect(pair.at(to, 80));
        let Some((local, peer)) = seen else {
            let error = connected.unwrap_err();
            assert_eq!(error, NetError::ConnectionRefused, "{listens}, {to}");
            continue;
        };
        let client = connected.unwrap();
        let server = pair.benches[0].accept(&listener);
        let port = client.local_address().unwrap().port();
        let ends = [server.local_address(), client.remote_address()];
        assert_eq!(ends[0], Ok(pair.at(local, 80)), "{listens}, {to}");
        assert_eq!(ends[1], Ok(pair.at(to, 80)), "{listens}, {to}");
        let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        let sources = [server.remote_address(), client.local_address()].map(Result::unwrap);
        assert_eq!(canonical(sources[0]), canonical(pair.at(peer, port)));
        assert_eq!(sources[1], pair.at(peer, port), "{listens}, {to}");
        let (near, far) = (client.stream().unwrap(), server.stream().unwrap());
        near.try_write(b"question").unwrap();
        assert_eq!(pair.benches[0].read(far, 8), b"question");
        near.shutdown(Shutdown::Write);
        far.try_write(b"answer").unwrap();
        drop(server);
        assert_eq!(
            pair.benches[1].read_to_end(near),
            (b"answer".to_vec(), Ok(()))
        );
    }
}

#[test]
fn what_cannot_be_connected_is_refused() {
    let pair = Pair::new();
    let mut listener = pair.pods[0].tcp(Family::V4).unwrap();
    listener.bind(pair.at("0.0.0.0", 80)).unwrap();
    listener.set_backlog(1).unwrap();
    now(listener.listen()).unwrap();
    let cases = [
        ("nobody listens", pair.at("A", 81)),
        ("nobody has it", pair.at("127.160.0.77", 80)),
        ("another run's", pair.at("127.161.0.1", 80)),
    ];
    for (what, to) in cases {
        let error = pair.connect(to).unwrap_err();
        assert_eq!(error, NetError::ConnectionRefused, "{what}");
    }
    let waiting = pair.connect(pair.at("A", 80)).unwrap();
    let full = pair.connect(pair.at("A", 80)).unwrap_err();
    assert_eq!(full, NetError::ConnectionRefused, "the backlog is full");
    let mut bound = pair.pods[1].tcp(Family::V4).unwrap();
    bound.bind(pair.at("127.0.0.1", 0)).unwrap();
    bound.connect(pair.at("A", 80)).unwrap();
    assert_eq!(
        bound.try_finish_connect().unwrap_err(),
        NetError::InvalidArgument,
        "from localhost"
    );
    waiting.stream().unwrap().try_write(b"x").unwrap();
    pair.benches[0].switch.remove_pod(PodId(1));
    let stream = waiting.stream().unwrap();
    let (_, end) = pair.benches[1].read_to_end(stream);
    assert_eq!(end, Err(NetError::ConnectionReset), "the pod is removed");
}

#[test]
fn names_are_those_of_all_switches() {
    let pair = Pair::new();
    let a = pair.pods[0].addresses();
    let cases = [
        ("pod1", Lookup::Any, Ok(a.clone())),
        ("POD1.", Lookup::V4, Ok(vec![a[0]])),
        ("pod1", Lookup::V6, Ok(vec![a[1]])),
        ("pod3", Lookup::Any, Err(NetError::NameUnresolvable)),
    ];
    for (name, lookup, expected) in cases {
        let found = pair.benches[1].block(pair.pods[1].resolve(name, lookup));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn datagrams_arrive_with_their_source_and_a_connected_socket_learns_of_nobody() {
    let pair = Pair::new();
    let receiver = udp(&pair.pods[0], pair.at("0.0.0.0", 53));
    let sender = udp(&pair.pods[1], pair.at("0.0.0.0", 5353));
    sender.try_send(b"q", Some(pair.at("A", 53))).unwrap();
    let heard = pair.benches[0].receive(&receiver);
    assert_eq!(heard, (b"q".to_vec(), pair.at("B", 5353)));
    receiver.try_send(b"r", Some(heard.1)).unwrap();
    let answer = pair.benches[1].receive(&sender);
    assert_eq!(answer, (b"r".to_vec(), pair.at("A", 53)));
    // Nobody there: silence, but for a connected socket.
    let nobody = pair.at("A", 54);
    sender.try_send(b"q", Some(nobody)).unwrap();
    assert_eq!(sender.try_receive().unwrap_err(), NetError::WouldBlock);
    sender.connect(Some(nobody)).unwrap();
    sender.try_send(b"q", None).unwrap();
    assert_eq!(
        sender.try_receive().unwrap_err(),
        NetError::ConnectionRefused
    );
}

#[test]
fn addresses_are_given_and_never_chosen() {
    let pair = Pair::new();
    let switch = &pair.benches[0].switch;
    let network = PodNetwork::default();
    let chosen = switch.add_pod(PodId(7), &network).unwrap_err();
    assert!(matches!(chosen, SwitchError::NoAddressGiven), "{chosen}");
    for address in [
        Ipv4Addr::new(127, 160, 0, 2),
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(127, 200, 0, 2),
    ] {
        let bad = switch.add_pod_at(PodId(7), &network, address).unwrap_err();
        assert!(
            matches!(bad, SwitchError::BadAddress(a) if a == address),
            "{bad}"
        );
    }
    assert!(RANGE.contains(pair.pods[0].addresses()[0]));
}
