//! What any program asks.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime};

use case::Args;

pub(crate) fn args(args: &Args) -> io::Result<()> {
    for (index, text) in args.from(0).enumerate() {
        println!("arg {index} {}", text.escape_debug());
    }
    println!("program {}", std::env::args().next().unwrap_or_default());
    Ok(())
}

pub(crate) fn env(args: &Args) -> io::Result<()> {
    let all: BTreeMap<String, String> = std::env::vars().collect();
    let mut wanted: Vec<&str> = args.from(0).collect();
    if wanted.is_empty() {
        wanted = all.keys().map(String::as_str).collect();
    }
    for name in wanted {
        match all.get(name) {
            Some(value) => println!("env {name}={}", value.escape_debug()),
            None => println!("env {name} unset"),
        }
    }
    Ok(())
}

pub(crate) fn cwd(_: &Args) -> io::Result<()> {
    println!("cwd {}", std::env::current_dir()?.display());
    Ok(())
}

pub(crate) fn stdin(_: &Args) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        println!("line {}", line?);
        io::stdout().flush()?;
    }
    println!("end of input");
    Ok(())
}

pub(crate) fn terminal(_: &Args) -> io::Result<()> {
    println!("stdin terminal {}", io::stdin().is_terminal());
    println!("stdout terminal {}", io::stdout().is_terminal());
    println!("stderr terminal {}", io::stderr().is_terminal());
    Ok(())
}

pub(crate) fn clock(_: &Args) -> io::Result<()> {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(io::Error::other)?;
    println!("epoch_s {}", since_epoch.as_secs());
    let start = Instant::now();
    let mut step = Duration::ZERO;
    while step.is_zero() {
        step = start.elapsed();
    }
    println!("step_ns {}", step.as_nanos());
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(20));
    println!("slept_ms {}", start.elapsed().as_millis());
    Ok(())
}

pub(crate) fn lines(args: &Args) -> io::Result<()> {
    let pause = Duration::from_millis(args.number(1, 0)?);
    for number in 1..=args.number(0, 1_u64)? {
        println!("line {number}");
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    Ok(())
}

pub(crate) fn sleep(args: &Args) -> io::Result<()> {
    println!("sleeping");
    let Ok(seconds) = args.text(0) else {
        case::sleep_forever()
    };
    let seconds = seconds
        .parse()
        .map_err(|_| io::Error::other("no number of seconds"))?;
    std::thread::sleep(Duration::from_secs_f64(seconds));
    println!("awake");
    Ok(())
}
