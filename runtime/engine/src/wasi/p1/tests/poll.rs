//! Waiting for several things at once.

use std::pin::pin;
use std::task::{Context, Waker};

use super::sockets::{PORTS, accepted, connect};
use super::*;
use crate::wasi::p1::abi::{EVENT, SUBSCRIPTION, oflags, rights};
use crate::wasi::p1::errno::Errno;

/// What to wait for.
#[derive(Clone, Copy)]
enum To {
    /// Clock, nanoseconds, whether they are a point in time.
    Clock(u32, u64, bool),
    Read(u32),
    Write(u32),
    /// A type that there is not.
    Nothing,
}

/// An event: number of the subscription, error, type, bytes, flags.
type Seen = (u64, u16, u8, u64, u16);

/// Far enough away never to happen.
const NEVER: To = To::Clock(1, u64::MAX, false);

fn subscription(userdata: u64, to: To) -> [u8; SUBSCRIPTION] {
    let mut bytes = [0; SUBSCRIPTION];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    let (kind, word) = match to {
        To::Clock(id, timeout, absolute) => {
            bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
            bytes[40] = u8::from(absolute);
            (0, id)
        }
        To::Read(fd) => (1, fd),
        To::Write(fd) => (2, fd),
        To::Nothing => (3, 0),
    };
    bytes[8] = kind;
    bytes[16..20].copy_from_slice(&word.to_le_bytes());
    bytes
}

/// Polls; the subscriptions lie at 8 KiB, the events at 64 KiB.
async fn poll(probe: &mut Probe, to: &[To]) -> Result<Vec<Seen>, u32> {
    for (n, to) in (0..).zip(to) {
        probe.put(8192 + n * 48, &subscription(u64::from(n), *to));
    }
    let count = u32::try_from(to.len()).unwrap();
    match probe
        .call("poll_oneoff", &[i(8192), i(1 << 16), i(count), i(0)])
        .await
    {
        0 => Ok((0..probe.number(0))
            .map(|n| seen(&probe.get((1 << 16) + n * 32, EVENT)))
            .collect()),
        errno => Err(errno),
    }
}

fn seen(event: &[u8]) -> Seen {
    let long = |at: usize| u64::from_le_bytes(event[at..at + 8].try_into().unwrap());
    let short = |at: usize| u16::from_le_bytes(event[at..at + 2].try_into().unwrap());
    (long(0), short(8), event[10], long(16), short(24))
}

#[tokio::test]
async fn clocks_ring() {
    let mut probe = Pod::new().probe().await;
    let rung = |n| (n, 0, 0, 0, 0);
    for clock in [
        To::Clock(0, 1_000_000, false),
        To::Clock(1, 1_000_000, false),
        To::Clock(0, 1, true),
        To::Clock(1, 1, true),
        To::Clock(1, 0, false),
    ] {
        assert_eq!(
            poll(&mut probe, &[NEVER, clock, NEVER]).await,
            Ok(vec![rung(1)])
        );
    }
    let both = [To::Clock(1, 0, false), To::Clock(0, 0, false)];
    assert_eq!(poll(&mut probe, &both).await, Ok(vec![rung(0), rung(1)]));
    probe.done("clock_time_get", &[i(0), l(0), i(200)]).await;
    let soon = To::Clock(0, probe.long(200) + 2_000_000, true);
    assert_eq!(poll(&mut probe, &[soon]).await, Ok(vec![rung(0)]));
    probe.done("clock_time_get", &[i(0), l(0), i(208)]).await;
    assert!(probe.long(208) >= probe.long(200) + 2_000_000);
}

#[tokio::test]
async fn what_cannot_be_waited_for_is_an_event_with_an_error() {
    let mut probe = Pod::new().probe().await;
    let failed = |n, errno: Errno, kind| (n, errno.number(), kind, 0, 0);
    let to = [
        To::Read(77),
        NEVER,
        To::Write(0),
        To::Read(1),
        To::Clock(2, 0, false),
        To::Clock(9, 0, false),
    ];
    let expected = vec![
        failed(0, Errno::Badf, 1),
        failed(2, Errno::Badf, 2),
        failed(3, Errno::Badf, 1),
        failed(4, Errno::Notsup, 0),
        failed(5, Errno::Inval, 0),
    ];
    assert_eq!(poll(&mut probe, &to).await, Ok(expected));
}

