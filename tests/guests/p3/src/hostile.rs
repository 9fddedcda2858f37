//! What no sensible program asks. Each says how far it has come, as powers of two.

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::join;
use wasip3::cli::{stdin, stdout};
use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::filesystem::types::PathFlags;
use wasip3::wit_future;
use wasip3::wit_stream;

use crate::files::{open_read, root};
use crate::say::say;
use crate::{Args, Outcome};

/// Says a number that is a power of two.
async fn count(what: &str, number: usize) {
    if number.is_power_of_two() {
        say(&format!("{what} {number}")).await;
    }
}

/// Begins what is to be under way.
fn begin<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    matches!(future.as_mut().poll(&mut context), Poll::Pending)
}

pub(crate) async fn spin() -> Outcome {
    say("spinning").await;
    let mut state = 1_u64;
    loop {
        state = black_box(state.wrapping_mul(3));
    }
}

pub(crate) async fn yield_for_ever() -> Outcome {
    say("yielding").await;
    loop {
        wit_bindgen::yield_async().await;
    }
}

pub(crate) async fn flood(args: Args) -> Outcome {
    let mib: usize = args.number(0)?;
    let line = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n";
    let (mut writer, reader) = wit_stream::new();
    let written = stdout::write_via_stream(reader);
    let write = async move {
        for _ in 0..mib {
            writer.write_all(line.repeat(1 << 14)).await;
        }
    };
    let (_, written) = join!(write, async { written.await });
    written.map_err(|code| format!("flood: {code:?}"))
}

pub(crate) async fn memory(args: Args) -> Outcome {
    let mib: usize = args.number(0)?;
    let mut taken = Vec::new();
    for number in 1..=mib {
        taken.push(black_box(vec![1_u8; 1 << 20]));
        count("mib", number).await;
    }
    say(&format!("taken {}", taken.len())).await;
    Ok(())
}

pub(crate) async fn streams() -> Outcome {
    let mut all = Vec::new();
    loop {
        all.push(wit_stream::new::<u8>());
        count("streams", all.len()).await;
    }
}

pub(crate) async fn futures() -> Outcome {
    let mut all = Vec::new();
    loop {
        all.push(wit_future::new::<Result<(), wasip3::cli::types::ErrorCode>>(|| Ok(())));
        count("futures", all.len()).await;
    }
}

pub(crate) async fn subtasks() -> Outcome {
    let mut all = Vec::new();
    loop {
        let mut wait = Box::pin(wait_for(3_600_000_000_000));
        begin(&mut wait);
        all.push(wait);
        count("subtasks", all.len()).await;
    }
}

/// Both ends are the host's: none of them is a handle of the guest's.
pub(crate) async fn pipes() -> Outcome {
    let mut number = 0;
    loop {
        let (input, _) = stdin::read_via_stream();
        drop(stdout::write_via_stream(input));
        number += 1;
        count("pipes", number).await;
    }
}

pub(crate) async fn reads(args: Args) -> Outcome {
    let file = open_read(args.text(0)?).await?;
    let mut all = Vec::new();
    loop {
        // What it reads into is never looked at, so that one stands for all.
        let (mut stream, ended) = file.read_via_stream(0);
        let mut read: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            stream.read(Vec::with_capacity(64)).await;
            stream.read(Vec::with_capacity(64)).await;
            drop((stream, ended));
        });
        begin(&mut read);
        all.push(read);
        count("reads", all.len()).await;
    }
}

pub(crate) async fn paths(args: Args) -> Outcome {
    let root = root()?;
    let path = "x/".repeat(args.number::<usize>(0)? / 2);
    let mut all = Vec::new();
    loop {
        let mut stat = Box::pin(root.stat_at(PathFlags::empty(), path.clone()));
        if begin(&mut stat) {
            all.push(stat);
        }
        count("paths", all.len()).await;
    }
}
