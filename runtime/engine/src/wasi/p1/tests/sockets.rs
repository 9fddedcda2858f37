//! Listeners and connections.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};

use net::{Family, HostTarget, NetError, TcpStream};

use super::*;
use crate::wasi::p1::abi::fdflags;
use crate::wasi::p1::errno::Errno;

/// A declared port.
pub(super) const PORTS: [(&str, u16, Protocol); 1] = [("http", 8080, Protocol::Tcp)];

/// The preopened directory, after the listener.
const DIRECTORY: u32 = LISTENER + 1;

const NONBLOCK: u32 = fdflags::NONBLOCK as u32;

const AGAIN: u32 = Errno::Again as u32;

/// A connection to the port from outside.
pub(super) fn connect(pod: &Pod) -> Result<TcpStream, NetError> {
    pod.net.connect_from_host(PORTS[0].1, HostTarget::Localhost)
}

/// What the other end of a connection reads next.
async fn hear(stream: &TcpStream) -> Vec<u8> {
    poll_fn(|cx| stream.poll_read_ready(cx)).await;
    let mut buffer = [0; 64];
    let read = stream.try_read(&mut buffer).unwrap();
    buffer[..read].to_vec()
}

/// A guest that has accepted a connection, its descriptor and the other end.
pub(super) async fn accepted(pod: &Pod) -> (Probe, u32, TcpStream) {
    let mut probe = pod
        .start(Start {
            ports: &PORTS,
            ..Start::default()
        })
        .await;
    probe
        .done("fd_fdstat_set_flags", &[i(LISTENER), i(NONBLOCK)])
        .await;
    assert_eq!(
        probe.call("sock_accept", &[i(LISTENER), i(0), i(0)]).await,
        AGAIN
    );
    let other = connect(pod).unwrap();
    probe.done("sock_accept", &[i(LISTENER), i(0), i(0)]).await;
    let fd = probe.number(0);
    (probe, fd, other)
}

/// Receives to 64 KiB on.
async fn receive(
    probe: &mut Probe,
    fd: u32,
    parts: &[(u32, u32)],
    flags: u32,
) -> Result<Vec<u8>, u32> {
    let [iovs, count] = probe.iovecs(parts);
    match probe
        .call("sock_recv", &[i(fd), iovs, count, i(flags), i(0), i(4)])
        .await
    {
        0 => Ok(probe.get(1 << 16, probe.number(0) as usize)),
        errno => Err(errno),
    }
}

#[tokio::test]
async fn a_port_is_bound_when_it_is_first_accepted_from() {
    let pod = Pod::new();
    let mut probe = pod
        .start(Start {
            ports: &PORTS,
            ..Start::default()
        })
        .await;
    probe.done("fd_fdstat_get", &[i(LISTENER), i(0)]).await;
    assert_eq!(probe.get(0, 1), [6]);
    assert_eq!(connect(&pod).unwrap_err(), NetError::ConnectionRefused);
    let accept = async {
        let errno = probe.call("sock_accept", &[i(LISTENER), i(0), i(0)]).await;
        (errno, probe.number(0))
    };
    let dial = async {
        loop {
            match connect(&pod) {
                Ok(stream) => return stream,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let ((errno, fd), other) = tokio::join!(accept, dial);
    assert_eq!((errno, fd), (0, DIRECTORY + 1));
    assert_eq!(other.try_write(b"hello"), Ok(5));
    assert_eq!(probe.read(fd, 100).await.unwrap(), b"hello");
    assert_eq!(probe.write(fd, b"world").await, Ok(5));
    assert_eq!(hear(&other).await, b"world");
}

#[tokio::test]
async fn who_looks_for_directories_passes_over_the_listeners() {
    let pod = Pod::new();
    let (mut probe, fd, _other) = accepted(&pod).await;
    for (fd, told) in [
        (LISTENER, [1, 0, 0, 0, 0, 0, 0, 0]),
        (DIRECTORY, [0, 0, 0, 0, 1, 0, 0, 0]),
    ] {
        probe.done("fd_prestat_get", &[i(fd), i(0)]).await;
        assert_eq!(probe.get(0, 8), told, "{fd}");
        let length = u32::from(told[4]);
        probe
            .done("fd_prestat_dir_name", &[i(fd), i(0), i(length)])
            .await;
    }
    assert_eq!(
        probe.call("fd_prestat_get", &[i(fd), i(0)]).await,
        u32::from(Errno::Badf.number())
    );
}

#[tokio::test]
async fn a_port_in_use_is_told_by_accept_until_it_is_free() {
    let pod = Pod::new();
    let mut holder = pod.net.tcp(Family::V4).unwrap();
    holder
        .bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORTS[0].1)))
        .unwrap();
    holder.listen().await.unwrap();
    let mut probe = pod
        .start(Start {
            ports: &PORTS,
            ..Start::default()
        })
        .await;
    probe
        .done("fd_fdstat_set_flags", &[i(LISTENER), i(NONBLOCK)])
        .await;
    let accept = [i(LISTENER), i(0), i(0)];
    assert_eq!(
        probe.call("sock_accept", &accept).await,
        u32::from(Errno::Addrinuse.number())
    );
    drop(holder);
    assert_eq!(probe.call("sock_accept", &accept).await, AGAIN);
    assert!(connect(&pod).is_ok());
    probe.done("fd_close", &[i(LISTENER)]).await;
    assert_eq!(connect(&pod).unwrap_err(), NetError::ConnectionRefused);
}

