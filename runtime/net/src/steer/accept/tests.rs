//! Without descriptors: in a process of its own, where the test runs a second time.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::testing::Bench;
use crate::testing::apart::apart;

/// Room for a bench, and soon used up.
const FEW: u64 = 64;

#[test]
fn without_descriptors_what_waits_is_left_until_there_are_some() {
    if apart(&[]) {
        inside();
    }
}

fn inside() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(FEW);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let bench = Bench::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let mut door = door(&bench, listener.into());
    let clients = [(); 3].map(|()| {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        socket.unwrap()
    });
    let mut all = take_all(&door.listener);

    // With a spare descriptor what waits is refused, and the spare is there again.
    let [first, second, third] = clients;
    let first = connect(first, at);
    assert_eq!(door.accept_some(), Turn::Next);
    assert_reset(first);
    all.extend(take_all(&door.listener));
    assert!(door.spare.is_some() && door.told);

    // Without one nothing can be done, however often it is tried.
    door.spare = None;
    all.extend(take_all(&door.listener));
    let second = connect(second, at);
    for _ in 0..3 {
        assert_eq!(door.accept_some(), Turn::Rest);
        assert!(door.told && door.spare.is_none());
    }

    // A connection that a pod gives back wakes the task, long before it would try again.
    let pod = bench.pod(2);
    let share = pod.pod.kernel_slot().unwrap();
    door.rest = Duration::from_secs(3600);
    let task = Task(bench.runtime.handle().spawn(door.accept()));
    let third = connect(third, at);
    let descriptors = all.split_off(2);
    drop(all);
    drop(share);
    for client in [second, third] {
        assert_reset(client);
    }
    drop((task, descriptors));
}

#[test]
fn what_others_give_back_is_found_after_a_rest() {
    if !apart(&[]) {
        return;
    }
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(FEW);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let bench = Bench::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let mut door = door(&bench, listener.into());
    let client = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    door.spare = None;
    let all = take_all(&door.listener);
    let client = connect(client, at);
    assert_eq!(door.accept_some(), Turn::Rest);
    let task = Task(bench.runtime.handle().spawn(door.accept()));
    // A file, of which nobody here is told.
    drop(all);
    assert_reset(client);
    drop(task);
}

/// A door that nobody listens behind, so that what is accepted is reset.
fn door(bench: &Bench, listener: OwnedFd) -> Door {
    let pod = bench.pod(1);
    Door {
        spare: spare(&listener),
        told: false,
        listener: KernelSocket::watch(listener, bench.runtime.handle()).unwrap(),
        rest: ACCEPT_REST,
        freed: Arc::clone(&pod.pod.fabric.freed),
        fabric: Arc::downgrade(&pod.pod.fabric),
    }
}

/// Every descriptor that is left.
fn take_all(of: impl AsFd) -> Vec<OwnedFd> {
    std::iter::from_fn(|| spare(&of)).collect()
}

fn connect(socket: OwnedFd, to: SocketAddr) -> TcpStream {
    rustix::net::connect(&socket, &to).unwrap();
    socket.into()
}

fn assert_reset(mut client: TcpStream) {
    let end = client.read(&mut [0]).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
}
