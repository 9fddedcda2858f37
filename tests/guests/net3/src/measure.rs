//! Times, rates and sums, measured inside the guest.

use wasip3::clocks::monotonic_clock::now;

use crate::address::told;
use crate::client::reach;
use crate::serve::listen;
use crate::stream::Connection;
use crate::{Args, Outcome};

/// Round trips before the first that counts: connection, caches and the scheduler settle.
const WARM_UP: usize = 200;
const MIB: usize = 1024 * 1024;

pub(crate) async fn round_trips(args: Args) -> Outcome {
    let mut connection = reach(args.text(0)?).await?;
    let count = args.number(1, 10_000_usize)?;
    let size = args.number(2, 64)?;
    let mut message = vec![5; size];
    let mut times = Vec::with_capacity(count);
    for round in 0..count + WARM_UP {
        let start = now();
        connection.write(message).await;
        message = connection.read_exact(size).await;
        if message.len() < size {
            return Err("the connection ended".to_owned());
        }
        if round >= WARM_UP {
            times.push(now() - start);
        }
    }
    times.sort_unstable();
    println!("round_trips {count} of {size} bytes");
    for (name, part) in [("p50_ns", 0.5), ("p90_ns", 0.9), ("p99_ns", 0.99)] {
        let index = (times.len() as f64 * part) as usize;
        println!(
            "{name} {}",
            times.get(index).or(times.last()).copied().unwrap_or(0)
        );
    }
    Ok(())
}

/// What tells two streams apart that differ in a byte, its place, or their length.
struct Sum(u64);

// === impl Sum ===

impl Sum {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// FNV-1a.
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

pub(crate) async fn source(args: Args) -> Outcome {
    let mut connection = reach(args.text(0)?).await?;
    let total = args.number(1, 512_usize)? * MIB;
    let chunk = args.number(2, 64_usize)? * 1024;
    let (mut sent, mut sum, mut next) = (0, Sum::new(), 1_u32);
    while sent < total {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (next >> 24) as u8
        })
        .take(chunk.min(total - sent))
        .collect();
        sum.add(&bytes);
        sent += bytes.len();
        if !connection.write(bytes).await {
            break;
        }
    }
    connection.finish().await.map_err(told("send"))?;
    println!("sent_bytes {sent} sum {:016x}", sum.0);
    Ok(())
}

pub(crate) async fn sink(args: Args) -> Outcome {
    let mut listener = listen(args.text(0)?)?;
    let mut connection = Connection::of(listener.accept().await?);
    let start = now();
    let (mut total, mut sum) = (0, Sum::new());
    while let Some(bytes) = connection.read().await {
        total += bytes.len();
        sum.add(&bytes);
    }
    let seconds = (now() - start) as f64 / 1e9;
    connection.received.await.map_err(told("receive"))?;
    println!("received_bytes {total} sum {:016x}", sum.0);
    println!("mib_per_s {:.1}", total as f64 / MIB as f64 / seconds);
    Ok(())
}
