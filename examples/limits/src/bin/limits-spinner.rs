//! Computes for three seconds of wall time and tells how far it came: what it gets done is what
//! its cpu limit allows.

use std::hint::black_box;
use std::time::{Duration, Instant};

const WALL_TIME: Duration = Duration::from_secs(3);

/// Between two looks at the clock, so that looking costs nothing.
const STEPS: u64 = 100_000;

fn main() {
    let start = Instant::now();
    let mut steps = 0_u64;
    let mut state = 1_u64;
    while start.elapsed() < WALL_TIME {
        for _ in 0..STEPS {
            state = black_box(
                state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1),
            );
        }
        steps += STEPS;
    }
    println!(
        "{} million steps in {} s",
        steps / 1_000_000,
        WALL_TIME.as_secs()
    );
}
