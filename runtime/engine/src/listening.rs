//! A TCP port of a pod at all its addresses: what a guest that opens no socket itself listens at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use net::{Family, NetError, PodNet, TcpSocket, TcpStream};

/// Listens until it is dropped.
pub(crate) struct Listening {
    /// One of each family.
    sockets: Vec<TcpSocket>,
}

// === impl Listening ===

impl Listening {
    /// Binds and listens; with so many connections that may wait, or as many as usual.
    ///
    /// # Errors
    /// Why the port is not to be had. Where there is no IPv6, nobody could ask there.
    pub(crate) async fn open(
        net: &PodNet,
        port: u16,
        backlog: Option<u64>,
    ) -> Result<Self, NetError> {
        let mut sockets = vec![bound(net, Ipv4Addr::UNSPECIFIED.into(), port)?];
        match bound(net, Ipv6Addr::UNSPECIFIED.into(), port) {
            Ok(socket) => sockets.push(socket),
            // Whoever asks there would reach another.
            Err(NetError::AddressInUse) => return Err(NetError::AddressInUse),
            Err(error) => tracing::debug!(%error, port, "nobody listens at IPv6"),
        }
        // Once all of the port is had: what listens opens doors.
        for socket in &mut sockets {
            if let Some(backlog) = backlog {
                socket.set_backlog(backlog)?;
            }
            socket.listen().await?;
        }
        Ok(Self { sockets })
    }

    /// A connection that waits, of either family.
    ///
    /// # Errors
    /// As [`net::TcpListener::try_accept`].
    pub(crate) fn try_accept(&self) -> Result<TcpStream, NetError> {
        for listener in self.sockets.iter().filter_map(TcpSocket::listener) {
            match listener.try_accept() {
                Err(NetError::WouldBlock) => {}
                Err(error) => return Err(error),
                Ok(socket) => {
                    let stream = socket.stream().cloned();
                    return stream.ok_or(NetError::ConnectionAborted);
                }
            }
        }
        Err(NetError::WouldBlock)
    }

    /// Ready when a connection waits. Every listener is asked, so that every one wakes.
    pub(crate) fn poll_acceptable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let listeners = self.sockets.iter().filter_map(TcpSocket::listener);
        let ready = listeners
            .filter(|listener| listener.poll_acceptable(cx).is_ready())
            .count();
        if ready > 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

fn bound(net: &PodNet, address: IpAddr, port: u16) -> Result<TcpSocket, NetError> {
    let mut socket = net.tcp(Family::of(address))?;
    socket.bind(SocketAddr::new(address, port))?;
    Ok(socket)
}
