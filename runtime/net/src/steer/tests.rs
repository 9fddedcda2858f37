//! Steering with a real program in the kernel, and without one where that shows more.
//!
//! Tests that need rights say by name that they are skipped without them. All addresses are in
//! 127.0.0.0/8, but for `IPv6` (the module `v6`), which makes a network namespace of its own.

mod crowd;
mod declared;
mod lanes;
mod later;
mod speed;
mod v6;

use std::collections::HashSet;
use std::future::ready;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Waker};

use model::runtime::{Door, PodId, PodNetwork};
use tokio::sync::Semaphore;

use super::*;
use crate::range::Block;
use crate::testing::apart::skip;
use crate::testing::{Bench, RANGE, at, listen, udp};
use crate::{HostTarget, NetError, PodNet, TcpSocket};

/// A switch that is steered; nothing without the rights, and then it says so.
fn steered() -> Option<Bench> {
    if Steering::is_permitted() {
        return Some(Bench::with(RANGE, Some(lane())));
    }
    skip("needs CAP_BPF and CAP_NET_ADMIN: run `cargo xtask test` as root");
    None
}

fn lane() -> Arc<dyn Steer> {
    Arc::new(Steering::new(RANGE, &[Family::V4]).lane())
}

/// A program of the host that listens on every address.
fn wildcard() -> (TcpListener, u16) {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn refuses(address: SocketAddr) -> bool {
    let error = TcpStream::connect(address).err();
    error.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

fn declared(protocol: Protocol, port: u16, host: Option<SocketAddr>) -> PodNetwork {
    let door = Door {
        port,
        protocol,
        host: host.map(|host| (host.ip(), host.port())),
    };
    PodNetwork {
        doors: vec![door],
        ..PodNetwork::default()
    }
}

/// The address that the pod after this one gets.
fn next(pod: &PodNet) -> IpAddr {
    let IpAddr::V4(address) = pod.addresses()[0] else {
        panic!("IPv4 comes first");
    };
    Ipv4Addr::from_bits(address.to_bits() + 1).into()
}

/// An address of the pod's block that no pod has.
fn spare(pod: &PodNet) -> SocketAddr {
    let IpAddr::V4(address) = pod.addresses()[0] else {
        panic!("IPv4 comes first");
    };
    let [a, b, c, _] = address.octets();
    SocketAddr::from(([a, b, c, 250], 18_080))
}

#[test]
fn every_listener_is_reached_and_no_longer_than_it_listens() {
    let Some(bench) = steered() else { return };
    let pod = bench.pod(1);
    let at = |address, port| at(address, port, [&pod, &pod]);
    // Where it listens, and whether the outside reaches it.
    let cases = [
        ("0.0.0.0", 80, true),
        ("A", 81, true),
        ("0.0.0.0", 40_000, true),
        ("127.0.0.1", 8080, false),
        ("::", 82, true),
        ("::1", 8080, false),
    ];
    let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    for (address, port, reached) in cases {
        let (own, case) = (at("A", port), format!("{address}:{port}"));
        let listener = listen(&pod, at(address, port));
        let doors: Vec<_> = pod.doors().iter().map(|door| door.host).collect();
        assert_eq!(doors, if reached { vec![own] } else { vec![] }, "{case}");
        if !reached {
            assert!(refuses(own), "{case}");
            continue;
        }
        let mut client = TcpStream::connect(own).unwrap();
        let server = bench.accept(&listener);
        let local = server.local_address();
        assert_eq!(local.map(canonical), Ok(own), "{case}");
        let IpAddr::V4(pod_ip) = own.ip() else {
            unreachable!()
        };
        let peer = (RANGE.gateway(pod_ip), client.local_addr().unwrap().port());
        let remote = server.remote_address();
        assert_eq!(remote.map(canonical), Ok(peer.into()), "{case}");
        client.write_all(b"question").unwrap();
        let stream = server.stream().unwrap();
        assert_eq!(bench.read(stream, 8), b"question", "{case}");
        stream.write_permitted(b"answer").unwrap();
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer", "{case}");
        // One that nobody accepted ends with its listener.
        let mut waiting = TcpStream::connect(own).unwrap();
        let socket = listener.listener().unwrap();
        bench.wait(|cx| socket.poll_acceptable(cx));
        drop(listener);
        let end = waiting.read(&mut [0]).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::ConnectionReset, "{case}");
        assert!(refuses(own), "{case}");
        assert_eq!(pod.doors(), [], "{case}");
    }
    let counters = pod.counters();
    assert_eq!((counters.received, counters.sent), (32, 24));
}

#[test]
fn a_steered_port_is_who_listens_at_ipv4_or_else_at_every_address() {
    let Some(mut bench) = steered() else { return };
    let pod = bench.pod(1);
    let at = |address| at(address, 80, [&pod, &pod]);
    let reaches = |listener: &TcpSocket| {
        let _client = TcpStream::connect(at("A")).unwrap();
        let peer = bench.accept(listener).remote_address().unwrap();
        assert_eq!(Family::of(peer.ip()), listener.family());
    };
    let six = listen(&pod, at("::"));
    reaches(&six);
    let four = listen(&pod, at("0.0.0.0"));
    reaches(&four);
    drop(four);
    reaches(&six);
    let four = listen(&pod, at("0.0.0.0"));
    drop(six);
    reaches(&four);
    drop(four);
    assert!(refuses(at("A")));
    assert_eq!(pod.doors(), []);
    assert!(bench.notices.try_recv().is_err(), "nothing failed");
}

#[test]
fn where_no_guest_listens_nobody_answers_while_it_is_steered() {
    let Some(bench) = steered() else { return };
    let (_host, port) = wildcard();
    let (first, second) = (bench.pod(1), bench.pod(2));
    let at = |address| at(address, port, [&first, &second]);
    let free = TcpStream::connect(at("A"));
    assert!(free.is_ok(), "nothing is steered before the first listener");
    let listener = listen(&first, at("0.0.0.0"));
    TcpStream::connect(at("A")).unwrap();
    assert_eq!(bench.accept(&listener).local_address(), Ok(at("A")));
    let beside = spare(&first).ip();
    for nobody in [at("B"), SocketAddr::new(beside, port)] {
        assert!(refuses(nobody), "{nobody}");
    }
    TcpStream::connect(at("127.0.0.1")).unwrap();
    let (one, two) = (at("A"), at("B"));
    drop(listener);
    assert!(refuses(one), "{one}");
    drop((first, second, bench));
    for address in [one, two] {
        let answered = TcpStream::connect(address);
        assert!(
            answered.is_ok(),
            "{address} is as if there had been no steering"
        );
    }
}

#[test]
fn switches_side_by_side_have_their_own_doors() {
    let (Some(one), Some(two)) = (steered(), steered()) else {
        return;
    };
    let pods = [one.pod(1), two.pod(1)];
    let at = |address, port| at(address, port, [&pods[0], &pods[1]]);
    let shared = [&pods[0], &pods[1]].map(|pod| listen(pod, at("0.0.0.0", 80)));
    let own = [
        listen(&pods[0], at("0.0.0.0", 81)),
        listen(&pods[1], at("0.0.0.0", 82)),
    ];
    for (bench, listener, address) in [
        (&one, &shared[0], at("A", 80)),
        (&two, &shared[1], at("B", 80)),
        (&one, &own[0], at("A", 81)),
        (&two, &own[1], at("B", 82)),
    ] {
        TcpStream::connect(address).unwrap();
        assert_eq!(bench.accept(listener).local_address(), Ok(address));
    }
    for address in [at("A", 82), at("B", 81)] {
        assert!(refuses(address), "{address}");
    }
}

#[test]
fn plain_doors_work_in_a_steered_block() {
    let Some(bench) = steered() else { return };
    let asked = UdpSocket::bind("127.0.0.1:0").unwrap();
    let first = bench.pod_with(1, declared(Protocol::Udp, 53, None));
    let published = SocketAddr::new(next(&first), 18_080);
    let second = bench.pod_with(2, declared(Protocol::Tcp, 8080, Some(published)));
    let at = |address, port| at(address, port, [&first, &second]);

    let listener = listen(&second, at("0.0.0.0", 8080));
    for door in [published, at("B", 8080)] {
        TcpStream::connect(door).unwrap();
        bench.accept(&listener);
    }
    assert_eq!(second.doors().len(), 2);

    let server = udp(&first, at("0.0.0.0", 53));
    asked.send_to(b"question", at("A", 53)).unwrap();
    let (question, from) = bench.receive(&server);
    assert_eq!(question, b"question");
    server.try_send(b"answer", Some(from)).unwrap();
    let (length, by) = asked.recv_from(&mut [0; 16]).unwrap();
    assert_eq!((length, by), (6, at("A", 53)));

    // A datagram to a port that no door has reaches no program of the host either.
    let host = UdpSocket::bind("0.0.0.0:0").unwrap();
    let asking = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    asking.connect(at("A", port)).unwrap();
    asking.send(b"anyone?").unwrap();
    let refused = asking.recv(&mut [0; 8]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// What is open stays with whom it leads to, whatever another's manifest says.
#[test]
fn no_door_takes_what_leads_to_another() {
    let Some(mut bench) = steered() else { return };
    let first = bench.pod(1);
    let listener = listen(&first, at("0.0.0.0", 80, [&first, &first]));
    let theirs = at("A", 80, [&first, &first]);
    let second = bench.pod_with(2, declared(Protocol::Tcp, 8080, Some(theirs)));
    let at = |port| at("0.0.0.0", port, [&second, &second]);
    let eighty = listen(&second, at(80));
    let other = listen(&second, at(8080));
    let notice = bench.notice();
    assert_eq!((notice.reason, notice.warning), ("DoorFailed", true));
    for part in ["port 8080", &theirs.to_string()] {
        assert!(notice.message.contains(part), "{}", notice.message);
    }
    for is_gone in [false, true] {
        TcpStream::connect(theirs).unwrap();
        assert_eq!(bench.accept(&listener).local_address(), Ok(theirs));
        if !is_gone {
            let mine = SocketAddr::new(second.addresses()[0], 80);
            TcpStream::connect(mine).unwrap();
            assert_eq!(bench.accept(&eighty).local_address(), Ok(mine));
            other.listener().unwrap().close();
        }
    }
}

/// Two lanes of one process, and a block that no switch claims here.
fn two_lanes(block: u32) -> ([Lane; 2], Block) {
    let steering = Steering::new(RANGE, &[Family::V4]);
    let lanes = [steering.lane(), steering.lane()];
    for lane in &lanes {
        assert_eq!(lane.listeners().unwrap().len(), 1);
    }
    (lanes, RANGE.block(block))
}

fn tcp(ip: impl Into<IpAddr>, port: u16) -> Endpoint {
    let at = SocketAddr::new(ip.into(), port);
    let protocol = Protocol::Tcp;
    Endpoint { protocol, at }
}

#[test]
fn a_lane_opens_what_nobody_has_and_no_more() {
    if steered().is_none() {
        return;
    }
    let ([lane, other], block) = two_lanes(600);
    let (mine, theirs) = (tcp(block.pod(0), 80), tcp(block.pod(1), 80));
    other.open(theirs, Way::Listener).unwrap();
    let datagrams = Endpoint {
        protocol: Protocol::Udp,
        ..mine
    };
    let six = tcp(RANGE.twin(block.pod(0)), 80);
    let cases = [
        ("its own", mine, Way::Listener, "ok"),
        ("its own again", mine, Way::Listener, "taken"),
        ("a plain door before it", mine, Way::Socket, "taken"),
        ("a plain door", datagrams, Way::Socket, "ok"),
        ("a steered datagram", datagrams, Way::Listener, "datagrams"),
        ("another's", theirs, Way::Listener, "taken"),
        ("of no pod", tcp([127, 0, 0, 1], 80), Way::Socket, "foreign"),
        ("IPv6, unsteered", six, Way::Listener, "foreign"),
    ];
    for (name, endpoint, way, expected) in cases {
        let outcome = match lane.open(endpoint, way) {
            Ok(()) => "ok",
            Err(SteerError::Foreign(_)) => "foreign",
            Err(SteerError::Taken(taken)) if taken == endpoint.at => "taken",
            Err(SteerError::Datagrams(_)) => "datagrams",
            Err(error) => panic!("{name}: {error}"),
        };
        assert_eq!(outcome, expected, "{name}");
    }
    // Nor does it close what another has.
    lane.close(theirs);
    let taken = lane.open(theirs, Way::Listener);
    assert_eq!(taken, Err(SteerError::Taken(theirs.at)));
    lane.close_all_at(theirs.at.ip());
    let taken = lane.open(theirs, Way::Listener);
    assert_eq!(taken, Err(SteerError::Taken(theirs.at)));
    // What it has at one address goes, and only that.
    let beside = tcp(block.pod(2), 80);
    lane.open(beside, Way::Listener).unwrap();
    lane.close_all_at(mine.at.ip());
    other.open(mine, Way::Listener).unwrap();
    other.open(datagrams, Way::Socket).unwrap();
    let taken = other.open(beside, Way::Listener);
    assert_eq!(taken, Err(SteerError::Taken(beside.at)));
}

#[test]
fn a_block_is_steered_to_the_end_of_the_process_that_has_it() {
    if steered().is_none() {
        return;
    }
    let steering = Steering::new(RANGE, &[Family::V4]);
    let (one, block) = (steering.lane(), RANGE.block(610));
    let (_host, port) = wildcard();
    let nobodys = SocketAddr::from((block.pod(3), port));
    TcpStream::connect(nobodys).unwrap();
    let own = tcp(block.pod(0), 80);
    one.open(own, Way::Listener).unwrap();
    assert!(refuses(nobodys));
    drop(one);
    assert!(refuses(nobodys));
    let two = steering.lane();
    two.open(own, Way::Listener).unwrap();
    drop((two, steering));
    TcpStream::connect(nobodys).unwrap();
}

/// What a switch asks for, and what it does where it is refused.
#[derive(Debug)]
struct Recorder {
    said: Mutex<Vec<String>>,
    works: AtomicBool,
    passes: AtomicBool,
    /// It answers when it is told to.
    is_slow: AtomicBool,
    answers: Arc<Semaphore>,
    open: Mutex<HashSet<Endpoint>>,
}

impl Recorder {
    fn new(works: bool) -> Arc<Self> {
        Arc::new(Self {
            said: Mutex::default(),
            works: AtomicBool::new(works),
            passes: AtomicBool::new(false),
            is_slow: AtomicBool::new(false),
            answers: Arc::new(Semaphore::new(0)),
            open: Mutex::default(),
        })
    }

    fn say(&self, word: String) -> Result<(), SteerError> {
        self.said.lock().unwrap().push(word);
        let works = self.works.load(Ordering::Relaxed);
        works.then_some(()).ok_or(SteerError::Kernel {
            step: "a test".into(),
            why: "it does not".to_owned(),
            passes: self.passes.load(Ordering::Relaxed),
        })
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().unwrap())
    }
}

impl Steer for Recorder {
    fn listeners(&self) -> Asked<Result<Vec<(Family, OwnedFd)>, SteerError>> {
        let said = self.say("listeners".to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Box::pin(ready(said.map(|()| vec![(Family::V4, listener.into())])))
    }

    fn open(&self, endpoint: Endpoint, way: Way) -> Asked<Result<(), SteerError>> {
        let port = endpoint.at.port();
        let opened = self.say(format!("open {:?} {port} {way:?}", endpoint.protocol));
        let opened = if way == Way::Socket { Ok(()) } else { opened };
        if opened.is_ok() {
            self.open.lock().unwrap().insert(endpoint);
        }
        Box::pin(ready(opened))
    }

    fn single_out(&self, endpoint: Endpoint) -> Asked<Result<OwnedFd, SteerError>> {
        let said = self.say(format!("single out {}", endpoint.at.port()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let answers = Arc::clone(&self.answers);
        let is_slow = self.is_slow.load(Ordering::Relaxed);
        Box::pin(async move {
            if is_slow {
                answers.acquire().await.unwrap().forget();
            }
            said.map(|()| listener.into())
        })
    }

    fn rejoin(&self, endpoint: Endpoint) {
        let _ = self.say(format!("rejoin {}", endpoint.at.port()));
    }

    fn close(&self, endpoint: Endpoint) {
        let port = endpoint.at.port();
        let was_open = self.open.lock().unwrap().remove(&endpoint);
        assert!(was_open, "what was refused is not closed");
        let _ = self.say(format!("close {:?} {port}", endpoint.protocol));
    }
}

#[test]
fn a_switch_begins_to_steer_with_its_first_door() {
    let steer = Recorder::new(true);
    let bench = Bench::with(RANGE, Some(Arc::clone(&steer) as _));
    let pod = bench.pod_with(1, declared(Protocol::Udp, 5353, None));
    let at = |address, port| at(address, port, [&pod, &pod]);
    let _inside = listen(&pod, at("127.0.0.1", 79));
    let _undeclared = udp(&pod, at("0.0.0.0", 5354));
    assert_eq!(
        steer.said(),
        [""; 0],
        "what nobody outside reaches asks for nothing"
    );
    let listener = listen(&pod, at("0.0.0.0", 80));
    assert_eq!(steer.said(), ["listeners", "open Tcp 80 Listener"]);
    let six = listen(&pod, at("::", 80));
    let server = udp(&pod, at("0.0.0.0", 5353));
    assert_eq!(steer.said(), ["open Udp 5353 Socket"]);
    drop(listener);
    assert_eq!(steer.said(), [""; 0], "it leads to who listens at :: now");
    drop((six, server));
    assert_eq!(steer.said(), ["close Tcp 80", "close Udp 5353"]);
}

/// Answers when it is told to, and tries until then whether the listener is found in memory.
#[derive(Debug)]
struct Slow {
    pod: OnceLock<PodNet>,
    answers: Semaphore,
    answered: Semaphore,
    found: Mutex<Vec<bool>>,
    closed: Mutex<Vec<u16>>,
}

impl Steer for Arc<Slow> {
    fn listeners(&self) -> Asked<Result<Vec<(Family, OwnedFd)>, SteerError>> {
        let made = Recorder::new(true).listeners();
        Box::pin(async move {
            tokio::task::yield_now().await;
            made.await
        })
    }

    fn open(&self, endpoint: Endpoint, _: Way) -> Asked<Result<(), SteerError>> {
        let slow = Arc::clone(self);
        Box::pin(async move {
            slow.answers.acquire().await.unwrap().forget();
            let pod = slow.pod.get().unwrap();
            let found = pod.connect_from_host(endpoint.at.port(), HostTarget::PodIp);
            slow.found.lock().unwrap().push(found.is_ok());
            slow.answered.add_permits(1);
            Ok(())
        })
    }

    fn single_out(&self, endpoint: Endpoint) -> Asked<Result<OwnedFd, SteerError>> {
        panic!("nobody waits at {}", endpoint.at)
    }

    fn rejoin(&self, _: Endpoint) {}

    fn close(&self, endpoint: Endpoint) {
        self.closed.lock().unwrap().push(endpoint.at.port());
    }
}

fn slow() -> (Bench, PodNet, Arc<Slow>) {
    let slow = Arc::new(Slow {
        pod: OnceLock::new(),
        answers: Semaphore::new(0),
        answered: Semaphore::new(0),
        found: Mutex::default(),
        closed: Mutex::default(),
    });
    let bench = Bench::with(RANGE, Some(Arc::new(Arc::clone(&slow))));
    let pod = bench.pod(1);
    slow.pod.set(pod.clone()).unwrap();
    (bench, pod, slow)
}

/// Polls a future that waits.
fn waits<T>(future: Pin<&mut impl Future<Output = T>>) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.poll(&mut cx).is_pending());
}

#[test]
fn whoever_finds_a_listener_in_memory_finds_its_doors_open() {
    let (bench, pod, slow) = slow();
    let at = |address| at(address, 80, [&pod, &pod]);
    let mut four = pod.tcp(Family::V4).unwrap();
    four.bind(at("0.0.0.0")).unwrap();
    let mut six = pod.tcp(Family::V6).unwrap();
    six.bind(at("::")).unwrap();
    let (mut opens_four, mut opens_six) = (Box::pin(four.listen()), Box::pin(six.listen()));
    waits(opens_four.as_mut());
    // The door is asked for already, and passes to whoever gets it.
    bench.runtime.block_on(opens_six.as_mut()).unwrap();
    waits(opens_four.as_mut());
    slow.answers.add_permits(1);
    bench.runtime.block_on(opens_four.as_mut()).unwrap();
    assert_eq!(*slow.found.lock().unwrap(), [false]);
    drop((opens_four, opens_six));
    pod.connect_from_host(80, HostTarget::PodIp).unwrap();
    assert_eq!(pod.doors().len(), 1);
    drop(six);
    assert_eq!(*slow.closed.lock().unwrap(), [0; 0]);
    drop(four);
    assert_eq!(*slow.closed.lock().unwrap(), [80]);
    assert_eq!(pod.doors(), []);
}

/// A guest that is ended while it waits for its door leaves it to the port's other listener.
#[test]
fn a_door_whose_opener_ends_is_opened_for_the_other() {
    let (bench, pod, slow) = slow();
    let at = |address| at(address, 80, [&pod, &pod]);
    let mut four = pod.tcp(Family::V4).unwrap();
    four.bind(at("0.0.0.0")).unwrap();
    let mut opens_four = Box::pin(four.listen());
    waits(opens_four.as_mut());
    let mut six = pod.tcp(Family::V6).unwrap();
    six.bind(at("::")).unwrap();
    bench.runtime.block_on(six.listen()).unwrap();
    drop(opens_four);
    drop(four);
    slow.answers.add_permits(1);
    let answered = bench.runtime.block_on(slow.answered.acquire());
    answered.unwrap().forget();
    assert_eq!(pod.doors().len(), 1);
    pod.connect_from_host(80, HostTarget::PodIp).unwrap();
    drop(six);
}

/// A guest that is held back while its pod host learns to steer holds nobody else up.
#[test]
fn whoever_is_held_back_holds_nobody_else_up() {
    let (bench, pod, slow) = slow();
    let other = bench.pod(2);
    let mut sockets = [&pod, &other].map(|pod| {
        let mut socket = pod.tcp(Family::V4).unwrap();
        socket.bind(at("0.0.0.0", 80, [pod, pod])).unwrap();
        socket
    });
    let [held_back, goes_on] = &mut sockets;
    let mut waiting = Box::pin(held_back.listen());
    waits(waiting.as_mut());
    slow.answers.add_permits(2);
    bench.runtime.block_on(goes_on.listen()).unwrap();
    bench.runtime.block_on(waiting).unwrap();
}

#[test]
fn where_steering_fails_doors_are_plain_and_one_notice_says_why() {
    let steer = Recorder::new(false);
    let mut bench = Bench::with(RANGE, Some(Arc::clone(&steer) as _));
    let pod = bench.pod_with(1, declared(Protocol::Tcp, 8080, None));
    let at = |address, port| at(address, port, [&pod, &pod]);
    let undeclared = listen(&pod, at("0.0.0.0", 8081));
    let notice = bench.notice();
    assert_eq!((notice.reason, notice.warning), ("SteeringFailed", true));
    for part in ["port 8081", "pod1", "it does not"] {
        assert!(notice.message.contains(part), "{}", notice.message);
    }
    let declared = listen(&pod, at("0.0.0.0", 8080));
    TcpStream::connect(at("A", 8080)).unwrap();
    bench.accept(&declared);
    assert!(refuses(at("A", 8081)));
    assert_eq!(undeclared.try_accept().err(), Some(NetError::WouldBlock));
    let _another = listen(&pod, at("0.0.0.0", 8082));
    assert!(bench.notices.try_recv().is_err(), "a pod is told once");
    let second = bench.pod(2);
    let _theirs = listen(&second, "0.0.0.0:8081".parse().unwrap());
    let notice = bench.notice();
    assert_eq!((notice.pod, notice.reason), (PodId(2), "SteeringFailed"));
    assert!(notice.message.contains("pod2"), "{}", notice.message);
}

/// The manifest leads another port to where a listener of the pod is already.
#[test]
fn a_door_that_finds_its_place_taken_by_the_pod_itself_says_so() {
    let steer = Recorder::new(true);
    let mut bench = Bench::with(RANGE, Some(Arc::clone(&steer) as _));
    let before = bench.pod(1);
    let own = SocketAddr::new(next(&before), 80);
    let pod = bench.pod_with(2, declared(Protocol::Tcp, 8080, Some(own)));
    assert_eq!(pod.addresses()[0], own.ip());
    let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
    let _eighty = listen(&pod, any(80));
    let _other = listen(&pod, any(8080));
    let notice = bench.notice();
    assert_eq!(
        (notice.pod, notice.reason, notice.warning),
        (PodId(2), "HostPortConflict", true)
    );
    for part in ["port 8080", &own.to_string(), "of this pod is open there"] {
        assert!(notice.message.contains(part), "{}", notice.message);
    }
    assert!(bench.notices.try_recv().is_err(), "it is told once");
    // Where the manifest says what is so by itself there is nothing to tell.
    let mapped = SocketAddr::new(next(&pod), 81);
    let third = bench.pod_with(3, declared(Protocol::Tcp, 81, Some(mapped)));
    let _listener = listen(&third, any(81));
    assert_eq!(third.doors().len(), 1);
    assert!(bench.notices.try_recv().is_err());
}

/// What is short for a moment decides for that moment only.
#[test]
fn a_failure_that_passes_is_tried_again() {
    let steer = Recorder::new(false);
    steer.passes.store(true, Ordering::Relaxed);
    let mut bench = Bench::with(RANGE, Some(Arc::clone(&steer) as _));
    let pod = bench.pod_with(1, declared(Protocol::Tcp, 8080, None));
    let at = |address, port| at(address, port, [&pod, &pod]);
    let plain = listen(&pod, at("0.0.0.0", 8080));
    let tried = steer.said();
    assert_eq!(tried, ["listeners", "listeners", "open Tcp 8080 Socket"]);
    assert_eq!(bench.notice().reason, "SteeringFailed");
    steer.works.store(true, Ordering::Relaxed);
    let steered = listen(&pod, at("0.0.0.0", 8081));
    assert_eq!(steer.said(), ["listeners", "open Tcp 8081 Listener"]);
    drop((plain, steered));
    assert_eq!(steer.said(), ["close Tcp 8080", "close Tcp 8081"]);
}
