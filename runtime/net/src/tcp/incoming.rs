//! The connections of a listening socket, one after the other.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::futures::OwnedNotified;
use tokio::time::Timeout;

use super::TcpSocket;
use super::listener::{ListenGuard, TcpListener};
use crate::error::NetError;
use crate::limits::ACCEPT_REST;

/// A share of a listening socket, which listens until the last of its shares is gone: what WASI 0.3
/// calls the stream of its connections outlives the socket itself.
#[derive(Debug)]
pub struct TcpIncoming {
    listening: Arc<ListenGuard>,
    /// Over when another try is worth it, after one for which there was no room.
    room: Option<Pin<Box<Timeout<OwnedNotified>>>>,
}

// === impl TcpIncoming ===

impl TcpIncoming {
    pub(super) fn new(listening: Arc<ListenGuard>) -> Self {
        Self {
            listening,
            room: None,
        }
    }

    /// The listener itself.
    pub fn listener(&self) -> &TcpListener {
        self.listening.listener()
    }

    /// The next connection. Waits while there is none, and while the pod has as many sockets as it
    /// may have; a connection that fails before it is accepted is passed over.
    ///
    /// # Errors
    /// [`NetError::InvalidState`] once the listener is closed, or what the kernel says of a listener
    /// that is of no more use.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<TcpSocket, NetError>> {
        loop {
            match self.listener().try_accept() {
                Ok(socket) => {
                    self.room = None;
                    return Poll::Ready(Ok(socket));
                }
                Err(NetError::WouldBlock) => {
                    ready!(self.listener().poll_acceptable(cx));
                    return again(cx);
                }
                Err(NetError::NewSocketLimit | NetError::OutOfMemory) => ready!(self.poll_room(cx)),
                // One connection's end, which accept(2) tells: not the listener's.
                Err(
                    NetError::AccessDenied
                    | NetError::NotSupported
                    | NetError::RemoteUnreachable
                    | NetError::ConnectionReset
                    | NetError::ConnectionAborted
                    | NetError::Timeout,
                ) => return again(cx),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Ready when one should try anew: at the first call, and when a socket was closed since. What
    /// else of the process has closed a descriptor nobody tells, hence the rest.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(room) = &mut self.room {
            // An error means that the rest is over.
            let _ = ready!(room.as_mut().poll(cx));
        }
        let fabric = self.listener().fabric();
        let inside = fabric.kernel.enter();
        let freed = Arc::clone(&fabric.freed).notified_owned();
        let mut room = Box::pin(tokio::time::timeout(ACCEPT_REST, freed));
        drop(inside);
        // From here on nothing is missed.
        let waits = room.as_mut().poll(cx).is_pending();
        self.room = waits.then_some(room);
        Poll::Ready(())
    }
}

/// There may be more, but others have their turn first.
fn again<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_SOCKETS_PER_POD;
    use crate::tcp::Family;
    use crate::testing::{Bench, listen, now};
    use std::net::SocketAddr;

    const LOCAL: ([u8; 4], u16) = ([127, 0, 0, 1], 80);

    fn accept(bench: &Bench, incoming: &mut TcpIncoming) -> Result<TcpSocket, NetError> {
        bench.block(std::future::poll_fn(|cx| incoming.poll_accept(cx)))
    }

    #[test]
    fn a_listener_ends_with_the_last_of_its_shares() {
        let bench = Bench::new();
        let pod = bench.pod(1);
        let local = SocketAddr::from(LOCAL);
        for keeps_socket in [true, false] {
            let listener = listen(&pod, local);
            let mut incoming = listener.incoming().unwrap();
            let socket = keeps_socket.then_some(listener);
            let _client = bench.connect(&pod, local).unwrap();
            assert!(accept(&bench, &mut incoming).is_ok(), "{keeps_socket}");
            drop(incoming);
            let taken = pod.tcp(Family::V4).unwrap().bind(local);
            let connected = bench.connect(&pod, local).map(drop);
            let (bound, refused) = match keeps_socket {
                true => (Err(NetError::AddressInUse), Ok(())),
                false => (Ok(()), Err(NetError::ConnectionRefused)),
            };
            assert_eq!((taken, connected), (bound, refused));
            drop(socket);
        }
    }

    #[test]
    fn a_listener_without_a_pod_has_no_more_connections() {
        let bench = Bench::new();
        let pod = bench.pod(1);
        let mut incoming = listen(&pod, LOCAL.into()).incoming().unwrap();
        bench.switch.remove_pod(pod.id());
        let ended = accept(&bench, &mut incoming);
        assert_eq!(ended.map(drop), Err(NetError::InvalidState));
    }

    /// Through a door a connection is there before it counts as a socket of the pod.
    #[test]
    fn a_pod_that_has_no_room_for_a_socket_accepts_once_it_has() {
        let bench = Bench::new();
        let pod = bench.host_pod(1);
        let mut listener = pod.tcp(Family::V4).unwrap();
        listener.bind(([127, 0, 0, 1], 0).into()).unwrap();
        now(listener.listen()).unwrap();
        let mut incoming = listener.incoming().unwrap();
        let mut sockets: Vec<_> = (1..MAX_SOCKETS_PER_POD)
            .map(|_| pod.tcp(Family::V4).unwrap())
            .collect();
        let local = listener.local_address().unwrap();
        let _client = std::net::TcpStream::connect(local).unwrap();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        bench.wait(|cx| incoming.listener().poll_acceptable(cx));
        assert!(incoming.poll_accept(&mut cx).is_pending());
        assert!(incoming.room.is_some());
        std::thread::scope(|scope| {
            scope.spawn(|| sockets.pop());
            assert!(accept(&bench, &mut incoming).is_ok());
        });
        assert!(incoming.room.is_none());
    }
}
