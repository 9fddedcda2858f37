//! Prints what a connection in memory does: `cargo test -p net  -- --ignored --nocapture speed`.
//!
//! No assertion about time: the bench `localhost` has the promises, this is for whoever changes
//! the pipe.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::TcpStream;
use crate::error::NetError;
use crate::testing::{Bench, listen};

const ROUNDS: usize = 200_000;
const TOTAL: usize = 4 << 30;
const WRITE: usize = 64 * 1024;

fn pair(bench: &Bench) -> (TcpStream, TcpStream) {
    let pod = bench.pod(1);
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    let listener = listen(&pod, address);
    let client = bench.connect(&pod, address).unwrap();
    let server = bench.accept(&listener);
    (client, server.stream().unwrap().clone())
}

async fn read(stream: &TcpStream, buffer: &mut [u8]) -> usize {
    loop {
        match stream.try_read(buffer) {
            Err(NetError::WouldBlock) => {
                std::future::poll_fn(|cx| stream.poll_read_ready(cx)).await
            }
            other => return other.unwrap(),
        }
    }
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(NetError::WouldBlock) => {
                std::future::poll_fn(|cx| stream.poll_write_ready(cx)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn echo(stream: TcpStream) {
    let mut buffer = [0; 64];
    loop {
        match read(&stream, &mut buffer).await {
            0 => return,
            count => write(&stream, &buffer[..count]).await,
        }
    }
}

async fn ping(stream: TcpStream) -> Vec<Duration> {
    let (message, mut buffer) = ([7; 64], [0; 64]);
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        write(&stream, &message).await;
        assert_eq!(read(&stream, &mut buffer).await, 64);
        times.push(start.elapsed());
    }
    times
}

async fn drain(stream: TcpStream, as_bytes: bool) -> usize {
    let (mut buffer, mut total) = (vec![0; WRITE], 0);
    loop {
        let count = if as_bytes {
            match stream.try_read_bytes(WRITE) {
                Err(NetError::WouldBlock) => {
                    std::future::poll_fn(|cx| stream.poll_read_ready(cx)).await;
                    continue;
                }
                other => other.unwrap().len(),
            }
        } else {
            read(&stream, &mut buffer).await
        };
        if count == 0 {
            return total;
        }
        total += count;
    }
}

async fn fill(stream: TcpStream) {
    let bytes = vec![7; WRITE];
    for _ in 0..TOTAL / WRITE {
        write(&stream, &bytes).await;
    }
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// Runs `left` here and `right` on this thread or another, each in a runtime of its own.
fn run<L: Send, R: Send>(
    threads: usize,
    left: impl Future<Output = L> + Send,
    right: impl Future<Output = R> + Send,
) -> (L, R) {
    if threads == 1 {
        return one_thread().block_on(async { tokio::join!(left, right) });
    }
    std::thread::scope(|scope| {
        let right = scope.spawn(|| one_thread().block_on(right));
        (one_thread().block_on(left), right.join().unwrap())
    })
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 1000];
    println!(
        "{name}: p50 {:?}, p90 {:?}, p99 {:?}",
        at(500),
        at(900),
        at(990)
    );
}

/// The least a pipe of owned chunks can be: one allocation per write, one queue, one lock.
#[derive(Default)]
struct Chunks {
    queue: VecDeque<Vec<u8>>,
    length: usize,
    closed: bool,
    waiting: Vec<Waker>,
}

fn chunked(threads: usize) -> Duration {
    let chunks = Arc::new(Mutex::new(Chunks::default()));
    let (from, to) = (Arc::clone(&chunks), chunks);
    let wait = |cx: &mut Context<'_>, chunks: &mut Chunks| {
        chunks.waiting.push(cx.waker().clone());
    };
    let source = vec![7u8; WRITE];
    let start = Instant::now();
    let writer = async move {
        for _ in 0..TOTAL / WRITE {
            let mut chunk = Some(source.clone());
            std::future::poll_fn(|cx| {
                let mut chunks = to.lock().unwrap();
                if chunks.length >= crate::limits::PIPE_CAPACITY {
                    wait(cx, &mut chunks);
                    return Poll::Pending;
                }
                chunks.length += WRITE;
                chunks.queue.push_back(chunk.take().unwrap());
                chunks.waiting.drain(..).for_each(Waker::wake);
                Poll::Ready(())
            })
            .await;
        }
        let mut chunks = to.lock().unwrap();
        chunks.closed = true;
        chunks.waiting.drain(..).for_each(Waker::wake);
    };
    let reader = async move {
        let (mut buffer, mut total) = (vec![0; WRITE], 0);
        while let Some(chunk) = std::future::poll_fn(|cx| {
            let mut chunks = from.lock().unwrap();
            let next = chunks.queue.pop_front();
            if next.is_none() && !chunks.closed {
                wait(cx, &mut chunks);
                return Poll::Pending;
            }
            chunks.length -= next.as_ref().map_or(0, Vec::len);
            chunks.waiting.drain(..).for_each(Waker::wake);
            Poll::Ready(next)
        })
        .await
        {
            buffer[..chunk.len()].copy_from_slice(&chunk);
            total += chunk.len();
        }
        assert_eq!(total, TOTAL);
    };
    run(threads, reader, writer);
    start.elapsed()
}

#[test]
#[ignore = "prints numbers and takes seconds"]
fn speed() {
    let rate = |time: Duration| TOTAL as f64 / time.as_secs_f64() / f64::from(1 << 30);
    for threads in [1, 2] {
        let bench = Bench::new();
        let (client, server) = pair(&bench);
        let (times, ()) = run(threads, ping(client), echo(server));
        report(&format!("64 B round trip, {threads} thread(s)"), times);
        for as_bytes in [false, true] {
            let bench = Bench::new();
            let (client, server) = pair(&bench);
            let start = Instant::now();
            let (total, ()) = run(threads, drain(server, as_bytes), fill(client));
            assert_eq!(total, TOTAL);
            let kind = if as_bytes {
                "read as Bytes"
            } else {
                "read into a buffer"
            };
            let rate = rate(start.elapsed());
            println!("64 KiB writes, {kind}, {threads} thread(s): {rate:.2} GiB/s");
        }
        println!(
            "64 KiB writes, one allocation per write (for comparison), {threads} thread(s): {:.2} GiB/s",
            rate(chunked(threads))
        );
    }
}
