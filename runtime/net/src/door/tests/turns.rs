//! Who is accepted next, where many wait in several places.

use super::*;
use crate::stream::Link;
use crate::{HostTarget, NetError};

/// Where connections wait in memory and behind a door, each has its turn.
#[test]
fn a_crowd_in_memory_does_not_shut_the_door() {
    let bench = Bench::new();
    let published = spare(&bench);
    let pod = pod_with_doors(&bench, vec![door(8080, Protocol::Tcp, Some(published))]);
    let listener = listen(&pod, at("0.0.0.0", 8080, [&pod, &pod]));
    let _inside = [(); 4].map(|()| pod.connect_from_host(8080, HostTarget::PodIp).unwrap());
    let _outside = [(); 2].map(|()| TcpStream::connect(published).unwrap());
    let from_outside = [(); 6].map(|()| {
        let server = bench.accept(&listener);
        matches!(server.stream().unwrap().link(), Link::Kernel(_))
    });
    assert_eq!(from_outside, [false, true, false, true, false, false]);
    let nobody = listener.try_accept().map(drop);
    assert_eq!(nobody, Err(NetError::WouldBlock));
}

#[test]
fn a_crowd_at_one_door_does_not_shut_the_others() {
    for is_first in [true, false] {
        let bench = Bench::new();
        let busy = spare(&bench);
        let quiet = SocketAddr::new(busy.ip(), busy.port() + 1);
        let published = if is_first {
            [busy, quiet]
        } else {
            [quiet, busy]
        };
        let doors = published.map(|host| door(8080, Protocol::Tcp, Some(host)));
        let pod = pod_with_doors(&bench, doors.to_vec());
        let listener = listen(&pod, at("0.0.0.0", 8080, [&pod, &pod]));
        let _crowd = [(); 4].map(|()| TcpStream::connect(busy).unwrap());
        let client = TcpStream::connect(quiet).unwrap();
        let port = client.local_addr().unwrap().port();
        let accepted = [(); 2].map(|()| bench.accept(&listener));
        let ports = accepted.map(|server| server.remote_address().unwrap().port());
        assert!(ports.contains(&port), "{is_first}");
    }
}
