//! Computes: for ever, or for some time while counting how far it gets.

use std::hint::black_box;
use std::io;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use case::Args;

/// Steps between two looks at the clock, so that looking costs nothing.
const STEPS: u64 = 20_000;

/// What it can do.
#[rustfmt::skip]
const CASES: &[case::Case] = &[
    ("spin", ": computes for ever", spin),
    ("count", "SECONDS: computes for that time, prints the number of steps", count),
    ("burst", "BUSY_MS IDLE_MS ROUNDS: computes and sleeps in turns, prints each round's delay", burst),
];

fn main() -> ExitCode {
    case::run(CASES)
}

/// A number of steps that the compiler cannot leave out.
fn steps(state: u64) -> u64 {
    (0..STEPS).fold(state, |state, _| {
        black_box(
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
        )
    })
}

fn spin(_: &Args) -> io::Result<()> {
    println!("spinning");
    let mut state = 1;
    loop {
        state = steps(state);
    }
}

fn count(args: &Args) -> io::Result<()> {
    let time = Duration::from_secs_f64(args.number(0, 1.0)?);
    println!("counting");
    println!("iterations {}", busy(time));
    Ok(())
}

/// Computes for this long and answers the number of steps.
fn busy(time: Duration) -> u64 {
    let start = Instant::now();
    let (mut done, mut state) = (0, 1);
    while start.elapsed() < time {
        state = steps(state);
        done += STEPS;
    }
    done
}

fn burst(args: &Args) -> io::Result<()> {
    let busy_time = Duration::from_millis(args.number(0, 5)?);
    let idle = Duration::from_millis(args.number(1, 5)?);
    for round in 0..args.number(2, 10_u32)? {
        let start = Instant::now();
        sleep(idle);
        let late = start.elapsed().saturating_sub(idle);
        println!(
            "round {round} late_us {} steps {}",
            late.as_micros(),
            busy(busy_time)
        );
    }
    Ok(())
}
