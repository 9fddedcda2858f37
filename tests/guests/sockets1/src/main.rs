//! A server of WASI preview 1: it cannot bind, and serves the listeners that it was given.

#[expect(
    unsafe_code,
    reason = "std has no call for descriptors that a host made in advance"
)]
mod raw;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;

use case::Args;

/// Preopened directories come first; a pod has far fewer mounts than this.
const HIGHEST_DESCRIPTOR: i32 = 1024;

/// What it can do.
#[rustfmt::skip]
const CASES: &[case::Case] = &[
    ("listeners", ": prints the descriptors of its listeners and the variables about them", listeners),
    ("echo", "[CONNECTIONS]: gives back what it gets on the first listener", echo),
    ("page", "TEXT [COUNT]: answers HTTP requests on every listener in turns, without blocking", page),
];

fn main() -> ExitCode {
    case::run(CASES)
}

fn descriptors() -> impl Iterator<Item = i32> {
    (3..HIGHEST_DESCRIPTOR).filter(|fd| raw::is_stream_socket(*fd))
}

fn first_listener() -> io::Result<TcpListener> {
    let fd = descriptors().next();
    fd.map(raw::listener)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no listening descriptor"))
}

/// Asks once for a connection without waiting: a given listener opens at its first use, and
/// whoever reads that it serves may come at once.
fn open(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    listener.set_nonblocking(true)?;
    let early = listener.accept().ok().map(|(stream, _)| stream);
    listener.set_nonblocking(false)?;
    if let Some(stream) = &early {
        stream.set_nonblocking(false)?;
    }
    Ok(early)
}

fn listeners(_: &Args) -> io::Result<()> {
    for name in ["LISTEN_FDS", "LISTEN_FDNAMES"] {
        println!(
            "{name} {}",
            std::env::var(name).unwrap_or_else(|_| "unset".to_owned())
        );
    }
    for fd in descriptors() {
        println!("listener {fd}");
    }
    Ok(())
}

fn echo(args: &Args) -> io::Result<()> {
    let listener = first_listener()?;
    let early = open(&listener)?.map(Ok);
    println!("serving");
    let connections = early.into_iter().chain(listener.incoming());
    for stream in connections.take(args.number(0, usize::MAX)?) {
        let stream = stream?;
        if let Err(error) = echo_one(&stream) {
            println!("left {}", case::kind(&error));
        }
    }
    Ok(())
}

fn echo_one(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.shutdown(Shutdown::Both),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

fn page(args: &Args) -> io::Result<()> {
    let listeners: Vec<TcpListener> = descriptors().map(raw::listener).collect();
    for listener in &listeners {
        open(listener)?;
        listener.set_nonblocking(true)?;
    }
    let text = args.text(0)?;
    println!("serving {}", listeners.len());
    let mut left = args.number(1, usize::MAX)?;
    while left > 0 {
        for (index, listener) in listeners.iter().enumerate() {
            match listener.accept() {
                Ok((stream, _)) => {
                    answer(&stream, &format!("{text} {index}\n"))?;
                    left -= 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn answer(mut stream: &TcpStream, page: &str) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let mut request = [0; 4096];
    let _ = stream.read(&mut request)?;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )
}
