//! Ways to end.

use std::fs;
use std::io;
use std::path::Path;

use case::Args;

/// WASI 0.2's own `exit` knows only 0 and 1; the newer `exit-with-code` knows all.
#[cfg(target_env = "p2")]
fn exit_with(code: u8) -> ! {
    wasip2::cli::exit::exit_with_code(code);
    unreachable!("the host ended us")
}

#[cfg(not(target_env = "p2"))]
fn exit_with(code: u8) -> ! {
    std::process::exit(i32::from(code))
}

pub(crate) fn exit(args: &Args) -> io::Result<()> {
    if let Ok(text) = args.text(1) {
        println!("{text}");
    }
    exit_with(args.number(0, 0)?)
}

pub(crate) fn trap(_: &Args) -> io::Result<()> {
    println!("trapping");
    core::arch::wasm32::unreachable()
}

pub(crate) fn panic(args: &Args) -> io::Result<()> {
    panic!("{}", args.text(0).unwrap_or("no reason given"))
}

pub(crate) fn fail_once(args: &Args) -> io::Result<()> {
    let path = args.text(0)?;
    if Path::new(path).exists() {
        println!("second life");
        return Ok(());
    }
    fs::write(path, "")?;
    println!("first life");
    exit_with(args.number(1, 1)?)
}
