//! Doors with real kernel sockets on 127.0.0.0/8.

mod again;
mod sharing;
mod turns;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};

use model::runtime::PodNetwork;

use super::*;
use crate::testing::{Bench, RANGE, at, listen, udp};
use crate::{PodNet, TcpSocket};

fn door(port: u16, protocol: Protocol, host: Option<SocketAddr>) -> Door {
    Door {
        port,
        protocol,
        host: host.map(|host| (host.ip(), host.port())),
    }
}

fn pod_with_doors(bench: &Bench, doors: Vec<Door>) -> PodNet {
    bench.pod_with(
        1,
        PodNetwork {
            doors,
            ..PodNetwork::default()
        },
    )
}

/// An address that nobody else has: beyond the range, where the bench's own block would be.
fn spare(bench: &Bench) -> SocketAddr {
    let IpAddr::V4(address) = bench.pod(9).addresses()[0] else {
        panic!("IPv4 comes first");
    };
    let [a, b, c, _] = address.octets();
    SocketAddr::from(([a, b + 16, c, 250], 18_080))
}

#[test]
fn which_sockets_deserve_which_doors() {
    let v4 = IpAddr::from([127, 160, 0, 2]);
    let v6: IpAddr = "fd00::2".parse().unwrap();
    let own = |family| Some(if family == Family::V4 { v4 } else { v6 });
    let published = SocketAddr::from(([127, 0, 0, 1], 8080));
    let beside = "[fd01::1]:8080".parse().unwrap();
    let every = SocketAddr::from(([0, 0, 0, 0], 90));
    let every_six = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 90));
    let alone = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 95));
    let doors = [
        door(80, Protocol::Tcp, None),
        door(80, Protocol::Tcp, Some(published)),
        door(80, Protocol::Tcp, Some(beside)),
        door(53, Protocol::Udp, None),
        door(90, Protocol::Tcp, None),
        door(90, Protocol::Tcp, Some(every)),
        door(90, Protocol::Tcp, Some(every_six)),
        door(90, Protocol::Udp, None),
        door(90, Protocol::Udp, Some(every)),
        door(90, Protocol::Udp, Some(every_six)),
        door(95, Protocol::Tcp, Some(alone)),
    ];
    let (four, six) = (SocketAddr::new(v4, 80), SocketAddr::new(v6, 80));
    let (ninety, ninety_six) = (SocketAddr::new(v4, 90), SocketAddr::new(v6, 90));
    let cases: [(&str, Protocol, u16, &[SocketAddr]); 16] = [
        ("0.0.0.0", Protocol::Tcp, 80, &[published, beside, four]),
        ("127.160.0.2", Protocol::Tcp, 80, &[published, beside, four]),
        ("::", Protocol::Tcp, 80, &[published, beside, four, six]),
        ("fd00::2", Protocol::Tcp, 80, &[beside, six]),
        ("127.0.0.1", Protocol::Tcp, 80, &[]),
        ("::1", Protocol::Tcp, 80, &[]),
        ("0.0.0.0", Protocol::Tcp, 90, &[every, every_six, ninety]),
        (
            "::",
            Protocol::Tcp,
            90,
            &[every, every_six, ninety, ninety_six],
        ),
        ("0.0.0.0", Protocol::Tcp, 95, &[alone]),
        ("::", Protocol::Tcp, 95, &[alone]),
        ("0.0.0.0", Protocol::Tcp, 81, &[]),
        ("0.0.0.0", Protocol::Udp, 80, &[]),
        ("0.0.0.0", Protocol::Udp, 53, &[SocketAddr::new(v4, 53)]),
        ("::", Protocol::Udp, 53, &[SocketAddr::new(v6, 53)]),
        ("0.0.0.0", Protocol::Udp, 90, &[every, ninety]),
        ("::", Protocol::Udp, 90, &[every_six, ninety_six]),
    ];
    for (address, protocol, port, expected) in cases {
        let reach = Reach::of(address.parse().unwrap());
        let suits = |at| suits_at(protocol, reach, at, own);
        let wanted = wanted(&doors, protocol, port, &[v4, v6], suits);
        let hosts: Vec<_> = wanted.iter().map(|wanted| wanted.host).collect();
        assert_eq!(hosts, expected, "{protocol:?} {address}:{port}");
        let optional = |host: SocketAddr| host.ip() == v6 || host == every_six;
        assert!(
            wanted
                .iter()
                .all(|wanted| wanted.optional == optional(wanted.host)),
            "{wanted:?}"
        );
    }
}

