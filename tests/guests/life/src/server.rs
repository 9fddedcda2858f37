//! A server that waits for connections and for its own end with one poll.
//!
//! It uses WASI's sockets directly: std has no way to wait for a listener and something else.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, SocketAddrV4};

use case::Args;
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::tcp::TcpSocket;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

use crate::bindings::wasmpod::pod::lifecycle;

/// A request's head; longer ones are not for this server.
const HEAD: u64 = 4096;

pub(crate) fn graceful(args: &Args) -> io::Result<()> {
    let listener = listen(args.text(0)?)?;
    let connections = listener.subscribe();
    let stop = lifecycle::stop_requested();
    println!("listening {}", args.text(0)?);
    let mut answered = 0;
    while !poll(&[&connections, &stop]).contains(&1) {
        match listener.accept() {
            Ok((_socket, input, output)) => {
                answer(&input, &output).map_err(|error| io::Error::other(format!("{error:?}")))?;
                answered += 1;
            }
            Err(ErrorCode::WouldBlock) => {}
            Err(code) => return Err(failed("accept", code)),
        }
    }
    println!("stopping after {answered} answers");
    Ok(())
}

fn listen(address: &str) -> io::Result<TcpSocket> {
    let address = match address.parse() {
        Ok(SocketAddr::V4(address)) => address,
        _ => {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "this server speaks IPv4 only",
            ));
        }
    };
    let socket = create_tcp_socket(IpAddressFamily::Ipv4).map_err(|code| failed("create", code))?;
    let ready = socket.subscribe();
    socket
        .start_bind(&instance_network(), to_wasi(address))
        .map_err(|code| failed("bind", code))?;
    finish(&ready, || socket.finish_bind()).map_err(|code| failed("bind", code))?;
    socket
        .start_listen()
        .map_err(|code| failed("listen", code))?;
    finish(&ready, || socket.finish_listen()).map_err(|code| failed("listen", code))?;
    drop(ready);
    Ok(socket)
}

fn to_wasi(address: SocketAddrV4) -> IpSocketAddress {
    let [a, b, c, d] = address.ip().octets();
    IpSocketAddress::Ipv4(Ipv4SocketAddress {
        port: address.port(),
        address: (a, b, c, d),
    })
}

/// Waits until the second half of an operation is through.
fn finish(
    ready: &Pollable,
    mut operation: impl FnMut() -> Result<(), ErrorCode>,
) -> Result<(), ErrorCode> {
    loop {
        match operation() {
            Err(ErrorCode::WouldBlock) => ready.block(),
            outcome => return outcome,
        }
    }
}

fn failed(what: &str, code: ErrorCode) -> io::Error {
    io::Error::other(format!("{what}: {code:?}"))
}

fn answer(input: &InputStream, output: &OutputStream) -> Result<(), StreamError> {
    input.blocking_read(HEAD)?;
    output.blocking_write_and_flush(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n",
    )
}
