//! Without descriptors: in a process of its own, where the test runs a second time.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::testing::Bench;

/// Says that this process is that one.
const INSIDE: &str = "NET_STEER_DESCRIPTORS";

/// Room for a bench, and soon used up.
const FEW: u64 = 64;

#[test]
fn without_descriptors_what_waits_is_left_until_there_are_some() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let thread = std::thread::current();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", thread.name().unwrap(), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{out}{err}"
    );
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

    // Once there are descriptors the task goes on by itself.
    let kernel = bench.runtime.handle();
    let task = Task(kernel.spawn(door.accept()));
    let third = connect(third, at);
    drop(all);
    for client in [second, third] {
        assert_reset(client);
    }
    drop(task);
}

/// A door that nobody listens behind, so that what is accepted is reset.
fn door(bench: &Bench, listener: OwnedFd) -> Door {
    let pod = bench.pod(1);
    Door {
        spare: spare(&listener),
        told: false,
        listener: KernelSocket::watch(listener, bench.runtime.handle()).unwrap(),
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
