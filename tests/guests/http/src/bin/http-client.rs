//! A command that calls others over `wasi:http`.

#[path = "../outgoing.rs"]
mod outgoing;

use std::io;
use std::process::ExitCode;

use case::Args;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, Method};

/// What it can do.
#[rustfmt::skip]
const CASES: &[case::Case] = &[
    ("get", "URL [TIMEOUT_MS]: prints `STATUS BODY`, or `error NAME`", get),
    ("post", "URL BYTES: sends so many, prints `STATUS BODY`", post),
    ("many", "URL COUNT: asks so often at once, prints how many were answered with 200", many),
    ("fields", "[COUNT]: makes header fields of 60 KB each and keeps them, as many or for ever", fields),
    ("resources", "[COUNT]: makes empty header fields and keeps them, as many or for ever", resources),
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

fn many(args: &Args) -> io::Result<()> {
    let count = args.number(1, 1)?;
    let begun: Vec<_> = (0..count)
        .map(|_| {
            let request = outgoing::request(args.text(0)?, Fields::new());
            let request = request.map_err(io::Error::other)?;
            handle(request, None).map_err(io::Error::other)
        })
        .collect::<io::Result<_>>()?;
    let mut answered = 0;
    for answer in begun {
        answer.subscribe().block();
        let answer = answer.get().expect("ready").expect("once");
        match answer.and_then(|answer| outgoing::read(&answer)) {
            Ok((200, _)) => answered += 1,
            Ok((status, _)) => println!("{status}"),
            Err(code) => println!("error {}", outgoing::name(code)),
        }
    }
    println!("{answered} answered");
    Ok(())
}

fn fields(args: &Args) -> io::Result<()> {
    keep(args, 60_000)
}

fn resources(args: &Args) -> io::Result<()> {
    keep(args, 0)
}

/// Keeps header fields with a value of so many bytes.
fn keep(args: &Args, bytes: usize) -> io::Result<()> {
    let count = args.number(0, usize::MAX)?;
    let mut kept = Vec::new();
    while kept.len() < count {
        let fields = Fields::new();
        if bytes > 0 {
            let added = fields.append("x-kept", &vec![b'k'; bytes]);
            added.map_err(io::Error::other)?;
        }
        kept.push(fields);
    }
    println!("{} kept", kept.len());
    Ok(())
}