#[tokio::test]
async fn bytes_are_looked_at_awaited_and_read() {
    let pod = Pod::new();
    let (mut probe, fd, other) = accepted(&pod).await;
    other.try_write(b"abcd").unwrap();
    let parts = [(1 << 16, 2), ((1 << 16) + 2, 4)];
    assert_eq!(receive(&mut probe, fd, &parts, 1).await.unwrap(), b"ab");
    assert_eq!(receive(&mut probe, fd, &parts, 0).await.unwrap(), b"abcd");
    probe
        .done("fd_fdstat_set_flags", &[i(fd), i(NONBLOCK)])
        .await;
    assert_eq!(receive(&mut probe, fd, &parts, 0).await, Err(AGAIN));
    assert_eq!(receive(&mut probe, fd, &parts, 2).await, Err(AGAIN));
    probe.done("fd_fdstat_set_flags", &[i(fd), i(0)]).await;
    other.try_write(b"ef").unwrap();
    let more = async { other.try_write(b"ghij") };
    let (whole, _) = tokio::join!(receive(&mut probe, fd, &parts, 2), more);
    assert_eq!(whole.unwrap(), b"efghij");
    assert_eq!(probe.get(4, 2), [0, 0]);
    // Waiting for all ends with the stream.
    other.try_write(b"k").unwrap();
    drop(other);
    assert_eq!(receive(&mut probe, fd, &parts, 2).await.unwrap(), b"k");
    assert_eq!(receive(&mut probe, fd, &parts, 0).await.unwrap(), b"");
}

#[tokio::test]
async fn more_is_sent_than_fits_at_once() {
    let pod = Pod::new();
    let (mut probe, fd, other) = accepted(&pod).await;
    let length = 900_000;
    let [iovs, count] = probe.iovecs(&[(0, length)]);
    let args = [i(fd), iovs, count, i(0), i(0)];
    let drain = async {
        let mut seen = 0;
        let mut buffer = vec![0; 64 << 10];
        while seen < length as usize {
            poll_fn(|cx| other.poll_read_ready(cx)).await;
            seen += other.try_read(&mut buffer).unwrap_or(0);
        }
        seen
    };
    let (errno, seen) = tokio::join!(probe.call("sock_send", &args), drain);
    assert_eq!((errno, seen, probe.number(0)), (0, length as usize, length));
    // Non-blocking, it takes what fits and then nothing.
    probe
        .done("fd_fdstat_set_flags", &[i(fd), i(NONBLOCK)])
        .await;
    probe.iovecs(&[(0, length)]);
    probe.done("sock_send", &args).await;
    assert!((1..length).contains(&probe.number(0)));
    probe.iovecs(&[(0, length)]);
    assert_eq!(probe.call("sock_send", &args).await, AGAIN);
}

#[tokio::test]
async fn ends_are_told_to_both_sides() {
    let pod = Pod::new();
    let (mut probe, fd, other) = accepted(&pod).await;
    probe.done("sock_shutdown", &[i(fd), i(2)]).await;
    assert_eq!(hear(&other).await, b"");
    assert_eq!(
        probe.write(fd, b"x").await,
        Err(u32::from(Errno::Pipe.number()))
    );
    other.try_write(b"still").unwrap();
    assert_eq!(probe.read(fd, 100).await.unwrap(), b"still");
    probe.done("fd_renumber", &[i(fd), i(0)]).await;
    probe.done("fd_close", &[i(0)]).await;
    assert!(other.try_write(b"x").is_err());
}

#[tokio::test]
async fn a_socket_call_wants_the_right_descriptor() {
    let pod = Pod::new();
    let (mut probe, fd, _other) = accepted(&pod).await;
    let receive = |fd| vec![i(fd), i(16), i(0), i(0), i(0), i(4)];
    for (name, args, expected) in [
        ("sock_accept", vec![i(fd), i(0), i(0)], Errno::Inval),
        ("sock_accept", vec![i(0), i(0), i(0)], Errno::Notsock),
        ("sock_accept", vec![i(DIRECTORY), i(0), i(0)], Errno::Badf),
        ("sock_accept", vec![i(LISTENER), i(1), i(0)], Errno::Inval),
        (
            "sock_accept",
            vec![i(LISTENER), i(0), i(MEMORY)],
            Errno::Fault,
        ),
        ("sock_recv", receive(LISTENER), Errno::Notconn),
        ("sock_recv", receive(1), Errno::Notsock),
        (
            "sock_recv",
            vec![i(fd), i(16), i(0), i(4), i(0), i(4)],
            Errno::Inval,
        ),
        (
            "sock_send",
            vec![i(fd), i(16), i(0), i(1), i(0)],
            Errno::Inval,
        ),
        ("sock_shutdown", vec![i(LISTENER), i(1)], Errno::Notconn),
        ("sock_shutdown", vec![i(fd), i(0)], Errno::Inval),
        ("sock_shutdown", vec![i(fd), i(4)], Errno::Inval),
        ("sock_shutdown", vec![i(99), i(1)], Errno::Badf),
        (
            "fd_read",
            vec![i(LISTENER), i(16), i(0), i(0)],
            Errno::Notconn,
        ),
        (
            "fd_pread",
            vec![i(fd), i(16), i(0), l(0), i(0)],
            Errno::Spipe,
        ),
        ("fd_tell", vec![i(fd), i(0)], Errno::Spipe),
        ("fd_sync", vec![i(fd)], Errno::Inval),
    ] {
        assert_eq!(
            probe.call(name, &args).await,
            u32::from(expected.number()),
            "{name} {args:?}"
        );
    }
    probe.done("fd_filestat_get", &[i(fd), i(200)]).await;
    assert_eq!(probe.get(216, 1), [6]);
    probe
        .done("fd_fdstat_set_flags", &[i(fd), i(NONBLOCK)])
        .await;
    probe.done("fd_fdstat_get", &[i(fd), i(200)]).await;
    assert_eq!(probe.number(202) & 0xffff, NONBLOCK);
}
