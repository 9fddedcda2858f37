//! One half of the pair: serves a page on port 8080, in plain std::net.
//!
//! It counts whom it answered and shows what it finds in the shared volume, so that a reader of
//! the page sees both ways in which two modules of one pod meet. Not a web server: one request
//! per connection, one connection at a time.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Written by the other container; this one mounts the volume read-only.
const DIARY: &str = "/shared/diary.txt";

/// A browser's request is a few kilobytes; whoever sends more is not one.
const REQUEST_LIMIT: u64 = 64 * 1024;

/// A browser opens connections ahead of need; nobody else shall wait for those.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often each sort of visitor was answered.
#[derive(Default)]
struct Answered {
    client: u64,
    visitors: u64,
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:8080")?;
    println!("listening on {}", listener.local_addr()?);
    let mut answered = Answered::default();
    for connection in listener.incoming() {
        if let Err(error) = connection.and_then(|stream| answer(&stream, &mut answered)) {
            eprintln!("a visitor left: {error}");
        }
    }
    Ok(())
}

/// Reads one request and answers it.
fn answer(mut stream: &TcpStream, answered: &mut Answered) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let path = read_request(stream)?;
    let page = match path.as_str() {
        "/count" => {
            answered.client += 1;
            format!("{}\n", answered.client)
        }
        "/" => {
            answered.visitors += 1;
            page(stream, answered)?
        }
        _ => {
            return write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            );
        }
    };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len(),
    )
}

/// The path of a request, read up to the empty line that ends its head.
fn read_request(stream: &TcpStream) -> io::Result<String> {
    let mut lines = BufReader::new(stream.take(REQUEST_LIMIT)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = first.split_whitespace().nth(1);
    path.map(str::to_owned)
        .ok_or_else(|| io::Error::other("it sent no HTTP request"))
}

/// What a visitor sees.
fn page(stream: &TcpStream, answered: &Answered) -> io::Result<String> {
    let diary = fs::read_to_string(DIARY).unwrap_or_else(|_| "(nothing yet)\n".to_owned());
    Ok(format!(
        "\
Two WebAssembly modules, one pod.

  server.wasm   wrote this page. It has answered {client} questions of client.wasm
                over localhost, and {visitors} of visitors like you, at {here}.
  client.wasm   has its own memory: all that the server knows of it came
                through localhost, and through this file in a shared emptyDir:

{diary}",
        client = answered.client,
        visitors = answered.visitors,
        here = stream.local_addr()?,
        diary = diary
            .lines()
            .map(|line| format!("      | {line}\n"))
            .collect::<String>(),
    ))
}
