//! Declared ports of a pod that listens at more than are steered.

use super::*;
use crate::testing::udp;

#[test]
fn a_declared_port_is_opened_however_many_others_are() {
    let Some(mut bench) = steered() else { return };
    let doors = [Protocol::Tcp, Protocol::Udp].map(|protocol| Door {
        port: 40_001,
        protocol,
        host: None,
    });
    let network = PodNetwork {
        doors: doors.to_vec(),
        ..PodNetwork::default()
    };
    let pod = bench.pod_with(1, network);
    let at = |address, port| at(address, port, [&pod, &pod]);
    let limit = u16::try_from(MAX_STEERED_PER_POD).unwrap();
    let all: Vec<_> = (1..=limit)
        .map(|port| listen(&pod, at("0.0.0.0", port)))
        .collect();
    let declared = listen(&pod, at("0.0.0.0", 40_001));
    let datagrams = udp(&pod, at("0.0.0.0", 40_001));
    TcpStream::connect(at("A", 40_001)).unwrap();
    bench.accept(&declared);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"who", at("A", 40_001)).unwrap();
    assert_eq!(bench.receive(&datagrams).0, b"who");
    let undeclared = listen(&pod, at("0.0.0.0", 40_002));
    assert!(refuses(at("A", 40_002)));
    assert_eq!(bench.notice().reason, "SteeringFailed");
    let told = bench.notices.try_recv();
    assert!(told.is_err(), "{told:?}");
    drop((all, undeclared));
}
