//! A command that calls others over `wasi:http`.

#[path = "../outgoing.rs"]
mod outgoing;

use std::io;
use std::process::ExitCode;

use case::Args;
use wasip2::http::types::{Fields, Method};

/// What it can do.
#[rustfmt::skip]
const CASES: &[case::Case] = &[
    ("get", "URL [TIMEOUT_MS]: prints `STATUS BODY`, or `error NAME`", get),
    ("post", "URL BYTES: sends so many, prints `STATUS BODY`", post),
];

fn main() -> ExitCode {
    case::run(CASES)
}

fn get(args: &Args) -> io::Result<()> {
    let patience = args.number(1, 0)?;
    match outgoing::get(args.text(0)?, (patience > 0).then_some(patience)) {
        Ok((status, body)) => println!("{status} {}", body.trim_end()),
        Err(name) => println!("error {name}"),
    }
    Ok(())
}

fn post(args: &Args) -> io::Result<()> {
    let body = vec![b'p'; args.number(1, 0)?];
    let request = outgoing::request(args.text(0)?, Fields::new()).map_err(io::Error::other)?;
    request
        .set_method(&Method::Post)
        .map_err(|()| io::Error::other("no such method"))?;
    let answer = outgoing::send(request, Some(&body), None)
        .and_then(|answer| outgoing::read(&answer))
        .map_err(outgoing::name);
    match answer {
        Ok((status, body)) => println!("{status} {}", body.trim_end()),
        Err(name) => println!("error {name}"),
    }
    Ok(())
}
