//! A worker that works off orders until it is asked to stop, then finishes the one at hand.
//!
//! It waits for two things at once, its next order and its end, with one `poll` of WASI: no
//! thread, no signal handler. Not a queue: the orders are made up.

mod bindings;

use std::fs;
use std::io;
use std::time::Duration;

use bindings::wasmpod::pod::{identity, lifecycle};
use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::poll;

/// The preStop hook of the manifest writes here.
const NOTES: &str = "/work/notes.txt";
const ORDER_TAKES: Duration = Duration::from_millis(500);

fn main() -> io::Result<()> {
    let pod = identity::get_pod();
    println!(
        "{} in pod {}/{} is open",
        identity::get_container(),
        pod.namespace,
        pod.name
    );
    lifecycle::set_health(true, "open");
    let stop = lifecycle::stop_requested();
    for order in 1.. {
        println!("order {order} taken");
        let done = monotonic_clock::subscribe_duration(ORDER_TAKES.as_nanos() as u64);
        let stopping = poll(&[&done, &stop]).contains(&1);
        if stopping {
            close(order, &done)?;
            return Ok(());
        }
        println!("order {order} done");
    }
    Ok(())
}

/// Finishes the order at hand and tells what is known about the end.
fn close(order: u64, done: &wasip2::io::poll::Pollable) -> io::Result<()> {
    lifecycle::set_health(false, "closing");
    let left = Duration::from_nanos(lifecycle::grace_period());
    println!(
        "asked to stop during order {order}, with {} s left",
        left.as_secs()
    );
    done.block();
    println!("order {order} done, and it was the last");
    let notes = fs::read_to_string(NOTES).unwrap_or_else(|_| "none".to_owned());
    println!("notes left by the preStop hook: {}", notes.trim_end());
    Ok(())
}
