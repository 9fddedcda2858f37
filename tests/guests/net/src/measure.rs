//! Times and rates, measured inside the guest.

use std::io::{self, Read, Write};
use std::time::Instant;

use case::Args;

use crate::serve::listen;
use crate::tcp::reach;

/// Round trips before the first that counts: connection, caches and the scheduler settle.
const WARM_UP: usize = 200;
const BUFFER: usize = 256 * 1024;
const MIB: usize = 1024 * 1024;

pub(crate) fn round_trips(args: &Args) -> io::Result<()> {
    let mut stream = reach(args.text(0)?)?;
    stream.set_nodelay(true)?;
    let count = args.number(1, 10_000_usize)?;
    let mut message = vec![5; args.number(2, 64)?];
    let mut times = Vec::with_capacity(count);
    for round in 0..count + WARM_UP {
        let start = Instant::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        if round >= WARM_UP {
            times.push(start.elapsed().as_nanos());
        }
    }
    times.sort_unstable();
    println!("round_trips {count} of {} bytes", message.len());
    for (name, part) in [
        ("p50_ns", 0.5),
        ("p90_ns", 0.9),
        ("p99_ns", 0.99),
        ("p999_ns", 0.999),
    ] {
        let index = (times.len() as f64 * part) as usize;
        println!(
            "{name} {}",
            times.get(index).or(times.last()).copied().unwrap_or(0)
        );
    }
    Ok(())
}

pub(crate) fn source(args: &Args) -> io::Result<()> {
    let mut stream = reach(args.text(0)?)?;
    let total = args.number(1, 512_usize)? * MIB;
    let chunk = vec![3; args.number(2, 64_usize)? * 1024];
    let mut sent = 0;
    while sent < total {
        sent += stream.write(&chunk)?;
    }
    println!("sent_bytes {sent}");
    Ok(())
}

pub(crate) fn sink(args: &Args) -> io::Result<()> {
    let listener = listen(args.text(0)?)?;
    let (mut stream, _) = listener.accept()?;
    let start = Instant::now();
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            length => total += length,
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("received_bytes {total}");
    println!("mib_per_s {:.1}", total as f64 / MIB as f64 / seconds);
    Ok(())
}
