//! A block that is steered later than a plain door in it opens: in a process of its own, whose
//! descriptors are used up, and where the test runs a second time.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::testing::apart::apart;

/// Room for what the test opens, and soon used up.
const FEW: u64 = 64;

/// Who opened a plain door while steering failed for want of something is not shut out by whoever
/// it succeeds for.
#[test]
fn a_plain_door_gets_its_passage_when_its_block_is_steered() {
    if steered().is_none() || !apart(&[]) {
        return;
    }
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(FEW);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let steering = Steering::new(RANGE, &[Family::V4]);
    let (early, late) = (steering.lane(), steering.lane());
    let block = RANGE.block(620);
    let plain = tcp(block.pod(0), 18_080);
    let socket = TcpListener::bind(plain.at).unwrap();
    let all: Vec<_> = std::iter::from_fn(|| socket.try_clone().ok()).collect();
    early.open(plain, Way::Socket).unwrap();
    TcpStream::connect(plain.at).expect_err("no descriptor is left");
    let failed = late.open(tcp(block.pod(1), 80), Way::Listener).unwrap_err();
    assert!(
        matches!(failed, SteerError::Kernel { passes: true, .. }),
        "{failed}"
    );
    drop(all);
    TcpStream::connect(plain.at).unwrap();
    late.open(tcp(block.pod(1), 80), Way::Listener).unwrap();
    assert!(
        refuses(SocketAddr::new(plain.at.ip(), 18_081)),
        "it is steered"
    );
    TcpStream::connect(plain.at).expect("its passage");
    early.close(plain);
    assert!(refuses(plain.at), "its passage has gone");
}
