//! Pods come and go; the host connects to them; those on the host's network use the kernel.

use std::collections::HashSet;
use std::net::{IpAddr, TcpListener, UdpSocket};

use super::*;
use crate::error::NetError;
use crate::testing::{Bench, RANGE, at, listen, udp};
use crate::{Family, HostTarget, Lookup};

#[test]
fn every_pod_has_addresses_of_its_own() {
    let (first, second) = (Bench::new(), Bench::new());
    let mut seen = HashSet::new();
    for (bench, number) in [(&first, 1), (&first, 2), (&second, 1), (&second, 2)] {
        for address in bench.pod(number).addresses() {
            assert!(RANGE.contains(address), "{address}");
            assert!(seen.insert(address), "{address} twice");
        }
    }
    assert_eq!(seen.len(), 8);
    let again = first.switch.add_pod(PodId(1), &PodNetwork::default());
    assert!(matches!(again, Err(SwitchError::PodExists(PodId(1)))));
}

#[test]
fn a_removed_pod_is_gone() {
    let mut bench = Bench::new();
    let (a, b) = (bench.pod(1), bench.pod(2));
    let at = |text, port| at(text, port, [&a, &b]);
    let listener = listen(&a, at("0.0.0.0", 80));
    let receiver = udp(&a, at("0.0.0.0", 53));
    let waiting = bench.connect(&b, at("A", 80)).unwrap();
    let sender = udp(&b, at("0.0.0.0", 0));
    sender.try_send(b"x", Some(at("A", 53))).unwrap();
    bench.switch.remove_pod(PodId(1));
    assert_eq!(
        bench.connect(&b, at("A", 80)).unwrap_err(),
        NetError::ConnectionRefused
    );
    assert_eq!(waiting.try_read(&mut [0]), Err(NetError::ConnectionReset));
    assert_eq!(listener.try_accept().unwrap_err(), NetError::InvalidState);
    assert_eq!(receiver.try_receive().unwrap_err(), NetError::InvalidState);
    sender.try_send(b"x", Some(at("A", 53))).unwrap();
    assert_eq!(a.tcp(Family::V4).unwrap_err(), NetError::InvalidState);
    assert!(bench.switch.pod(PodId(1)).is_none());
    let resolved = bench.block(b.resolve("pod1", Lookup::Any));
    assert_eq!(resolved, Err(NetError::NameUnresolvable));
    let told: Vec<_> = std::iter::from_fn(|| bench.listening.try_recv().ok())
        .filter(|(pod, _)| *pod == PodId(1))
        .map(|(_, listening)| (listening.protocol, listening.address, listening.open))
        .collect();
    let (tcp, dns) = (at("0.0.0.0", 80), at("0.0.0.0", 53));
    let expected = [
        (Protocol::Tcp, tcp, true),
        (Protocol::Udp, dns, true),
        (Protocol::Tcp, tcp, false),
        (Protocol::Udp, dns, false),
    ];
    assert_eq!(told, expected);
    drop((listener, receiver));
    assert!(bench.listening.try_recv().is_err(), "an end is told once");
    bench.switch.remove_pod(PodId(1));
}

#[test]
fn the_host_connects_as_a_probe_and_as_port_forward() {
    let bench = Bench::new();
    let pod = bench.pod(1);
    let cases = [
        ("0.0.0.0", HostTarget::PodIp, true),
        ("0.0.0.0", HostTarget::Localhost, true),
        ("A", HostTarget::PodIp, true),
        ("A", HostTarget::Localhost, false),
        ("127.0.0.1", HostTarget::PodIp, false),
        ("127.0.0.1", HostTarget::Localhost, true),
        ("::", HostTarget::PodIp, true),
        ("::", HostTarget::Localhost, true),
        ("::1", HostTarget::PodIp, false),
        ("a", HostTarget::PodIp, false),
        ("::1", HostTarget::Localhost, true),
    ];
    for (listens, target, reached) in cases {
        let listener = listen(&pod, at(listens, 80, [&pod, &pod]));
        let result = pod.connect_from_host(80, target);
        assert_eq!(result.is_ok(), reached, "{listens}, {target:?}: {result:?}");
        let Ok(host) = result else {
            continue;
        };
        let server = bench.accept(&listener);
        let peer = server.remote_address().unwrap().ip();
        assert_ne!(
            Ok(peer),
            server
                .local_address()
                .map(|own| own.ip())
                .map(|ip| match target {
                    HostTarget::PodIp => ip,
                    HostTarget::Localhost => IpAddr::from([0, 0, 0, 0]),
                })
        );
        assert_eq!(
            RANGE.contains(peer.to_canonical()),
            target == HostTarget::PodIp,
            "{listens}, {target:?}"
        );
        host.try_write(b"GET /").unwrap();
        assert_eq!(bench.read(server.stream().unwrap(), 5), b"GET /");
    }
    let refused = pod.connect_from_host(81, HostTarget::PodIp);
    assert_eq!(refused.unwrap_err(), NetError::ConnectionRefused);
}

