//! What is told of doors that open again and again, and of ports that open higher.

use std::process::Command;

use super::*;
use crate::testing::apart::{WITHOUT_LOW_PORTS, apart, skip};

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

/// Whether this process may not open port 80; where it may, the test runs again in one that may
/// not.
fn is_without_rights() -> bool {
    let bench = Bench::new();
    let own = at("A", 80, [&bench.pod(1), &bench.pod(2)]);
    let may_open = || TcpListener::bind(own).is_ok();
    if !may_open() {
        return true;
    }
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first.trim().parse::<u16>().unwrap() <= own.port() {
        skip("needs net.ipv4.ip_unprivileged_port_start above 80");
        return false;
    }
    let [program, words @ ..] = WITHOUT_LOW_PORTS else {
        unreachable!()
    };
    let possible = Command::new(program).args(words).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        skip("needs setpriv(1), and root or a user who may not open port 80");
        return false;
    }
    let is_apart = apart(WITHOUT_LOW_PORTS);
    assert!(!is_apart, "it may open port 80 there too");
    false
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

/// A moved door is told of as long as it is open; no door, and one that stands where it was asked
/// for, are none.
#[test]
fn a_moved_door_answers_where_it_is_told_to_be() {
    if !is_without_rights() {
        return;
    }
    let bench = Bench::new();
    let published = spare(&bench);
    let doors = [(80, None), (80, Some(published)), (8080, None)];
    let doors = doors.map(|(port, host)| door(port, Protocol::Tcp, host));
    let pod = pod_with_doors(&bench, doors.to_vec());
    let at = |port| at("A", port, [&pod, &pod]);
    assert_eq!(pod.moved_door(80), None, "nobody listens yet");
    let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
    let listeners = [80, 8080, 81].map(|port| listen(&pod, any(port)));
    for (port, moved) in [(80, Some(at(20_080))), (8080, None), (81, None)] {
        assert_eq!(pod.moved_door(port), moved, "{port}");
    }
    for (port, answers) in [(80, false), (20_080, true), (8080, true), (81, false)] {
        assert_eq!(TcpStream::connect(at(port)).is_ok(), answers, "{port}");
    }
    drop(listeners);
    let _taken = TcpListener::bind(at(20_080)).unwrap();
    let _listener = listen(&pod, any(80));
    assert_eq!(pod.moved_door(80), None, "its door has failed");
}

#[test]
fn an_address_that_the_node_lacks_is_told_at_every_port() {
    let bench = Bench::new();
    let pod = bench.pod(1);
    for host in ["192.0.2.99", "2001:db8::1"] {
        let host: IpAddr = host.parse().unwrap();
        let higher = SocketAddr::new(host, 20_080);
        for failure in [
            Failure::Bind(Errno::ADDRNOTAVAIL),
            Failure::BindHigher(higher, Errno::ADDRNOTAVAIL),
        ] {
            let asked = Asked {
                protocol: Protocol::Tcp,
                port: 80,
                at: SocketAddr::new(host, 80),
            };
            let notice = told::failed_notice(&pod.pod, asked, &failure);
            assert_eq!((notice.reason, notice.warning), ("DoorFailed", true));
            for part in [
                "the node has no such address",
                "hostIP",
                &asked.at.to_string(),
            ] {
                assert!(notice.message.contains(part), "{}", notice.message);
            }
        }
    }
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
