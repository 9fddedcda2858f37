//! Standard input and output.

use std::pin::pin;
use std::task::{Context, Waker};

use bytes::Bytes;
use model::runtime::Stream;

use super::*;
use crate::wasi::p1::abi::fdflags;
use crate::wasi::p1::errno::Errno;

const AGAIN: u32 = Errno::Again as u32;

/// The next output, which must be there.
async fn output(reports: &mut UnboundedReceiver<Report>) -> (Stream, Bytes) {
    match reports.recv().await {
        Some(Report::Output(chunk)) => (chunk.stream, chunk.bytes.clone()),
        other => panic!("no output: {other:?}"),
    }
}

#[tokio::test]
async fn input_is_read_as_it_comes_and_ends() {
    let mut probe = Pod::new().probe().await;
    assert!(probe.giver.give(Some("hello".into())).await);
    assert_eq!(probe.read(0, 3).await.unwrap(), b"hel");
    let [iovs, count] = probe.iovecs(&[(200, 1), (300, 10)]);
    probe.done("fd_read", &[i(0), iovs, count, i(0)]).await;
    assert_eq!(
        (probe.number(0), probe.get(200, 1), probe.get(300, 1)),
        (2, b"l".to_vec(), b"o".to_vec())
    );
    probe
        .done(
            "fd_fdstat_set_flags",
            &[i(0), i(u32::from(fdflags::NONBLOCK))],
        )
        .await;
    assert_eq!(probe.read(0, 3).await, Err(AGAIN));
    assert_eq!(probe.read(0, 0).await, Ok(Vec::new()));
    probe.done("fd_fdstat_set_flags", &[i(0), i(0)]).await;
    assert!(probe.giver.give(None).await);
    assert_eq!(probe.read(0, 3).await, Ok(Vec::new()));
    assert_eq!(probe.read(0, 3).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_read_that_waits_can_be_given_up() {
    let mut probe = Pod::new().probe().await;
    {
        let mut read = pin!(probe.read(0, 3));
        assert!(
            read.as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
    drop(probe);
}

#[tokio::test]
async fn output_arrives_whole_on_its_stream() {
    let mut probe = Pod::new().probe().await;
    assert_eq!(probe.write(2, b"oh").await, Ok(2));
    assert_eq!(
        output(&mut probe.reports).await,
        (Stream::Stderr, "oh".into())
    );
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (_, never) = unbounded_channel();
    let mut reports = std::mem::replace(&mut probe.reports, never);
    let drain = async {
        let mut seen = Vec::new();
        while seen.len() < bytes.len() {
            let (stream, chunk) = output(&mut reports).await;
            assert_eq!(stream, Stream::Stdout);
            seen.extend_from_slice(&chunk);
        }
        seen
    };
    let (written, seen) = tokio::join!(probe.write(1, &bytes), drain);
    assert_eq!(written, Ok(200_000));
    assert!(seen == bytes);
}

#[tokio::test]
async fn non_blocking_output_takes_what_there_is_room_for() {
    let mut probe = Pod::new().probe().await;
    probe
        .done(
            "fd_fdstat_set_flags",
            &[i(1), i(u32::from(fdflags::NONBLOCK))],
        )
        .await;
    let taken = probe.write(1, &[b'x'; 200_000]).await.unwrap();
    assert!((1..200_000).contains(&taken), "{taken}");
    assert_eq!(probe.write(1, b"y").await, Err(AGAIN));
    let (_, chunk) = output(&mut probe.reports).await;
    assert_eq!(chunk.len(), taken as usize);
    assert_eq!(probe.write(1, b"y").await, Ok(1));
}