#[tokio::test]
async fn calls_that_make_no_sense_are_refused() {
    let mut probe = Pod::new().probe().await;
    assert_eq!(
        poll(&mut probe, &[]).await,
        Err(u32::from(Errno::Inval.number()))
    );
    assert_eq!(
        poll(&mut probe, &[To::Nothing]).await,
        Err(u32::from(Errno::Inval.number()))
    );
    for (args, expected) in [
        ([i(0), i(0), i(4097), i(0)], Errno::Inval),
        ([i(MEMORY - 47), i(0), i(1), i(0)], Errno::Fault),
        ([i(0), i(MEMORY - 31), i(1), i(0)], Errno::Fault),
        ([i(0), i(0), i(1), i(MEMORY - 3)], Errno::Fault),
    ] {
        assert_eq!(
            probe.call("poll_oneoff", &args).await,
            u32::from(expected.number()),
            "{args:?}"
        );
    }
}

#[tokio::test]
async fn files_are_always_ready_and_tell_what_is_left() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    std::fs::write(pod.data().join("file"), "12345").unwrap();
    let fd = probe
        .open("data/file", 0, rights::FD_READ | rights::FD_WRITE, 0)
        .await
        .unwrap();
    let new = probe
        .open("data/new", oflags::CREAT, rights::FD_READ, 0)
        .await
        .unwrap();
    probe.read(fd, 2).await.unwrap();
    let to = [
        NEVER,
        To::Read(fd),
        To::Write(fd),
        To::Read(new),
        To::Read(ROOT),
    ];
    let expected = vec![
        (1, 0, 1, 3, 0),
        (2, 0, 2, 1, 0),
        (3, 0, 1, 0, 1),
        (4, 0, 1, 0, 0),
    ];
    assert_eq!(poll(&mut probe, &to).await, Ok(expected));
}

#[tokio::test]
async fn standard_streams_wake_whoever_waits() {
    let mut probe = Pod::new().probe().await;
    let written = poll(&mut probe, &[NEVER, To::Write(1), To::Write(2)])
        .await
        .unwrap();
    assert_eq!(
        written.iter().map(|event| event.0).collect::<Vec<_>>(),
        [1, 2]
    );
    assert!(written.iter().all(|event| event.3 > 0 && event.4 == 0));
    {
        // Twice the same stream, and nothing there yet.
        let mut waiting = pin!(poll(&mut probe, &[To::Read(0), NEVER, To::Read(0)]));
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
    assert!(probe.giver.give(Some("hello".into())).await);
    let there = poll(&mut probe, &[To::Read(0), NEVER, To::Read(0)]).await;
    assert_eq!(there, Ok(vec![(0, 0, 1, 5, 0), (2, 0, 1, 5, 0)]));
    assert_eq!(probe.read(0, 100).await.unwrap(), b"hello");
    assert!(probe.giver.give(None).await);
    assert_eq!(
        poll(&mut probe, &[To::Read(0), NEVER]).await,
        Ok(vec![(0, 0, 1, 0, 1)])
    );
}

#[tokio::test]
async fn a_listener_is_bound_by_the_first_poll_and_wakes() {
    let pod = Pod::new();
    let mut probe = pod
        .start(Start {
            ports: &PORTS,
            ..Start::default()
        })
        .await;
    {
        let mut waiting = pin!(poll(&mut probe, &[To::Read(LISTENER), NEVER]));
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        let _other = connect(&pod).unwrap();
        assert_eq!(waiting.await, Ok(vec![(0, 0, 1, 1, 0)]));
    }
    let mut second = pod
        .start(Start {
            ports: &PORTS,
            ..Start::default()
        })
        .await;
    let in_use = (0, Errno::Addrinuse.number(), 1, 0, 0);
    assert_eq!(
        poll(&mut second, &[To::Read(LISTENER), NEVER]).await,
        Ok(vec![in_use])
    );
}

#[tokio::test]
async fn connections_tell_their_bytes_and_their_end() {
    let pod = Pod::new();
    let (mut probe, fd, other) = accepted(&pod).await;
    let writable = poll(&mut probe, &[To::Read(fd), To::Write(fd), To::Read(0)])
        .await
        .unwrap();
    assert_eq!(
        writable.iter().map(|event| event.0).collect::<Vec<_>>(),
        [1]
    );
    {
        let to = [To::Read(fd), To::Read(0), To::Read(LISTENER), NEVER];
        let mut waiting = pin!(poll(&mut probe, &to));
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        other.try_write(b"hello").unwrap();
        assert_eq!(waiting.await, Ok(vec![(0, 0, 1, 5, 0)]));
    }
    assert_eq!(probe.read(fd, 100).await.unwrap(), b"hello");
    drop(other);
    assert_eq!(
        poll(&mut probe, &[To::Read(fd), NEVER]).await,
        Ok(vec![(0, 0, 1, 0, 1)])
    );
}