#[test]
fn a_door_leads_to_the_listener_and_closes_with_it() {
    let bench = Bench::new();
    let published = spare(&bench);
    let doors = [None, Some(published)]
        .map(|host| door(8080, Protocol::Tcp, host))
        .to_vec();
    let pod = pod_with_doors(&bench, doors);
    let own = at("A", 8080, [&pod, &pod]);
    assert!(TcpStream::connect(own).is_err(), "nobody listens yet");

    let listener = listen(&pod, at("0.0.0.0", 8080, [&pod, &pod]));
    let open: Vec<_> = pod
        .doors()
        .iter()
        .map(|door| (door.port, door.host, door.moved))
        .collect();
    let mut expected = vec![(8080, own, false), (8080, published, false)];
    expected.sort_by_key(|(_, host, _)| *host);
    assert_eq!(open, expected);
    for host in [own, published] {
        let mut client = TcpStream::connect(host).unwrap();
        let server = bench.accept(&listener);
        let stream = server.stream().unwrap();
        assert_eq!(server.local_address(), Ok(own));
        let peer = server.remote_address().unwrap();
        assert_eq!(peer.port(), client.local_addr().unwrap().port());
        let IpAddr::V4(pod_ip) = own.ip() else {
            unreachable!()
        };
        assert_eq!(
            peer.ip(),
            RANGE.gateway(pod_ip),
            "the node is the gateway, not localhost"
        );
        client.write_all(b"question").unwrap();
        assert_eq!(bench.read(stream, 8), b"question");
        stream.write_permitted(b"answer").unwrap();
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
    }
    let counters = pod.counters();
    assert_eq!((counters.received, counters.sent), (16, 12));
    drop(listener);
    assert!(TcpStream::connect(own).is_err());
    assert_eq!(pod.doors(), []);
}

#[test]
fn localhost_and_undeclared_ports_have_no_door() {
    let bench = Bench::new();
    let pod = pod_with_doors(&bench, vec![door(8080, Protocol::Tcp, None)]);
    let at = |address, port| at(address, port, [&pod, &pod]);
    let _local = listen(&pod, at("127.0.0.1", 8080));
    let _other = listen(&pod, at("0.0.0.0", 8081));
    for port in [8080, 8081] {
        assert!(TcpStream::connect(at("A", port)).is_err(), "{port}");
    }
    assert_eq!(pod.doors(), []);
}

#[test]
fn a_conflict_is_a_notice_and_the_guest_listens_all_the_same() {
    let mut bench = Bench::new();
    let host = spare(&bench);
    let _taken = TcpListener::bind(host).unwrap();
    let no_such = SocketAddr::from(([192, 0, 2, 99], 8080));
    let doors = [host, no_such]
        .map(|host| door(8080, Protocol::Tcp, Some(host)))
        .to_vec();
    let pod = pod_with_doors(&bench, doors);
    let listener = listen(&pod, at("0.0.0.0", 8080, [&pod, &pod]));
    for (reason, address) in [("HostPortConflict", host), ("DoorFailed", no_such)] {
        let notice = bench.notice();
        assert_eq!((notice.reason, notice.warning), (reason, true));
        for part in ["port 8080", "pod1", &address.to_string()] {
            assert!(
                notice.message.contains(part),
                "{part} in {:?}",
                notice.message
            );
        }
    }
    assert_eq!(pod.doors(), []);
    bench
        .connect(&pod, at("127.0.0.1", 8080, [&pod, &pod]))
        .unwrap();
    bench.accept(&listener);
}

