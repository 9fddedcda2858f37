//! Asks the backend three questions. It knows the backend's name, not its address.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

/// The name of the other pod.
const BACKEND: &str = "backend:7000";

/// The two pods start side by side, so the backend may not be there yet.
const PAUSE: Duration = Duration::from_millis(50);
const ATTEMPTS: u32 = 200;

fn main() -> io::Result<()> {
    for question in ["one", "two", "three"] {
        let mut stream = connect()?;
        writeln!(stream, "{question}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        println!("{}", answer.trim());
    }
    Ok(())
}

/// Connects as soon as the backend listens.
fn connect() -> io::Result<TcpStream> {
    let mut attempt = 1;
    loop {
        match TcpStream::connect(BACKEND) {
            Err(_) if attempt < ATTEMPTS => sleep(PAUSE),
            outcome => return outcome,
        }
        attempt += 1;
    }
}
