//! Ends, and how guests meet them.

use futures::future::{Either, select};
use std::pin::pin;
use wasip3::cli::exit as command;
use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::wit_stream;

use crate::bindings::wasmpod::pod::lifecycle_async as lifecycle;
use crate::say::say;
use crate::{Args, Outcome};

/// A piece of work, in nanoseconds.
const WORK: u64 = 2_000_000;

pub(crate) async fn exit(args: Args) -> Outcome {
    say("exiting").await;
    command::exit_with_code(args.number(0)?);
    Err("still here".to_owned())
}

pub(crate) async fn fail() -> Outcome {
    command::exit(Err(()));
    Err("still here".to_owned())
}

pub(crate) async fn trap() -> Outcome {
    say("trapping").await;
    core::arch::wasm32::unreachable()
}

pub(crate) async fn deadlock() -> Outcome {
    say("waiting").await;
    let (_writer, mut reader) = wit_stream::new::<u8>();
    reader.next().await;
    Err("still here".to_owned())
}

pub(crate) async fn graceful() -> Outcome {
    let mut stop = pin!(lifecycle::stop_requested());
    let mut pieces = 0_u64;
    say(&format!(
        "grace_ms {}",
        lifecycle::grace_period() / 1_000_000
    ))
    .await;
    loop {
        match select(stop.as_mut(), pin!(wait_for(WORK))).await {
            Either::Left(_) => break,
            Either::Right(_) => pieces += 1,
        }
        if pieces == 1 {
            say("waiting").await;
        }
    }
    let left = lifecycle::grace_period() / 1_000_000;
    say(&format!("stopping left_ms {left} worked {}", pieces > 0)).await;
    // Whoever asks again is told at once.
    lifecycle::stop_requested().await;
    say("stopped").await;
    Ok(())
}

pub(crate) async fn stubborn() -> Outcome {
    let stop = lifecycle::stop_requested();
    let wait = async {
        stop.await;
        say("ignoring").await;
    };
    futures::join!(wait, async { say("waiting").await });
    loop {
        wait_for(u64::MAX).await;
    }
}

pub(crate) async fn deaf() -> Outcome {
    say("sleeping").await;
    loop {
        wait_for(3_600_000_000_000).await;
    }
}

pub(crate) async fn health() -> Outcome {
    let start = async {
        lifecycle::set_health(false, "starting");
        say("not ready").await;
        wait_for(300_000_000).await;
        lifecycle::set_health(true, "");
    };
    futures::join!(lifecycle::stop_requested(), start);
    Ok(())
}
