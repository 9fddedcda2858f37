//! Answers three questions on port 7000 and ends.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7000")?;
    for connection in listener.incoming().take(3) {
        answer(&connection?)?;
    }
    println!("three questions answered");
    Ok(())
}

/// Answers one line with another.
fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let mut question = String::new();
    BufReader::new(stream).read_line(&mut question)?;
    println!("{} asks: {}", stream.peer_addr()?.ip(), question.trim());
    writeln!(stream, "the backend heard {}", question.trim())
}
