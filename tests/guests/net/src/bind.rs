//! Which addresses a guest may have, and how many sockets.

use std::io;
use std::net::{TcpListener, UdpSocket};

use case::{Args, word};

/// More sockets than any host gives one guest.
const MANY: usize = 1_000_000;

pub(crate) fn tcp(args: &Args) -> io::Result<()> {
    let outcomes: Vec<_> = args
        .from(0)
        .map(|address| (address, TcpListener::bind(address)))
        .collect();
    for (address, outcome) in &outcomes {
        match outcome {
            Ok(listener) => println!("bind {address} ok local {}", listener.local_addr()?),
            Err(_) => println!("bind {address} {}", word(outcome)),
        }
    }
    Ok(())
}

pub(crate) fn again(args: &Args) -> io::Result<()> {
    let address = args.text(0)?;
    for _ in 0..3 {
        println!("bind {address} {}", word(&TcpListener::bind(address)));
    }
    Ok(())
}

pub(crate) fn udp(args: &Args) -> io::Result<()> {
    let outcomes: Vec<_> = args
        .from(0)
        .map(|address| (address, UdpSocket::bind(address)))
        .collect();
    for (address, outcome) in &outcomes {
        match outcome {
            Ok(socket) => println!("udp-bind {address} ok local {}", socket.local_addr()?),
            Err(_) => println!("udp-bind {address} {}", word(outcome)),
        }
    }
    Ok(())
}

pub(crate) fn sockets(args: &Args) -> io::Result<()> {
    let mut sockets = Vec::new();
    for _ in 0..args.number(0, MANY)? {
        match UdpSocket::bind("127.0.0.1:0") {
            Ok(socket) => sockets.push(socket),
            Err(error) => {
                println!("refused after {} {}", sockets.len(), case::kind(&error));
                return Ok(());
            }
        }
    }
    println!("sockets {}", sockets.len());
    Ok(())
}
