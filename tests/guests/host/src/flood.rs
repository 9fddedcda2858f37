//! Too much of everything.

use std::io::{self, Write};
use std::time::Duration;

use case::Args;

const MIB: usize = 1024 * 1024;

pub(crate) fn log(args: &Args) -> io::Result<()> {
    let total = args.number(0, 1_usize)? * MIB;
    let mut line = vec![b'x'; args.number(1, 100_usize)?.max(1)];
    if let Some(last) = line.last_mut() {
        *last = b'\n';
    }
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout());
    let mut written = 0;
    while written < total {
        out.write_all(&line)?;
        written += line.len();
    }
    out.flush()?;
    println!("logged {written}");
    Ok(())
}

pub(crate) fn line(args: &Args) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(&vec![b'y'; args.number(0, 1)?])?;
    out.flush()
}

pub(crate) fn bytes(_: &Args) -> io::Result<()> {
    let all: Vec<u8> = (0..=255).collect();
    let mut out = io::stdout();
    out.write_all(&all)?;
    out.write_all(b"\n\x1b[2J\x1b]0;owned\x07after\n")
}

#[cfg(target_env = "p2")]
fn random_bytes(count: usize) -> usize {
    wasip2::random::random::get_random_bytes(count as u64).len()
}

/// Without bindings of preview 1 by hand, std's only way to random bytes is the seed of its maps.
#[cfg(not(target_env = "p2"))]
fn random_bytes(count: usize) -> usize {
    use std::hash::{BuildHasher, RandomState};
    let seeds = count.div_ceil(16);
    std::hint::black_box((0..seeds).fold(0, |sum, _| sum ^ RandomState::new().hash_one(sum)));
    seeds * 16
}

pub(crate) fn random(args: &Args) -> io::Result<()> {
    let total = args.number(0, 1_usize)? * MIB;
    let call = args.number(1, MIB)?;
    let mut got = 0;
    while got < total {
        got += random_bytes(call);
    }
    println!("random_bytes {got}");
    Ok(())
}

#[cfg(target_env = "p2")]
fn timers_of(count: usize) -> Vec<wasip2::io::poll::Pollable> {
    use wasip2::clocks::monotonic_clock::subscribe_duration;
    (0..count)
        .map(|_| subscribe_duration(3_600_000_000_000))
        .collect()
}

#[cfg(target_env = "p2")]
pub(crate) fn pollables(args: &Args) -> io::Result<()> {
    let pollables = timers_of(args.number(0, 10_000_000)?);
    println!("pollables {}", pollables.len());
    Ok(())
}

#[cfg(target_env = "p2")]
pub(crate) fn poll(args: &Args) -> io::Result<()> {
    let mut pollables = timers_of(args.number(0, 1000)?);
    pollables.push(wasip2::clocks::monotonic_clock::subscribe_duration(1));
    let borrowed: Vec<_> = pollables.iter().collect();
    let ready = wasip2::io::poll::poll(&borrowed);
    println!("poll ready {ready:?}");
    Ok(())
}

#[cfg(not(target_env = "p2"))]
pub(crate) fn pollables(_: &Args) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_env = "p2"))]
pub(crate) fn poll(_: &Args) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn timers(args: &Args) -> io::Result<()> {
    let count = args.number(0, 100_000_u64)?;
    for _ in 0..count {
        std::thread::sleep(Duration::from_nanos(1));
    }
    println!("timers {count}");
    Ok(())
}
