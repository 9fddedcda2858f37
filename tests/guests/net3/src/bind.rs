//! Which addresses a guest may have, and how many sockets.

use wasip3::sockets::types::{ErrorCode, IpAddressFamily, TcpSocket, UdpSocket};

use crate::address::{family, literal, outcome, shown, told, word};
use crate::{Args, Outcome};

/// More sockets than any host gives one guest.
const MANY: usize = 1_000_000;

pub(crate) async fn tcp(args: Args) -> Outcome {
    let mut kept = Vec::new();
    for text in args.all() {
        let address = literal(text)?;
        let socket = TcpSocket::create(family(address)).map_err(told(text))?;
        let listens = socket.bind(address).and_then(|()| socket.listen());
        let word = match &listens {
            Ok(_) => {
                let local = socket.get_local_address().map_err(told(text))?;
                format!("ok local {}", shown(local))
            }
            Err(code) => word(code),
        };
        println!("bind {text} {word}");
        kept.push((socket, listens));
    }
    Ok(())
}

pub(crate) async fn again(args: Args) -> Outcome {
    let text = args.text(0)?;
    let address = literal(text)?;
    for _ in 0..3 {
        let socket = TcpSocket::create(family(address)).map_err(told(text))?;
        let listens = socket.bind(address).and_then(|()| socket.listen());
        println!("bind {text} {}", outcome(&listens));
    }
    Ok(())
}

pub(crate) async fn udp(args: Args) -> Outcome {
    let mut kept = Vec::new();
    for text in args.all() {
        let address = literal(text)?;
        let socket = UdpSocket::create(family(address)).map_err(told(text))?;
        let word = match socket.bind(address) {
            Ok(()) => {
                let local = socket.get_local_address().map_err(told(text))?;
                format!("ok local {}", shown(local))
            }
            Err(code) => word(&code),
        };
        println!("udp-bind {text} {word}");
        kept.push(socket);
    }
    Ok(())
}

pub(crate) async fn sockets(args: Args) -> Outcome {
    let mut sockets = Vec::new();
    for _ in 0..args.number(0, MANY)? {
        match TcpSocket::create(IpAddressFamily::Ipv4) {
            Ok(socket) => sockets.push(socket),
            Err(ErrorCode::Other(text)) => {
                println!(
                    "refused after {} {}",
                    sockets.len(),
                    text.unwrap_or_default()
                );
                return Ok(());
            }
            Err(code) => return Err(told("a socket")(code)),
        }
    }
    println!("sockets {}", sockets.len());
    Ok(())
}