/// Whoever is there, or could be: an address for pods is no place for another pod's door.
#[test]
fn no_door_stands_at_an_address_of_another_pod() {
    let mut bench = Bench::new();
    let first = bench.pod(2);
    let IpAddr::V4(address) = first.addresses()[0] else {
        panic!("IPv4 comes first");
    };
    let twin = RANGE.twin(address);
    let [a, b, c, _] = address.octets();
    let others: [IpAddr; 5] = [
        address.into(),
        twin.into(),
        address.to_ipv6_mapped().into(),
        RANGE.gateway(address).into(),
        [a, b, c, 250].into(),
    ];
    let mut number = 2;
    for other in others {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let host = SocketAddr::new(other, 18_080);
            number += 1;
            let network = PodNetwork {
                doors: vec![door(8080, protocol, Some(host))],
                ..PodNetwork::default()
            };
            let pod = bench.pod_with(number, network);
            let own = at("0.0.0.0", 8080, [&pod, &pod]);
            let _socket = match protocol {
                Protocol::Tcp => listen(&pod, own),
                Protocol::Udp => {
                    udp(&pod, own);
                    listen(&pod, own)
                }
            };
            let notice = bench.notice();
            assert_eq!(notice.reason, "DoorFailed", "{host}");
            for part in [&host.to_string(), "not this one's", "hostIP"] {
                assert!(notice.message.contains(part), "{}", notice.message);
            }
            assert_eq!(pod.doors(), [], "{host}");
        }
    }
}

/// Either the user may open port 80, and it opens, or it opens at 20080 and a notice says so.
#[test]
fn a_low_port_moves_where_it_must() {
    let mut bench = Bench::new();
    let pod = pod_with_doors(&bench, vec![door(80, Protocol::Tcp, None)]);
    let own = at("A", 80, [&pod, &pod]);
    let allowed = TcpListener::bind(own).is_ok();
    let _listener = listen(&pod, at("0.0.0.0", 80, [&pod, &pod]));
    let open = pod.doors()[0];
    assert_eq!((open.port, open.moved), (80, !allowed));
    assert_eq!(open.host.port(), if allowed { 80 } else { 20_080 });
    assert_eq!(pod.moved_door(80), open.moved.then_some(open.host));
    TcpStream::connect(open.host).unwrap();
    if !allowed {
        let notice = bench.notice();
        assert_eq!((notice.reason, notice.warning), ("DoorMoved", false));
        assert!(
            notice.message.contains(&open.host.to_string()),
            "{}",
            notice.message
        );
    }
}

