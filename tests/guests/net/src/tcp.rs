//! Clients.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::thread::sleep;
use std::time::{Duration, Instant};

use case::{Args, word};

/// Containers of a pod start side by side: whoever wants a server waits this long for it.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// The addresses of a name, as soon as there is somebody with it: pods start side by side too.
pub(crate) fn addresses(address: &str) -> io::Result<Vec<SocketAddr>> {
    let start = Instant::now();
    loop {
        match address.to_socket_addrs() {
            Ok(addresses) => return Ok(addresses.collect()),
            Err(_) if start.elapsed() < PATIENCE => sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
}

/// Connects as soon as somebody listens.
pub(crate) fn reach(address: &str) -> io::Result<TcpStream> {
    let start = Instant::now();
    let addresses = addresses(address)?;
    loop {
        match TcpStream::connect(addresses.as_slice()) {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && start.elapsed() < PATIENCE =>
            {
                sleep(PAUSE);
            }
            outcome => return outcome,
        }
    }
}

pub(crate) fn connect(args: &Args) -> io::Result<()> {
    for address in args.from(0) {
        match TcpStream::connect(address) {
            Ok(stream) => {
                println!(
                    "connect {address} ok peer {} local {}",
                    stream.peer_addr()?,
                    stream.local_addr()?
                );
            }
            Err(error) => println!("connect {address} {}", case::kind(&error)),
        }
    }
    Ok(())
}

pub(crate) fn get(args: &Args) -> io::Result<()> {
    let address = args.text(0)?;
    let path = args.text(1).unwrap_or("/");
    let mut stream = reach(address)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    io::copy(&mut stream, &mut io::stdout())?;
    Ok(())
}

pub(crate) fn half(args: &Args) -> io::Result<()> {
    let mut stream = reach(args.text(0)?)?;
    let bytes = vec![7; args.number(1, 1)?];
    stream.write_all(&bytes)?;
    stream.shutdown(Shutdown::Write)?;
    let after = stream.write(&bytes);
    println!("write after shutdown {}", word(&after));
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("answer {}", answer.trim());
    Ok(())
}

pub(crate) fn many(args: &Args) -> io::Result<()> {
    let address = args.text(0)?;
    let count = args.number(1, 0_usize)?;
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        match reach(address) {
            Ok(stream) => streams.push(stream),
            Err(error) => {
                println!("refused after {} {}", streams.len(), case::kind(&error));
                return Ok(());
            }
        }
    }
    let mut byte = [0];
    for (index, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&[index as u8])?;
        stream.read_exact(&mut byte)?;
        if byte != [index as u8] {
            return Err(io::Error::other("a byte came back on another connection"));
        }
    }
    println!("connections {count}");
    Ok(())
}

pub(crate) fn push(args: &Args) -> io::Result<()> {
    let mut stream = reach(args.text(0)?)?;
    stream.set_nonblocking(true)?;
    let chunk = vec![1; 64 * 1024];
    let mut taken = 0;
    let reason = loop {
        match stream.write(&chunk) {
            Ok(length) => taken += length,
            Err(error) => break error.kind(),
        }
    };
    println!("taken {taken} {reason:?}");
    case::sleep_forever()
}

pub(crate) fn options(args: &Args) -> io::Result<()> {
    let stream = reach(args.text(0)?)?;
    println!("set nodelay {}", word(&stream.set_nodelay(true)));
    println!(
        "nodelay {:?}",
        stream.nodelay().map_err(|error| error.kind())
    );
    println!("set ttl {}", word(&stream.set_ttl(42)));
    println!("ttl {:?}", stream.ttl().map_err(|error| error.kind()));
    println!(
        "set read timeout {}",
        word(&stream.set_read_timeout(Some(PAUSE)))
    );
    let read = (&stream).read(&mut [0]);
    println!("read {}", word(&read));
    println!(
        "take error {:?}",
        stream.take_error().map_err(|error| error.kind())
    );
    Ok(())
}

pub(crate) fn resolve(args: &Args) -> io::Result<()> {
    for name in args.from(0) {
        match (name, 0).to_socket_addrs() {
            Ok(addresses) => {
                let addresses: Vec<String> =
                    addresses.map(|address| address.ip().to_string()).collect();
                println!("resolve {name} {}", addresses.join(" "));
            }
            Err(error) => println!("resolve {name} {}", case::kind(&error)),
        }
    }
    Ok(())
}
