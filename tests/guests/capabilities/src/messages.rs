//! Log messages.

use std::io::{self, ErrorKind};

use case::Args;

use crate::bindings::wasi::logging::logging::{self, Level};

pub(crate) fn log(args: &Args) -> io::Result<()> {
    let level = match args.text(0)? {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        "critical" => Level::Critical,
        _ => return Err(ErrorKind::InvalidInput.into()),
    };
    logging::log(level, args.text(1)?, args.text(2)?);
    Ok(())
}

pub(crate) fn lines(args: &Args) -> io::Result<()> {
    for number in 0..args.number(0, 1_u64)? {
        logging::log(Level::Info, "turn", &format!("message {number}"));
        eprintln!("line {number}");
    }
    Ok(())
}

pub(crate) fn forged(_: &Args) -> io::Result<()> {
    logging::log(Level::Warn, "a\nb", "one\r\nINFO x: two\x1b[2J\n");
    logging::log(Level::Warn, "", "end");
    Ok(())
}

pub(crate) fn flood(args: &Args) -> io::Result<()> {
    let message = "x".repeat(200 << 10);
    let (mut left, mut count) = (args.number(0, 1_usize)? << 20, 0);
    while left > 0 {
        logging::log(Level::Info, "flood", &message);
        left = left.saturating_sub(message.len());
        count += 1;
    }
    println!("logged {count}");
    Ok(())
}
