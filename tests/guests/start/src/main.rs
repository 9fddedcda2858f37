//! Tells when it began: its first act is to ask for the time. Given a file to read and one to
//! write, it uses both and tells when that was done.

use std::io;
use std::time::SystemTime;

fn main() -> io::Result<()> {
    let began = SystemTime::now();
    let mut files = std::env::args().skip(1);
    if let (Some(source), Some(copy)) = (files.next(), files.next()) {
        std::fs::write(copy, std::fs::read(source)?)?;
    }
    let used = SystemTime::now();
    println!("began_ns {}", nanoseconds(began)?);
    println!("used_ns {}", nanoseconds(used)?);
    Ok(())
}

/// The wall clock as Unix time: a monotonic clock counts from where each host pleases, so a host
/// could not compare it with its own.
fn nanoseconds(time: SystemTime) -> io::Result<u128> {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(io::Error::other)?;
    Ok(since.as_nanos())
}
