//! Ends, and how guests meet them.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use case::Args;

use crate::bindings::wasmpod::pod::lifecycle;

pub(crate) fn graceful(args: &Args) -> io::Result<()> {
    let stop = lifecycle::stop_requested();
    println!("grace_ms {}", grace().as_millis());
    println!("waiting");
    stop.block();
    println!("stopping left_ms {}", grace().as_millis());
    sleep(Duration::from_millis(args.number(0, 0)?));
    println!("stopped ready {}", stop.ready());
    Ok(())
}

fn grace() -> Duration {
    Duration::from_nanos(lifecycle::grace_period())
}

pub(crate) fn stubborn(_: &Args) -> io::Result<()> {
    let stop = lifecycle::stop_requested();
    println!("waiting");
    stop.block();
    println!("ignoring");
    case::sleep_forever()
}

pub(crate) fn deaf(_: &Args) -> io::Result<()> {
    println!("sleeping");
    case::sleep_forever()
}

pub(crate) fn deaf_spin(_: &Args) -> io::Result<()> {
    println!("spinning");
    let mut state = 1_u64;
    loop {
        state = std::hint::black_box(state.wrapping_mul(3));
    }
}
