//! A child that does not keep to the protocol is ended, and its pods are told why.
//!
//! The child is a real process: a shell that says what each case makes it say.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::time::Duration;

use model::container::Protocol;
use model::runtime::{Event, Exit, InstanceId, PodNetwork, Stream};
use net::PodRange;
use net::steer::{Endpoint, SteerError, Way};
use tokio::sync::mpsc;

use super::*;
use crate::exec::Compiling;
use crate::known::{Breach, Known};
use crate::protocol::{FromChild, Refusal, ToChild};
use crate::wire::{Header, Kind};

const POD: PodId = PodId(1);
const OWN: InstanceId = InstanceId(10);
const OTHERS: InstanceId = InstanceId(99);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 64, 0, 2);
/// Of a pod that has gone.
const DEPARTED: Ipv4Addr = Ipv4Addr::new(127, 64, 0, 4);

/// Only turns a hang into a failure.
const HANG: Duration = Duration::from_secs(60);

struct Ear(mpsc::UnboundedSender<Event>);

impl EventSink for Ear {
    fn event(&self, event: Event) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.event_now(event);
        // Never takes it.
        Box::pin(std::future::pending())
    }

    fn event_now(&self, event: Event) {
        let _ = self.0.send(event);
    }
}

/// Compiles nothing, for ever.
struct Idle;

impl Compiler for Idle {
    fn compile(&self, _: Bytes) -> Compiling<'_> {
        Box::pin(std::future::pending())
    }
}

/// What makes a shell say `words` once it has been given an order, and then do something.
fn script(words: &[u8], then: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::new();
    for byte in words {
        write!(escaped, "\\{byte:03o}").expect("a string");
    }
    format!("head -c 4 >/dev/null; printf '{escaped}' >&0; {then}")
}

/// A shell in place of a pod host.
fn shell(script: &str, ear: mpsc::UnboundedSender<Event>) -> ChildConfig {
    ChildConfig {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        sink: Arc::new(Ear(ear)),
        compiler: Arc::new(Idle),
        network: Arc::new(Network::new(PodRange::LOOPBACK)),
        steering: None,
    }
}

/// A shell that says `words` once it has been given an order, and then waits.
fn child_that_says(words: &[u8], ear: mpsc::UnboundedSender<Event>) -> Child {
    let config = shell(&script(words, "cat >/dev/null"), ear);
    let child = Child::start(&config).expect("a shell");
    child.link.know(|known| {
        give_pods(known);
        known.give_instance(OWN, POD);
    });
    child
}

fn give_pods(known: &mut Known) {
    known.give_pod(POD, vec![ADDRESS.into()], Vec::new());
    known.give_pod(PodId(2), vec![DEPARTED.into()], Vec::new());
    known.apply(Change::PodRemoved(PodId(2)), true);
}

fn frames(messages: &[FromChild]) -> Vec<u8> {
    let frames = messages.iter().map(protocol::frame);
    frames.flat_map(|frame| frame.expect("a frame")).collect()
}

fn exited(instance: InstanceId) -> FromChild {
    FromChild::Event(Event::Exited {
        instance,
        exit: Exit {
            code: 0,
            reason: "Completed".to_owned(),
            message: String::new(),
        },
        stats: Stats::default(),
    })
}

fn output() -> Event {
    Event::Output {
        instance: OWN,
        stream: Stream::Stdout,
        chunk: Bytes::from_static(b"x"),
    }
}

fn dial(number: u64, from: Ipv4Addr) -> FromChild {
    FromChild::Dial {
        number,
        from: (from, 40_000).into(),
        to: (Ipv4Addr::new(127, 64, 0, 9), 80).into(),
    }
}

fn endpoint(address: Ipv4Addr, port: u16) -> Endpoint {
    Endpoint {
        protocol: Protocol::Tcp,
        at: (address, port).into(),
    }
}

