//! What a child may say, and what ends it.

use model::container::Protocol;
use model::runtime::{Exit, Stats, StoragePlace, Stream};

use super::*;

const POD: PodId = PodId(1);
const RUNS: InstanceId = InstanceId(10);
const MADE: InstanceId = InstanceId(11);
const OTHERS: InstanceId = InstanceId(99);

/// A child with one pod of two instances, of which one runs.
fn known() -> Known {
    let mut known = Known::default();
    known.give_pod(POD, vec![[127, 64, 0, 2].into()], Vec::new());
    known.give_instance(RUNS, POD);
    known.give_instance(MADE, POD);
    known.start(RUNS);
    known
}

fn exited(instance: InstanceId, code: i32) -> Event {
    Event::Exited {
        instance,
        exit: Exit {
            code,
            reason: String::new(),
            message: String::new(),
        },
        stats: Stats::default(),
    }
}

fn health(instance: InstanceId) -> Event {
    Event::Health {
        instance,
        ready: true,
        message: String::new(),
    }
}

fn notice(pod: u64) -> Event {
    Event::Notice {
        pod: PodId(pod),
        instance: None,
        warning: false,
        reason: String::new(),
        message: String::new(),
    }
}

fn output(instance: InstanceId) -> Event {
    Event::Output {
        instance,
        stream: Stream::Stdout,
        chunk: Bytes::from_static(b"x"),
    }
}

#[test]
fn events_are_those_of_its_own_pods() {
    let cases = [
        (exited(RUNS, 0), true),
        (exited(RUNS, 255), true),
        (exited(RUNS, 256), false),
        (exited(RUNS, -1), false),
        (exited(MADE, 0), false),
        (exited(OTHERS, 0), false),
        (health(RUNS), true),
        (health(MADE), true),
        (health(OTHERS), false),
        (notice(1), true),
        (notice(2), false),
        (output(RUNS), false),
    ];
    for (event, heard) in cases {
        assert_eq!(
            known().event(&event, Instant::now()).is_ok(),
            heard,
            "{event:?}"
        );
    }
    let mut known = known();
    known
        .event(&exited(RUNS, 0), Instant::now())
        .expect("its end");
    known
        .event(&exited(RUNS, 0), Instant::now())
        .expect_err("a second end");
}

#[test]
fn one_chunk_of_output_is_on_its_way_for_each_instance() {
    let mut known = known();
    assert_eq!(known.output(&output(RUNS)), Ok(RUNS));
    assert_eq!(known.output(&output(MADE)), Ok(MADE));
    known.output(&output(RUNS)).expect_err("not taken yet");
    known.taken(RUNS);
    assert_eq!(known.output(&output(RUNS)), Ok(RUNS));
    known.output(&output(OTHERS)).expect_err("another's");
    known.output(&health(RUNS)).expect_err("no output");
}

#[test]
fn what_was_removed_may_still_end_and_nothing_else() {
    let mut known = known();
    known.apply(Change::Removed(RUNS), true);
    known
        .event(&health(RUNS), Instant::now())
        .expect("it runs on");
    known
        .event(&exited(RUNS, 137), Instant::now())
        .expect("it was killed");
    let late = known.event(&health(RUNS), Instant::now());
    assert_eq!(late, Ok(Heard::LeftOut), "it has ended");
    known.apply(Change::PodRemoved(POD), true);
    known
        .event(&notice(1), Instant::now())
        .expect("a late word");
    let late = known.event(&health(MADE), Instant::now());
    assert_eq!(late, Ok(Heard::LeftOut), "gone with its pod");
    assert_eq!(
        known.check_address([127, 64, 0, 2].into()),
        Ok(Heard::LeftOut),
        "it may have been on its way"
    );
    for number in 2..=u64::try_from(DEPARTED).expect("a number") + 1 {
        known.give_pod(PodId(number), Vec::new(), Vec::new());
        known.apply(Change::PodRemoved(PodId(number)), true);
    }
    known
        .event(&notice(1), Instant::now())
        .expect_err("long ago");
    known
        .check_address([127, 64, 0, 2].into())
        .expect_err("long ago");
    known.give_pod(PodId(5000), vec![[127, 64, 0, 2].into()], Vec::new());
    assert_eq!(
        known.check_address([127, 64, 0, 2].into()),
        Ok(Heard::Now),
        "another pod has it"
    );
}

#[test]
fn what_failed_is_not_there() {
    let cases = [
        (Change::Created(MADE), MADE),
        (Change::Executed(MADE), MADE),
        (Change::PodCreated(POD), MADE),
    ];
    for (change, instance) in cases {
        let mut known = known();
        known.apply(change, true);
        known
            .event(&health(instance), Instant::now())
            .expect("made");
        known.apply(change, false);
        let heard = known.event(&health(instance), Instant::now());
        assert_ne!(heard, Ok(Heard::Now), "it could not be made");
    }
    let mut known = known();
    known.start(MADE);
    known.apply(Change::Started(MADE), false);
    assert_eq!(known.end(), [RUNS]);
}

