//! Servers. Each serves one connection at a time, because a guest has one thread.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use case::{Args, sleep_forever};

const BUFFER: usize = 64 * 1024;

/// Listens, and says so.
pub(crate) fn listen(address: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    println!("listening {}", listener.local_addr()?);
    Ok(listener)
}

pub(crate) fn echo(args: &Args) -> io::Result<()> {
    let listener = listen(args.text(0)?)?;
    for connection in listener.incoming().take(args.number(1, usize::MAX)?) {
        // A client that goes away is not the end of the server.
        if let Err(error) = connection.and_then(|stream| echo_one(&stream)) {
            println!("left {}", case::kind(&error));
        }
    }
    Ok(())
}

fn echo_one(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

pub(crate) fn page(args: &Args) -> io::Result<()> {
    let listener = listen(args.text(0)?)?;
    let text = args.text(1)?;
    for connection in listener.incoming().take(args.number(2, usize::MAX)?) {
        if let Err(error) = connection.and_then(|stream| answer(&stream, text)) {
            println!("left {}", case::kind(&error));
        }
    }
    Ok(())
}

fn answer(mut stream: &TcpStream, text: &str) -> io::Result<()> {
    for line in BufReader::new(stream).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let page = format!(
        "{text}\npeer {}\nlocal {}\n",
        stream.peer_addr()?,
        stream.local_addr()?
    );
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )
}

pub(crate) fn peers(args: &Args) -> io::Result<()> {
    let listener = listen(args.text(0)?)?;
    for _ in 0..args.number(1, usize::MAX)? {
        let (stream, peer) = listener.accept()?;
        println!("accepted peer {peer} local {}", stream.local_addr()?);
    }
    Ok(())
}

pub(crate) fn hold(args: &Args) -> io::Result<()> {
    let first = listen(args.text(0)?)?;
    let mut address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..args.number(1, 1_usize)? {
        address.set_port(address.port() + 1);
        listeners.push(listen(&address.to_string())?);
    }
    sleep_forever()
}

pub(crate) fn stall(args: &Args) -> io::Result<()> {
    let listener = listen(args.text(0)?)?;
    let (_stream, peer) = listener.accept()?;
    println!("accepted peer {peer}");
    sleep_forever()
}

pub(crate) fn half(args: &Args) -> io::Result<()> {
    let listener = listen(args.text(0)?)?;
    let (mut stream, _) = listener.accept()?;
    let length = io::copy(&mut stream, &mut io::sink())?;
    println!("received {length}");
    writeln!(stream, "received {length}")
}

pub(crate) fn many(args: &Args) -> io::Result<()> {
    let listener = listen(args.text(0)?)?;
    let count = args.number(1, 0_usize)?;
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        streams.push(listener.accept()?.0);
    }
    println!("accepted {count}");
    let mut byte = [0];
    for stream in &mut streams {
        stream.read_exact(&mut byte)?;
        stream.write_all(&byte)?;
    }
    println!("served {count}");
    Ok(())
}