fn open(number: u64, address: Ipv4Addr) -> FromChild {
    FromChild::Open {
        number,
        endpoint: endpoint(address, 80),
        way: Way::Listener,
    }
}

/// What the own instance's end says, after the child has said its words.
async fn end_after(words: &[u8]) -> Exit {
    let (ear, mut events) = mpsc::unbounded_channel();
    let child = child_that_says(words, ear);
    let started = child.start_instance(OWN);
    let end = async {
        loop {
            match events.recv().await.expect("an end") {
                Event::Exited { instance, exit, .. } => {
                    assert_eq!(instance, OWN);
                    return exit;
                }
                other => drop(other),
            }
        }
    };
    let exit = tokio::time::timeout(HANG, end).await.expect("an end");
    drop(started);
    assert!(child.is_gone());
    exit
}

#[tokio::test]
async fn a_child_that_breaks_the_protocol_is_ended_with_the_reason() {
    let resolve = |number| FromChild::Resolve(number, "p".to_owned());
    let cases = [
        (frames(&[exited(OTHERS)]), "the end of instance 99"),
        (
            frames(&[FromChild::Event(Event::Notice {
                pod: PodId(7),
                instance: None,
                warning: true,
                reason: "Lie".to_owned(),
                message: String::new(),
            })]),
            "told of pod 7",
        ),
        (
            frames(&[FromChild::Event(output())]),
            "output without a number",
        ),
        (
            frames(&[
                FromChild::Output(1, output()),
                FromChild::Output(2, output()),
            ]),
            "before the last was taken",
        ),
        (
            frames(&[FromChild::Answer(99, Ok(Reply::Done))]),
            "an order that it was not given",
        ),
        (
            frames(&[FromChild::Answer(1, Ok(Reply::Stats(Stats::default())))]),
            "with something else",
        ),
        (frames(&[FromChild::Compile(1)]), "what it did not send"),
        (
            frames(&[dial(1, Ipv4Addr::new(127, 64, 0, 3))]),
            "which none of its pods has",
        ),
        (
            frames(&[open(1, Ipv4Addr::new(127, 64, 0, 3))]),
            "which none of its pods has",
        ),
        (frames(&[open(1, ADDRESS)]), "which it was not offered"),
        (frames(&[FromChild::Listeners(1)]), "it was not offered"),
        (vec![0xff; 8], "a message of 4294967295 bytes"),
        (vec![2, 0, 0, 0, 0xff, 0xff], "it sent "),
    ];
    for (words, expected) in cases {
        let exit = end_after(&words).await;
        assert_eq!(exit.code, 137, "{expected}");
        assert!(
            exit.message.starts_with("the pod host was ended: ") && exit.message.contains(expected),
            "{expected}: {}",
            exit.message
        );
    }
    // One that asks for what it may is heard to the end of its own instance.
    let honest = frames(&[resolve(1), dial(2, ADDRESS), dial(3, DEPARTED), exited(OWN)]);
    let exit = end_after_honest(&honest).await;
    assert_eq!(exit.reason, "Completed");
}

