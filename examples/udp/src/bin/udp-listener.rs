//! Answers datagrams on port 5300 with their text in capitals, until one says "bye".

use std::io;
use std::net::UdpSocket;

fn main() -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:5300")?;
    println!("listening on {}", socket.local_addr()?);
    let mut buffer = [0; 1500];
    loop {
        let (length, sender) = socket.recv_from(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        println!("heard {text:?}");
        socket.send_to(text.to_uppercase().as_bytes(), sender)?;
        if text == "bye" {
            return Ok(());
        }
    }
}
