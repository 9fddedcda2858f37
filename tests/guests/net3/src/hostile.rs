//! More of something than any host gives one guest.

use wasip3::sockets::types::{IpAddressFamily, TcpSocket};

use crate::Outcome;
use crate::address::told;

/// How often it tells how far it has come.
const STEP: usize = 1000;

pub(crate) async fn receives() -> Outcome {
    let socket = TcpSocket::create(IpAddressFamily::Ipv4).map_err(told("a socket"))?;
    let mut kept = Vec::new();
    loop {
        kept.push(socket.receive());
        if kept.len() % STEP == 0 {
            println!("receives {}", kept.len());
        }
    }
}