#[test]
fn only_so_much_is_compiled_at_once() {
    let part = Bytes::from(vec![0; protocol::PART]);
    let mut known = Known::default();
    for number in 0..8 {
        known.part(number, &part).expect("a small one");
    }
    known.part(8, &part).expect_err("nine at once");

    let mut known = Known::default();
    let parts = protocol::COMPILE_BUDGET / protocol::PART;
    for _ in 0..parts {
        known.part(1, &part).expect("a part of the largest");
    }
    known.part(1, &part).expect_err("larger than the largest");

    let mut known = Known::default();
    known.compile(1).expect_err("nothing was sent");
    known.part(1, &part).expect("a part");
    assert_eq!(known.compile(1).map(|wasm| wasm.len()), Ok(part.len()));
    known.part(1, &part).expect_err("it is being compiled");
    known.compiled(1);
    for _ in 0..parts {
        known.part(2, &part).expect("room again");
    }
}

#[test]
fn it_speaks_for_its_own_addresses_only() {
    let known = known();
    let cases = [
        ("127.64.0.2", true),
        ("::ffff:127.64.0.2", true),
        ("127.64.0.3", false),
        ("::1", false),
    ];
    for (address, heard) in cases {
        let address = address.parse().expect("an address");
        assert_eq!(known.check_address(address).is_ok(), heard, "{address}");
    }
}

#[test]
fn answers_are_of_the_kind_asked_for() {
    let file = |length| Ok(Reply::File(Bytes::from(vec![0; length])));
    let failed = || Err(RuntimeError::Refused(String::new()));
    let cases = [
        (Wanted::Done, Ok(Reply::Done), true),
        (Wanted::Done, failed(), true),
        (Wanted::Done, file(0), false),
        (Wanted::Stats, Ok(Reply::Stats(Stats::default())), true),
        (Wanted::Stats, Ok(Reply::Done), false),
        (Wanted::File(4), file(4), true),
        (Wanted::File(4), file(5), false),
        (Wanted::File(4), Ok(Reply::Done), false),
    ];
    for (wanted, reply, fits) in cases {
        assert_eq!(wanted.check(&reply).is_ok(), fits, "{wanted:?}, {reply:?}");
    }
}

#[test]
fn only_so_much_is_told_and_what_guests_bring_about_is_no_breach() {
    let full = Event::StorageFull {
        pod: POD,
        place: StoragePlace::Instance(RUNS),
        limit: 1,
    };
    // The most at once, and whether more is a breach.
    let cases = [
        (health(RUNS), HEALTH, true),
        (notice(1), NOTICES, false),
        (full, FULL, true),
    ];
    for (event, rate, is_breach) in cases {
        let mut known = known();
        let now = Instant::now();
        for _ in 0..rate.burst {
            assert_eq!(known.event(&event, now), Ok(Heard::Now), "{event:?}");
        }
        match known.event(&event, now) {
            Err(_) => assert!(is_breach, "{event:?}"),
            Ok(heard) => assert!(!is_breach && heard == Heard::LeftOut, "{event:?}"),
        }
        assert_eq!(known.event(&event, now + rate.each), Ok(Heard::Now));
        known.event(&health(MADE), now).expect("another's");
    }
}

#[test]
fn a_door_is_for_a_pod_whose_manifest_asks_for_it() {
    let at = |port, host: Option<(&str, u16)>| Door {
        port,
        protocol: Protocol::Tcp,
        host: host.map(|(ip, port)| (ip.parse().unwrap(), port)),
    };
    let mut known = Known::default();
    let another_pods = at(53, Some(("127.64.0.3", 53)));
    let own = at(54, Some(("127.64.0.2", 54)));
    let doors = vec![
        at(8080, Some(("0.0.0.0", 80))),
        at(53, None),
        another_pods,
        own,
    ];
    known.give_pod(POD, vec![[127, 64, 0, 2].into()], doors);
    let other = vec![at(443, None)];
    known.give_pod(PodId(2), vec![[127, 64, 0, 3].into()], other);
    let cases = [
        ("0.0.0.0:80", Protocol::Tcp, true),
        ("0.0.0.0:80", Protocol::Udp, false),
        ("0.0.0.0:8080", Protocol::Tcp, false),
        ("127.0.0.1:80", Protocol::Tcp, false),
        ("127.64.0.2:53", Protocol::Tcp, true),
        ("127.64.0.2:443", Protocol::Tcp, false),
        ("127.64.0.3:443", Protocol::Tcp, true),
        ("127.64.0.4:53", Protocol::Tcp, false),
        ("127.64.0.3:53", Protocol::Tcp, false),
        ("127.64.0.2:54", Protocol::Tcp, true),
    ];
    for (address, protocol, expected) in cases {
        let door = Endpoint {
            protocol,
            at: address.parse().unwrap(),
        };
        let is_of_pods = address.starts_with("127.64.");
        let checked = known.check_door(door, is_of_pods);
        assert_eq!(
            checked == Ok(Heard::Now),
            expected,
            "{address} {protocol:?}"
        );
        assert_eq!(checked.is_err(), !expected, "{address} {protocol:?}");
    }
    // What a pod that has gone had asked for may still be on its way.
    known.apply(Change::PodRemoved(POD), true);
    let late = Endpoint {
        protocol: Protocol::Tcp,
        at: "0.0.0.0:80".parse().unwrap(),
    };
    assert_eq!(known.check_door(late, false), Ok(Heard::LeftOut));
}