/// IPv4 connections are of who listens at IPv4, or else at `::`, whoever came first.
#[test]
fn a_door_leads_to_the_listener_of_its_family_or_to_every_address() {
    let mut bench = Bench::new();
    let published = spare(&bench);
    let doors = [None, Some(published)]
        .map(|host| door(8080, Protocol::Tcp, host))
        .to_vec();
    let pod = pod_with_doors(&bench, doors);
    let at = |address| at(address, 8080, [&pod, &pod]);
    let reaches = |listener: &TcpSocket, family: Family| {
        for host in [at("A"), published] {
            // The guest waits already when a door of another becomes its own.
            let _client = TcpStream::connect(host).unwrap();
            let server = bench.accept(listener);
            let seen = [server.local_address(), server.remote_address()].map(Result::unwrap);
            assert_eq!(seen.map(|at| Family::of(at.ip())), [family; 2], "{seen:?}");
            assert_eq!(seen[0].ip().to_canonical(), at("A").ip());
            let IpAddr::V4(own) = at("A").ip() else {
                unreachable!()
            };
            assert_eq!(seen[1].ip().to_canonical(), RANGE.gateway(own));
        }
    };
    for first in ["::", "0.0.0.0"] {
        let second = if first == "::" { "0.0.0.0" } else { "::" };
        let first = listen(&pod, at(first));
        reaches(&first, first.family());
        let second = listen(&pod, at(second));
        let four = [&first, &second].map(|socket| socket.family() == Family::V4);
        let (four, six) = match four {
            [true, _] => (first, second),
            _ => (second, first),
        };
        reaches(&four, Family::V4);
        drop(four);
        reaches(&six, Family::V6);
        drop(six);
        assert_eq!(pod.doors(), []);
        assert!(TcpStream::connect(at("A")).is_err());
    }
    for specific in ["::1", "a"] {
        let _listener = listen(&pod, at(specific));
        assert!(TcpStream::connect(at("A")).is_err(), "{specific}");
        assert!(TcpStream::connect(published).is_err(), "{specific}");
    }
    assert!(bench.notices.try_recv().is_err(), "nothing failed");
}

#[test]
fn an_ipv4_door_that_fails_is_told_to_who_listens_at_every_address() {
    let mut bench = Bench::new();
    let pod = pod_with_doors(&bench, vec![door(8080, Protocol::Tcp, None)]);
    let own = at("A", 8080, [&pod, &pod]);
    let _taken = TcpListener::bind(own).unwrap();
    let _listener = listen(&pod, at("::", 8080, [&pod, &pod]));
    let notice = bench.notice();
    assert_eq!((notice.reason, notice.warning), ("HostPortConflict", true));
    assert!(
        notice.message.contains(&own.to_string()),
        "{}",
        notice.message
    );
}

#[test]
fn who_waits_learns_of_a_door_that_becomes_its_own() {
    let bench = Bench::new();
    let pod = pod_with_doors(&bench, vec![door(8080, Protocol::Tcp, None)]);
    let at = |address| at(address, 8080, [&pod, &pod]);
    let (four, six) = (listen(&pod, at("0.0.0.0")), listen(&pod, at("::")));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bench.accept(&six).remote_address());
        drop(four);
        let _client = TcpStream::connect(at("A")).unwrap();
        assert!(waiting.join().unwrap().is_ok());
    });
}

#[test]
fn a_host_port_opens_at_ipv6_too() {
    let mut bench = Bench::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let hosts = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
    let doors = hosts.map(|host| door(8080, Protocol::Tcp, Some((host, port).into())));
    let pod = pod_with_doors(&bench, doors.to_vec());
    let has_six = TcpListener::bind("[::1]:0").is_ok();
    for listens in ["0.0.0.0", "::"] {
        let listener = listen(&pod, at(listens, 8080, [&pod, &pod]));
        for client in ["127.0.0.1", "::1"] {
            if client == "::1" && !has_six {
                continue;
            }
            let client: IpAddr = client.parse().unwrap();
            let _client = TcpStream::connect((client, port)).unwrap();
            let server = bench.accept(&listener);
            let seen = [server.local_address(), server.remote_address()].map(Result::unwrap);
            for seen in seen.map(|at| at.ip()) {
                assert_eq!(Family::of(seen), listener.family(), "{client}: {seen}");
                assert!(RANGE.contains(seen.to_canonical()), "{client}: {seen}");
            }
        }
    }
    assert_eq!(pod.doors(), []);
    assert!(bench.notices.try_recv().is_err(), "IPv6 is no must");
}