/// The same of a child that goes on living.
async fn end_after_honest(words: &[u8]) -> Exit {
    let (ear, mut events) = mpsc::unbounded_channel();
    let child = child_that_says(words, ear);
    let started = child.start_instance(OWN);
    let event = tokio::time::timeout(HANG, events.recv()).await;
    drop(started);
    assert!(!child.is_gone());
    match event.expect("an end") {
        Some(Event::Exited { exit, .. }) => exit,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_datagram_from_somebody_elses_address_ends_its_sender() {
    let (descriptors, _far) = Sender::pair().expect("a pair");
    let (near, far) = Wire::pair().expect("a pair");
    let (link, _outbox) = Link::new(descriptors, Arc::new(near), None);
    link.know(give_pods);
    let network = Arc::new(Network::new(PodRange::LOOPBACK));
    let passing = wire::pass_on(Arc::clone(link.wire()), Arc::downgrade(&link), network);
    let far = Wire::open(far).expect("a socket");
    let to = (Ipv4Addr::new(127, 64, 0, 9), 53).into();
    for from in [ADDRESS, DEPARTED, Ipv4Addr::new(127, 64, 0, 3)] {
        let from = (from, 53).into();
        let kind = Kind::Datagram;
        far.send(Header { from, to, kind }, b"x");
    }
    tokio::time::timeout(HANG, passing).await.expect("an end");
    let breach = link.breach().expect("a breach").to_string();
    assert!(breach.contains("127.64.0.3"), "{breach}");
}

/// Compiles for ever, and tells when it begins and when it is given up.
struct Endless(mpsc::UnboundedSender<&'static str>);

/// Tells when it is dropped.
struct GivenUp(mpsc::UnboundedSender<&'static str>);

impl Compiler for Endless {
    fn compile(&self, wasm: Bytes) -> Compiling<'_> {
        assert_eq!(wasm, Bytes::from_static(b"wasm"));
        let given_up = GivenUp(self.0.clone());
        let _ = self.0.send("begun");
        Box::pin(async move {
            let _given_up = given_up;
            std::future::pending().await
        })
    }
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        let _ = self.0.send("given up");
    }
}

#[tokio::test]
async fn what_is_compiled_for_a_child_is_given_up_with_it() {
    let wasm = Bytes::from_static(b"wasm");
    let asks = frames(&[FromChild::Part(1, wasm), FromChild::Compile(1)]);
    // Whether the child ends, or nobody keeps it any more.
    for ends in [true, false] {
        let (told, mut hears) = mpsc::unbounded_channel();
        let (ear, _events) = mpsc::unbounded_channel();
        let config = ChildConfig {
            compiler: Arc::new(Endless(told)),
            ..shell(&script(&asks, "cat >/dev/null"), ear)
        };
        let child = Child::start(&config).expect("a shell");
        drop(config);
        child.link.know(|known| {
            give_pods(known);
            known.give_instance(OWN, POD);
        });
        // It asks once it was given an order.
        drop(child.start_instance(OWN));
        let begun = tokio::time::timeout(HANG, hears.recv()).await;
        assert_eq!(begun.expect("a beginning"), Some("begun"));
        if ends {
            child.link.break_off(Breach::new("the test says so"));
        }
        let kept = ends.then_some(child);
        let end = tokio::time::timeout(HANG, hears.recv()).await;
        assert_eq!(end.expect("an end"), Some("given up"), "{ends}");
        drop(kept);
    }
}

#[tokio::test]
async fn a_child_that_nobody_keeps_ends_though_it_does_not_want_to() {
    let (ear, mut events) = mpsc::unbounded_channel();
    // It heeds none of its sockets.
    let config = shell("exec sleep 1000000", ear);
    let child = Child::start(&config).expect("a shell");
    child.link.know(|known| {
        known.give_pod(POD, Vec::new(), Vec::new());
        known.give_instance(OWN, POD);
    });
    drop(child.start_instance(OWN));
    drop((child, config));
    let event = tokio::time::timeout(HANG, events.recv()).await;
    let Some(Event::Exited { instance, exit, .. }) = event.expect("an end") else {
        panic!("no end of an instance");
    };
    assert_eq!((instance, exit.code), (OWN, 137));
    assert_eq!(exit.message, "the pod was removed");
    // Whoever hears the child is the last to know its sink.
    let end = tokio::time::timeout(HANG, events.recv()).await;
    assert!(end.expect("its hearer's end").is_none());
}

#[tokio::test]
async fn who_cannot_be_handed_a_connection_is_refused_it() {
    let network = Arc::new(Network::new(PodRange {
        first: Ipv4Addr::new(127, 211, 0, 0),
        prefix: 24,
        block: 29,
    }));
    let link = |descriptors| {
        let (near, _far) = Wire::pair().expect("a pair");
        Link::new(descriptors, Arc::new(near), None)
    };
    let (descriptors, _kept) = Sender::pair().expect("a pair");
    let (listener, mut to_listener) = link(descriptors);
    let (descriptors, far) = Sender::pair().expect("a pair");
    drop(far);
    let (asker, mut to_asker) = link(descriptors);
    let listener = Child { link: listener };
    let pod = network.enter(&PodNetwork::default(), listener.downgrade());
    let pod = pod.expect("a place");
    let (from, to) = ((ADDRESS, 40_000).into(), (pod.address(), 80).into());
    let turn = asker.turn_to_ask().expect("a turn");
    let dial = async {
        let told = network.connect(from, to).await;
        asker.dialled(7, told, turn).await;
    };
    let accept = async {
        to_listener.recv().await.expect("an order");
        let first = protocol::WIRE + 1;
        listener
            .link
            .answered(first, Ok(Reply::Done))
            .expect("its answer");
    };
    tokio::join!(dial, accept);
    let frame = to_asker.recv().await.expect("an answer");
    let mut bytes = frame.bytes.as_slice();
    let told = protocol::read(&mut bytes, protocol::TO_CHILD).await;
    let told = told.expect("a frame");
    assert!(
        matches!(told, Some(ToChild::Dialled(7, Err(Refusal::Refused)))),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_answer_an_order_to_kill_is_ended() {
    let (ear, _events) = mpsc::unbounded_channel();
    let child = child_that_says(&[], ear);
    let answer = child.signal(OWN, Signal::Kill).await;
    let Err(RuntimeError::Gone(why)) = answer else {
        panic!("{answer:?}");
    };
    assert!(why.contains("an order to kill"), "{why}");
    assert!(child.is_gone());
}

/// Where there are the rights to steer; else it says so.
fn is_permitted() -> bool {
    let is_permitted = Steering::is_permitted();
    if !is_permitted {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("a test");
        let why = "needs CAP_BPF and CAP_NET_ADMIN: run `cargo xtask test` as root";
        writeln!(std::io::stderr(), "skipped: {name}: {why}").expect("standard error");
    }
    is_permitted
}

#[tokio::test]
async fn what_a_child_has_opened_is_closed_before_its_address_is_anothers() {
    if !is_permitted() {
        return;
    }
    // Apart from the ranges of real pods and of other tests.
    let range = PodRange {
        first: Ipv4Addr::new(127, 211, 0, 0),
        prefix: 24,
        block: 29,
    };
    let steering = Steering::new(range, &[net::Family::V4]);
    let network = Arc::new(Network::new(range));
    let (ear, _events) = mpsc::unbounded_channel();
    let config = ChildConfig {
        network: Arc::clone(&network),
        steering: Some(steering.clone()),
        ..shell("cat >/dev/null", ear)
    };
    let child = Child::start(&config).expect("a shell");
    let enter = |pod| {
        let lease = network
            .enter(&PodNetwork::default(), child.downgrade())
            .expect("an address");
        child.link.know(|known| {
            known.give_pod(PodId(pod), lease.addresses(), Vec::new());
        });
        lease
    };
    let (first, second) = (enter(1), enter(2));
    let [first_door, second_door] = [&first, &second].map(|lease| endpoint(lease.address(), 80));
    let other = steering.lane();
    for (number, door) in [(1, first_door), (2, second_door)] {
        child
            .link
            .open(number, door, Way::Listener)
            .expect("its own");
        let taken = other.open(door, Way::Listener);
        assert_eq!(taken, Err(SteerError::Taken(door.at)));
    }
    drop(first);
    other
        .open(first_door, Way::Listener)
        .expect("closed with its address");
    let taken = other.open(second_door, Way::Listener);
    assert_eq!(taken, Err(SteerError::Taken(second_door.at)));
    // Nobody keeps the child, and its process has not been waited for.
    drop(child);
    other
        .open(second_door, Way::Listener)
        .expect("closed with the child");
}
