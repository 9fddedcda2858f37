//! Takes memory: in one step, in small ones, on the stack, and keeps it.

use std::hint::black_box;
use std::io;
use std::process::ExitCode;

use case::Args;

const MIB: usize = 1024 * 1024;
const PAGE: usize = 4096;

/// Between two lines of progress.
const TELL_EVERY: usize = 8 * MIB;

/// What it can do.
#[rustfmt::skip]
const CASES: &[case::Case] = &[
    ("grow", "MIB: takes it in one step and touches it", grow),
    ("steps", "[STEP_KIB]: takes and touches until it is ended", steps),
    ("try", "MIB: asks for it and tells whether it was given; goes on either way", try_to),
    ("pages", "[STEP_PAGES]: memory.grow until it is refused, without touching", pages),
    ("hold", "MIB: takes it, touches it and sleeps for ever", hold),
    ("churn", "MIB ROUNDS: takes it and gives it back, again and again", churn),
    ("recurse", ": calls itself until the stack ends", recurse),
];

fn main() -> ExitCode {
    case::run(CASES)
}

/// This much memory, every page of it written.
fn touched(bytes: usize) -> Vec<u8> {
    let mut memory = vec![0; bytes];
    for page in memory.iter_mut().step_by(PAGE) {
        *page = 1;
    }
    black_box(memory)
}

fn grow(args: &Args) -> io::Result<()> {
    println!("growing");
    let memory = touched(args.number(0, 1)? * MIB);
    println!("grown {}", memory.len());
    Ok(())
}

fn steps(args: &Args) -> io::Result<()> {
    let step = args.number(0, 64)? * 1024;
    let mut all = Vec::new();
    let mut told = 0;
    loop {
        all.push(touched(step));
        if all.len() * step >= told + TELL_EVERY {
            told = all.len() * step;
            println!("taken_mib {}", told / MIB);
        }
    }
}

fn try_to(args: &Args) -> io::Result<()> {
    let mut memory: Vec<u8> = Vec::new();
    match memory.try_reserve_exact(args.number(0, 1)? * MIB) {
        Ok(()) => println!("given {}", memory.capacity()),
        Err(_) => println!("refused"),
    }
    Ok(())
}

fn pages(args: &Args) -> io::Result<()> {
    let step = args.number(0, 16)?;
    let mut grown = 0_usize;
    while core::arch::wasm32::memory_grow::<0>(step) != usize::MAX {
        grown += step;
    }
    println!("refused after {grown} pages");
    Ok(())
}

fn hold(args: &Args) -> io::Result<()> {
    let memory = touched(args.number(0, 1)? * MIB);
    println!("holding {}", memory.len());
    case::sleep_forever()
}

fn churn(args: &Args) -> io::Result<()> {
    let bytes = args.number(0, 1)? * MIB;
    for _ in 0..args.number(1, 100_usize)? {
        drop(touched(bytes));
    }
    println!("churned");
    Ok(())
}

fn recurse(_: &Args) -> io::Result<()> {
    fn deeper(depth: u64) -> u64 {
        let frame = black_box([depth; 16]);
        if depth == u64::MAX {
            0
        } else {
            deeper(depth + 1) + frame[3]
        }
    }
    println!("recursing");
    println!("returned {}", deeper(0));
    Ok(())
}