#[test]
fn a_port_that_moves_says_what_helps() {
    let bench = Bench::new();
    let pod = bench.pod(1);
    let (wanted, host) = (at("A", 80, [&pod, &pod]), at("A", 20_080, [&pod, &pod]));
    let (protocol, port) = (Protocol::Tcp, 80);
    let door = Asked {
        protocol,
        port,
        at: wanted,
    };
    let moved = told::moved_notice(&pod.pod, door, host).message;
    let refused = told::failed_notice(&pod.pod, door, &Failure::Bind(Errno::ACCESS)).message;
    for (message, parts) in [
        (
            moved,
            &[&*host.to_string(), "ip_unprivileged_port_start to 80"][..],
        ),
        (refused, &["choose a higher one"]),
    ] {
        let always = [
            &*wanted.to_string(),
            "TCP port 80 of pod pod1",
            "the process that runs the pod",
            "run as root",
        ];
        for part in always.iter().chain(parts) {
            assert!(message.contains(part), "{part} in {message}");
        }
        assert!(!message.contains("this user"), "{message}");
    }
}

#[test]
fn datagrams_pass_a_door_both_ways() {
    let bench = Bench::new();
    let published = spare(&bench);
    let doors = [None, Some(published)]
        .map(|host| door(5353, Protocol::Udp, host))
        .to_vec();
    let pod = pod_with_doors(&bench, doors);
    let at = |address, port| at(address, port, [&pod, &pod]);
    let server = udp(&pod, at("0.0.0.0", 5353));
    let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
    for host in [at("A", 5353), published] {
        outside.send_to(b"question", host).unwrap();
        let (question, from) = bench.receive(&server);
        assert_eq!(question, b"question");
        assert_eq!(from.port(), outside.local_addr().unwrap().port());
        assert!(
            !from
                .ip()
                .to_canonical()
                .eq(&IpAddr::V4(Ipv4Addr::LOCALHOST))
        );
        server.try_send(b"answer", Some(from)).unwrap();
        let mut buffer = [0; 32];
        let (length, answered_by) = outside.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], answered_by), (&b"answer"[..], host));
    }
    // Only who came through the door is answered: its real address leads nowhere.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    server
        .try_send(b"x", Some(stranger.local_addr().unwrap()))
        .unwrap();
    let gateway = SocketAddr::new(
        RANGE
            .gateway(match at("A", 0).ip() {
                IpAddr::V4(v4) => v4,
                IpAddr::V6(_) => unreachable!(),
            })
            .into(),
        stranger.local_addr().unwrap().port(),
    );
    server.try_send(b"x", Some(gateway)).unwrap();
    assert!(
        stranger.recv_from(&mut [0; 8]).is_err(),
        "nothing reaches who never called"
    );
    assert_eq!(pod.doors().len(), 2);
    drop(server);
    assert_eq!(pod.doors(), []);
}

/// More than the kernel takes at once goes out in the background, in order, after the guest too.
#[test]
fn permitted_writes_arrive_whole() {
    let bench = Bench::new();
    let pod = pod_with_doors(&bench, vec![door(8080, Protocol::Tcp, None)]);
    let listener = listen(&pod, at("0.0.0.0", 8080, [&pod, &pod]));
    let client = TcpStream::connect(at("A", 8080, [&pod, &pod])).unwrap();
    let server = bench.accept(&listener);
    let reader = std::thread::spawn(move || {
        let (mut client, mut all) = (client, Vec::new());
        client.read_to_end(&mut all).unwrap();
        all
    });
    let stream = server.stream().unwrap();
    let mut sent = Vec::new();
    while sent.len() < 16 << 20 {
        bench.wait(|cx| stream.poll_write_ready(cx));
        let permitted = stream.writable().unwrap();
        let bytes: Vec<u8> = (0..permitted)
            .map(|n| u8::try_from((sent.len() + n) % 251).unwrap())
            .collect();
        stream.write_permitted(&bytes).unwrap();
        sent.extend(bytes);
    }
    server.shutdown(std::net::Shutdown::Write).unwrap();
    drop(server);
    assert!(
        reader.join().unwrap() == sent,
        "what arrives is what was written"
    );
    assert_eq!(pod.pod.buffers.left(1), 1, "the backlog is paid back");
}
