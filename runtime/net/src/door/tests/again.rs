//! What is told of doors that open again and again, and of ports that open higher.

use super::*;
use crate::testing::apart::apart;

#[test]
fn the_same_outcome_of_a_door_is_told_once() {
    let mut bench = Bench::new();
    let taken = spare(&bench);
    let _taken = TcpListener::bind(taken).unwrap();
    let elsewhere = SocketAddr::from(([192, 0, 2, 99], 8080));
    let doors = [taken, elsewhere]
        .map(|host| door(8080, Protocol::Tcp, Some(host)))
        .to_vec();
    let pod = pod_with_doors(&bench, doors);
    let any = at("0.0.0.0", 8080, [&pod, &pod]);
    for _ in 0..50 {
        drop(listen(&pod, any));
    }
    let told = [bench.notice().reason, bench.notice().reason];
    assert_eq!(told, ["HostPortConflict", "DoorFailed"]);
    assert!(bench.notices.try_recv().is_err());
}

#[test]
fn another_outcome_of_a_door_is_told() {
    let mut bench = Bench::new();
    let pod = bench.pod(1);
    let door = |port| Asked {
        protocol: Protocol::Tcp,
        port,
        at: at("A", port, [&pod, &pod]),
    };
    let moved = at("A", 20_080, [&pod, &pod]);
    for _ in 0..2 {
        told::moved(&pod.pod, door(80), moved);
        told::moved(&pod.pod, door(81), moved);
        told::failed(&pod.pod, door(80), &Failure::Taken);
        told::failed(&pod.pod, door(80), &Failure::Taken);
    }
    let told: Vec<_> = (0..5).map(|_| bench.notice().reason).collect();
    let [moved, failed] = ["DoorMoved", "HostPortConflict"];
    assert_eq!(told, [moved, moved, failed, moved, failed]);
    for port in 100..5000 {
        told::failed(&pod.pod, door(port), &Failure::Taken);
    }
    let mut count = 0;
    while bench.notices.try_recv().is_ok() {
        count += 1;
    }
    assert_eq!(count, crate::limits::MAX_TOLD_DOORS - 2, "and no more");
}

/// Whether this process may open no port below 1024; the test runs again in one that may not.
fn is_without_rights() -> bool {
    let bench = Bench::new();
    let own = at("A", 80, [&bench.pod(1), &bench.pod(2)]);
    TcpListener::bind(own).is_err()
        || apart(&["setpriv", "--bounding-set=-net_bind_service"])
            && TcpListener::bind(own).is_err()
}

#[test]
fn a_port_that_opens_higher_takes_none_that_is_declared() {
    if !is_without_rights() {
        return;
    }
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for order in [[80, 20_080], [20_080, 80]] {
            let mut bench = Bench::new();
            let doors = [80, 20_080].map(|port| door(port, protocol, None)).to_vec();
            let pod = pod_with_doors(&bench, doors);
            let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
            let _servers = order.map(|port| match protocol {
                Protocol::Tcp => (Some(listen(&pod, any(port))), None),
                Protocol::Udp => (None, Some(udp(&pod, any(port)))),
            });
            let open: Vec<_> = pod.doors().iter().map(|door| door.port).collect();
            assert_eq!(open, [20_080], "{protocol:?} {order:?}");
            let notice = bench.notice();
            assert_eq!((notice.reason, notice.warning), ("HostPortConflict", true));
            let [asked, taken] = [80, 20_080].map(|port| at("A", port, [&pod, &pod]).to_string());
            for part in [&*asked, &*taken, "port 80 of pod pod1", "declares"] {
                assert!(notice.message.contains(part), "{}", notice.message);
            }
        }
    }
}

#[test]
fn the_address_that_is_taken_is_named() {
    if !is_without_rights() {
        return;
    }
    let mut bench = Bench::new();
    let pod = pod_with_doors(&bench, vec![door(80, Protocol::Tcp, None)]);
    let taken = at("A", 20_080, [&pod, &pod]);
    let _taken = TcpListener::bind(taken).unwrap();
    let _listener = listen(&pod, at("0.0.0.0", 80, [&pod, &pod]));
    let notice = bench.notice();
    assert_eq!(notice.reason, "HostPortConflict");
    let expected = format!("{taken} instead is taken: another program");
    assert!(notice.message.contains(&expected), "{}", notice.message);
}

/// The address at which a server is told to listen is one that answers.
#[test]
fn who_listens_is_found_where_its_door_has_moved() {
    if !is_without_rights() {
        return;
    }
    let bench = Bench::new();
    let published = spare(&bench);
    let doors = [(80, None), (80, Some(published)), (8080, None)];
    let doors = doors.map(|(port, host)| door(port, Protocol::Tcp, host));
    let pod = pod_with_doors(&bench, doors.to_vec());
    let at = |port| at("A", port, [&pod, &pod]);
    assert_eq!(pod.found_at(80), Some(at(80)), "nobody listens yet");
    let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
    let listeners = [80, 8080, 81].map(|port| listen(&pod, any(port)));
    for (port, found) in [(80, 20_080), (8080, 8080), (81, 81)] {
        assert_eq!(pod.found_at(port), Some(at(found)));
    }
    TcpStream::connect(at(20_080)).unwrap();
    drop(listeners);
    let _taken = TcpListener::bind(at(20_080)).unwrap();
    let _listener = listen(&pod, any(80));
    assert_eq!(pod.found_at(80), Some(at(80)), "its door has failed");
}

/// A pod's IPv6 address is none of the node's, whichever port is asked for there.
#[test]
fn a_low_port_has_no_door_at_ipv6_and_nothing_is_told() {
    if !is_without_rights() {
        return;
    }
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let mut bench = Bench::new();
        let pod = pod_with_doors(&bench, vec![door(80, protocol, None)]);
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80));
        let _server = match protocol {
            Protocol::Tcp => (Some(listen(&pod, any)), None),
            Protocol::Udp => (None, Some(udp(&pod, any))),
        };
        if protocol == Protocol::Tcp {
            assert_eq!(bench.notice().reason, "DoorMoved", "at IPv4");
        }
        assert_eq!(bench.notices.try_recv().ok(), None, "{protocol:?}");
        assert!(!pod.pod.fabric.doors_v6.load(Ordering::Relaxed));
    }
}
