//! What a lane gives to a pod: places in the tables, and listeners.

use rustix::event::{PollFd, PollFlags, Timespec};

use super::*;

#[test]
fn one_pod_leaves_room_in_the_table_for_others() {
    if steered().is_none() {
        return;
    }
    let ([lane, _other], block) = two_lanes(630);
    let open = |pod, port| lane.open(tcp(block.pod(pod), port), Way::Listener);
    let limit = u16::try_from(MAX_STEERED_PER_POD).unwrap();
    for port in 1..=limit {
        open(0, port).unwrap();
    }
    let full = open(0, limit + 1).unwrap_err();
    assert!(matches!(full, SteerError::Full { .. }), "{full}");
    open(1, 1).unwrap();
    lane.close(tcp(block.pod(0), 1));
    open(0, limit + 1).unwrap();
}

/// A listener is one for a lane, however often it is asked for: it takes a port of the node.
#[test]
fn a_lane_has_one_listener_of_a_family() {
    if steered().is_none() {
        return;
    }
    let ([lane, other], _) = two_lanes(640);
    let local = |lane: &Lane| {
        let listeners = lane.listeners().unwrap();
        crate::kernel::local_address(&listeners[0].1).unwrap()
    };
    let first = local(&lane);
    assert_eq!(local(&lane), first);
    assert_ne!(local(&other), first);
}

/// A connection to an endpoint arrives at a listener: who connected.
fn arrives(at: SocketAddr, listener: &TcpListener) -> bool {
    let client = TcpStream::connect(at).unwrap();
    let patience = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let mut waiting = [PollFd::new(listener, PollFlags::IN)];
    rustix::event::poll(&mut waiting, Some(&patience)).unwrap();
    let arrived = listener.accept().map(|(_, peer)| peer);
    arrived.is_ok_and(|peer| peer == client.local_addr().unwrap())
}

#[test]
fn an_endpoint_can_have_a_listener_of_its_own_and_lose_it() {
    if steered().is_none() {
        return;
    }
    let ([lane, other], block) = two_lanes(650);
    let (mine, beside) = (tcp(block.pod(0), 80), tcp(block.pod(0), 81));
    let all = TcpListener::from(lane.listeners().unwrap().remove(0).1);
    lane.open(mine, Way::Listener).unwrap();
    lane.open(beside, Way::Listener).unwrap();
    assert!(arrives(mine.at, &all));
    let own = TcpListener::from(lane.single_out(mine).unwrap());
    assert!(arrives(mine.at, &own));
    assert!(arrives(beside.at, &all), "nobody else is led there");
    let again = lane.single_out(mine).err();
    assert_eq!(again, Some(SteerError::Taken(mine.at)));
    for (lane, endpoint) in [(&other, mine), (&lane, tcp(block.pod(1), 80))] {
        let foreign = lane.single_out(endpoint).err();
        let ip = endpoint.at.ip();
        assert_eq!(foreign, Some(SteerError::Foreign(ip)), "not open there");
        lane.rejoin(endpoint);
    }
    assert!(arrives(mine.at, &own), "it is nobody else's to take back");
    lane.rejoin(mine);
    assert!(arrives(mine.at, &all));
    drop(own);
    assert!(arrives(mine.at, &all));
    let own = TcpListener::from(lane.single_out(mine).unwrap());
    lane.close(mine);
    assert!(refuses(mine.at));
    lane.open(mine, Way::Listener).unwrap();
    assert!(arrives(mine.at, &all), "it begins anew");
    drop(own);
    assert!(arrives(mine.at, &all));
}

#[test]
fn so_many_ports_of_a_pod_have_a_listener_of_their_own() {
    if steered().is_none() {
        return;
    }
    let ([lane, _other], block) = two_lanes(660);
    let limit = u16::try_from(MAX_QUEUES_PER_POD).unwrap();
    let single_out = |pod, port| {
        let endpoint = tcp(block.pod(pod), port);
        lane.open(endpoint, Way::Listener).unwrap();
        lane.single_out(endpoint).map(drop)
    };
    for port in 1..=limit {
        single_out(0, port).unwrap();
    }
    let full = single_out(0, limit + 1).unwrap_err();
    assert!(matches!(full, SteerError::Full { .. }), "{full}");
    single_out(1, 1).unwrap();
    lane.close(tcp(block.pod(0), 1));
    single_out(0, limit + 2).unwrap();
}
