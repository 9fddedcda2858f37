//! Datagrams.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::Duration;

use case::Args;

const PAUSE: Duration = Duration::from_millis(20);
const ATTEMPTS: usize = 250;

/// The most that a datagram over IPv4 carries.
const DATAGRAM: usize = 65_507;

pub(crate) fn echo(args: &Args) -> io::Result<()> {
    let socket = UdpSocket::bind(args.text(0)?)?;
    println!("listening {}", socket.local_addr()?);
    let mut buffer = vec![0; DATAGRAM];
    for _ in 0..args.number(1, usize::MAX)? {
        let (length, sender) = socket.recv_from(&mut buffer)?;
        println!("heard {length} from {sender}");
        socket.send_to(&buffer[..length], sender)?;
    }
    Ok(())
}

pub(crate) fn ask(args: &Args) -> io::Result<()> {
    let (socket, address) = open(args)?;
    let text = args.text(1)?;
    socket.set_nonblocking(true)?;
    let mut buffer = vec![0; DATAGRAM];
    for _ in 0..ATTEMPTS {
        // Nobody may listen yet; that can show here.
        let _ = socket.send_to(text.as_bytes(), address);
        sleep(PAUSE);
        if let Ok((length, sender)) = socket.recv_from(&mut buffer) {
            println!(
                "answer {} from {sender}",
                String::from_utf8_lossy(&buffer[..length])
            );
            return Ok(());
        }
    }
    println!("answer none");
    Ok(())
}

pub(crate) fn send(args: &Args) -> io::Result<()> {
    let (socket, address) = open(args)?;
    match socket.send_to(args.text(1)?.as_bytes(), address) {
        Ok(length) => println!("sent {length} to {address} from {}", socket.local_addr()?),
        Err(error) => println!("send {address} {}", case::kind(&error)),
    }
    Ok(())
}

/// A socket bound to the third argument, or to any address of the family of the first.
fn open(args: &Args) -> io::Result<(UdpSocket, SocketAddr)> {
    let address = crate::tcp::addresses(args.text(0)?)?.into_iter().next();
    let address = address.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address"))?;
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(args.text(2).unwrap_or(any))?;
    Ok((socket, address))
}
