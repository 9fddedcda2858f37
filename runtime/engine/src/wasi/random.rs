//! Random bytes: the kernel's, made in parts between which others get a turn.
//!
//! wasmtime-wasi makes them all in one call, byte by byte: 5 ms for a MiB, in which nobody else
//! gets the thread.

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::p3::bindings::random as random_0_3;
use wasmtime_wasi::random::WasiRandom;

use crate::executor::yield_now;
use crate::guest::Guest;

/// Bytes made before others get a turn: some 150 µs of work.
const PART: usize = 64 << 10;

/// Bytes that one call of WASI 0.2 returns at most; the host holds them while it copies.
const MOST: u64 = 1 << 20;

/// The version under which every 0.2 is found.
const RANDOM: &str = "wasi:random/random@0.2.12";
const INSECURE: &str = "wasi:random/insecure@0.2.12";

/// The same for every 0.3.
const RANDOM_0_3: &str = "wasi:random/random@0.3.0";
const INSECURE_0_3: &str = "wasi:random/insecure@0.3.0";

/// Adds the three interfaces of WASI 0.2. What is called insecure is as good as the other: there
/// is no faster way worth a second one.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    random::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.ctx().ctx.random())?;
    insecure::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.ctx().ctx.random())?;
    insecure_seed::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.ctx().ctx.random())?;
    linker.allow_shadowing(true);
    for (interface, function) in [
        (RANDOM, "get-random-bytes"),
        (INSECURE, "get-insecure-random-bytes"),
    ] {
        linker.instance(interface)?.func_wrap_async(
            function,
            move |_: StoreContextMut<'_, Guest>, (length,): (u64,)| {
                Box::new(async move { Ok((bytes(function, length).await?,)) })
            },
        )?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// Adds the three interfaces of WASI 0.3, where a call may return fewer bytes than it was asked
/// for: one part, after which the guest asks again and can lose its thread in between.
pub(crate) fn add_0_3_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    use random_0_3::{insecure, insecure_seed, random};
    random::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.ctx().ctx.random())?;
    insecure::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.ctx().ctx.random())?;
    insecure_seed::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.ctx().ctx.random())?;
    linker.allow_shadowing(true);
    for (interface, function) in [
        (RANDOM_0_3, "get-random-bytes"),
        (INSECURE_0_3, "get-insecure-random-bytes"),
    ] {
        linker.instance(interface)?.func_wrap(
            function,
            |_: StoreContextMut<'_, Guest>, (length,): (u64,)| Ok((some_bytes(length)?,)),
        )?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// Fills a place from its front and tells how much of it is filled; call again for the rest,
/// after a turn for others.
///
/// # Errors
/// When the kernel has none to give.
pub(crate) fn fill_part(place: &mut [u8]) -> Result<usize, Errno> {
    let length = place.len().min(PART);
    let part = place.get_mut(..length).unwrap_or_default();
    match getrandom(part, GetRandomFlags::empty()) {
        Err(Errno::INTR) => Ok(0),
        filled => filled,
    }
}

/// So many random bytes.
async fn bytes(function: &str, length: u64) -> wasmtime::Result<Vec<u8>> {
    let wanted = usize::try_from(length.min(MOST))?;
    if length > MOST {
        wasmtime::bail!(
            "{function} was asked for {length} bytes; {MOST} is the most: ask in parts"
        );
    }
    let mut bytes = vec![0; wanted];
    let mut filled = 0;
    while filled < wanted {
        if filled > 0 {
            yield_now().await;
        }
        filled += fill_part(bytes.get_mut(filled..).unwrap_or_default())?;
    }
    Ok(bytes)
}

/// So many random bytes, or one part of them: at least one where any are wanted.
fn some_bytes(length: u64) -> wasmtime::Result<Vec<u8>> {
    let wanted = usize::try_from(length).unwrap_or(PART).min(PART);
    let mut bytes = vec![0; wanted];
    let mut filled = 0;
    // Interrupted by a signal, the kernel gives fewer, or none.
    while filled == 0 && wanted > 0 {
        filled = fill_part(&mut bytes)?;
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn others_get_a_turn_after_each_part() {
        for (length, turns) in [(0, 0), (1, 0), (PART, 0), (PART + 1, 1), (4 * PART, 3)] {
            let mut call = pin!(bytes("get-random-bytes", length as u64));
            let mut cx = Context::from_waker(Waker::noop());
            let mut waited = 0;
            let made = loop {
                match call.as_mut().poll(&mut cx) {
                    Poll::Ready(made) => break made.expect("the kernel gives them"),
                    Poll::Pending => waited += 1,
                }
            };
            assert_eq!((made.len(), waited), (length, turns));
            assert!(made.chunks_exact(64).all(|chunk| chunk != [0; 64]));
        }
    }

    #[tokio::test]
    async fn more_than_the_most_is_refused_with_the_remedy() {
        let refused = bytes("get-random-bytes", MOST + 1).await;
        let why = refused.expect_err("too many").to_string();
        assert!(why.contains("1048577") && why.contains("in parts"), "{why}");
    }

    #[test]
    fn a_call_of_0_3_returns_a_part_of_what_is_too_much() {
        for (length, most) in [(0, 0), (1, 1), (PART as u64, PART), (u64::MAX, PART)] {
            let made = some_bytes(length).expect("the kernel gives them");
            assert!(made.len() <= most, "{length}");
            assert_eq!(made.is_empty(), length == 0);
        }
    }
}
