//! Connections as any program on this machine would make them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, bail};

use super::PATIENCE;

/// The body of an HTTP answer with status 200.
pub(crate) fn fetch(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("no connection to {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // In one piece: a server that reads once and closes would reset what is still to come.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("http://{address}{path}: no HTTP answer: {answer:?}");
    };
    if head.split(' ').nth(1) != Some("200") {
        bail!("http://{address}{path}: {head}");
    }
    Ok(body.to_owned())
}

/// Whether nobody listens there, which the kernel says at once.
pub(crate) fn is_refused(address: SocketAddr) -> anyhow::Result<bool> {
    match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(true),
        Err(error) => Err(error).with_context(|| format!("{address} neither answers nor refuses")),
    }
}