#[test]
fn host_network_is_the_kernels() {
    let bench = Bench::new();
    let host = bench.pod_with(
        1,
        PodNetwork {
            host: true,
            ..PodNetwork::default()
        },
    );
    assert!(host.is_host_network());
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));

    let outside = TcpListener::bind(local(0)).unwrap();
    let stream = bench.connect(&host, outside.local_addr().unwrap()).unwrap();
    let (mut peer, address) = outside.accept().unwrap();
    assert_eq!(stream.local_address(), address);
    std::io::Write::write_all(&mut peer, b"hello").unwrap();
    assert_eq!(bench.read(&stream, 5), b"hello");
    drop(peer);
    assert_eq!(bench.read_to_end(&stream), (vec![], Ok(())));

    let listener = listen(&host, local(0));
    let own = listener.local_address().unwrap();
    let mut second = host.tcp(Family::V4).unwrap();
    assert_eq!(second.bind(own), Err(NetError::AddressInUse));
    let from_host = host
        .connect_from_host(own.port(), HostTarget::Localhost)
        .unwrap();
    let server = bench.accept(&listener);
    assert_eq!(server.remote_address().unwrap(), from_host.local_address());
    server.stream().unwrap().try_write(b"hi").unwrap();
    assert_eq!(bench.read(&from_host, 2), b"hi");
    drop(listener);
    assert_eq!(
        bench.connect(&host, own).unwrap_err(),
        NetError::ConnectionRefused
    );

    let outside = UdpSocket::bind(local(0)).unwrap();
    let socket = host.udp(Family::V4).unwrap();
    assert_eq!(socket.local_address(), Err(NetError::InvalidState));
    let to = outside.local_addr().unwrap();
    socket.try_send(b"ping", Some(to)).unwrap();
    let (length, from) = outside.recv_from(&mut [0; 16]).unwrap();
    assert_eq!(
        (length, from.port()),
        (4, socket.local_address().unwrap().port())
    );
    outside.send_to(b"pong", from).unwrap();
    assert_eq!(bench.receive(&socket), (b"pong".to_vec(), to));
    socket.connect(Some(to)).unwrap();
    assert_eq!(socket.remote_address(), Ok(to));
    assert_eq!(
        socket.try_send(b"x", Some(local(9))),
        Err(NetError::InvalidArgument)
    );
    socket.connect(None).unwrap();
    assert_eq!(socket.connect(None), Err(NetError::InvalidState));
}

/// Prints what a pod costs that does nothing.
#[test]
#[ignore = "prints numbers"]
fn cost_of_an_idle_pod() {
    const PODS: u64 = 100_000;
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap();
        let word = line.split_whitespace().nth(1).unwrap();
        word.parse::<u64>().unwrap()
    };
    let (bench, before, start) = (Bench::new(), resident(), std::time::Instant::now());
    let pods: Vec<_> = (0..PODS).map(|number| bench.pod(number)).collect();
    let each = start.elapsed() / u32::try_from(PODS).unwrap();
    let bytes = (resident() - before) * 1024 / PODS;
    println!("{} pods: {each:?} and {bytes} bytes each", pods.len());
    let local = SocketAddr::from(([127, 0, 0, 1], 80));
    let (before, start) = (resident(), std::time::Instant::now());
    let sockets: Vec<_> = pods
        .iter()
        .map(|pod| {
            let listener = listen(pod, local);
            let client = bench.connect(pod, local).unwrap();
            client.try_write(b"x").unwrap();
            let server = listener.try_accept().unwrap();
            server.stream().unwrap().try_read(&mut [0]).unwrap();
            (listener, client, server)
        })
        .collect();
    let each = start.elapsed() / u32::try_from(PODS).unwrap();
    let bytes = (resident() - before) * 1024 / PODS;
    println!(
        "{} pods with a listener and a connection used once: {each:?} and {bytes} bytes more each",
        sockets.len()
    );
}
