//! Sends three datagrams over localhost and prints the answers.
//!
//! Datagrams get lost, for instance while nobody listens yet: each is sent again until an answer
//! comes.

use std::io;
use std::net::UdpSocket;
use std::thread::sleep;
use std::time::Duration;

const LISTENER: &str = "127.0.0.1:5300";
const PATIENCE: Duration = Duration::from_millis(50);
const ATTEMPTS: u32 = 200;

fn main() -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_nonblocking(true)?;
    for text in ["one", "two", "bye"] {
        println!("{text} came back as {}", ask(&socket, text)?);
    }
    Ok(())
}

/// Sends a text until the answer to it comes.
fn ask(socket: &UdpSocket, text: &str) -> io::Result<String> {
    let mut buffer = [0; 1500];
    for _ in 0..ATTEMPTS {
        // Nobody listening may show as an error of the send; it is the same as no answer.
        let _ = socket.send_to(text.as_bytes(), LISTENER);
        sleep(PATIENCE);
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if answer.eq_ignore_ascii_case(text) {
                return Ok(answer);
            }
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("no answer to {text:?}"),
    ))
}
