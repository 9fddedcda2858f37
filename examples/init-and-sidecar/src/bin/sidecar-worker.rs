//! The container that the pod is there for: has three words translated, and ends.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

fn main() -> io::Result<()> {
    for word in ["pod", "container", "spaceship"] {
        let mut stream = TcpStream::connect("127.0.0.1:7000")?;
        writeln!(stream, "{word}")?;
        stream.shutdown(Shutdown::Write)?;
        let mut translation = String::new();
        stream.read_to_string(&mut translation)?;
        println!("{word} is {}", translation.trim());
    }
    Ok(())
}
