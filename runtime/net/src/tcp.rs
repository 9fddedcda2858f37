//! TCP sockets of guests.
//!
//! ```text
//! Unbound ──bind──> Bound ──listen──> Listening ──accept──> a new Connected one
//!    └──────connect──┴──────> Connecting ──finish──> Connected
//!                                 └─────failed─────> Closed
//! ```
//!
//! The same states over memory and over kernel sockets (`hostNetwork`). What WASI allows beyond
//! Linux, or refuses, is the business of the WASI interfaces.

pub(crate) mod connect;
pub(crate) mod dial;
pub(crate) mod incoming;
pub(crate) mod listener;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};

use model::container::Protocol;
use rustix::io::Errno;
use rustix::net::SocketType;
use serde::{Deserialize, Serialize};

use self::dial::Attempt;
pub use self::incoming::TcpIncoming;
use self::listener::ListenGuard;
pub use self::listener::TcpListener;
use crate::budget::Share;
use crate::error::NetError;
use crate::kernel;
use crate::limits::{DEFAULT_BACKLOG, MAX_BACKLOG};
use crate::options::{Options, SetOption};
use crate::pod::PodNet;
use crate::ports::{PortClaim, Reach};
use crate::stream::{Link, TcpStream};

/// The address family of a socket; it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A TCP socket of a guest, from its creation to its end.
///
/// Dropping it closes it: a listener's waiting connections are reset once its [`TcpIncoming`]s are
/// gone too, a connection ends once the last clone of its [`TcpStream`] is.
#[derive(Debug)]
pub struct TcpSocket {
    net: PodNet,
    family: Family,
    options: Options,
    backlog: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Unbound(Share),
    Bound(Share, Bound),
    Listening(Arc<ListenGuard>),
    Connecting(Result<Attempt, NetError>),
    Connected(TcpStream),
    Closed,
}

/// What a bound socket holds.
#[derive(Debug)]
pub(crate) enum Bound {
    /// A port of the pod.
    Port(PortClaim),
    /// A kernel socket, counted: `hostNetwork`.
    Kernel(OwnedFd, Share),
}

// === impl Family ===

impl Family {
    /// The family of an address as it is written; mapped addresses are IPv6.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    pub(crate) fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// An address as a socket of this family writes it: IPv4 is mapped on an IPv6 socket.
    pub(crate) fn show(self, address: SocketAddr) -> SocketAddr {
        match (self, address.ip()) {
            (Self::V6, IpAddr::V4(v4)) => (v4.to_ipv6_mapped(), address.port()).into(),
            _ => address,
        }
    }
}

/// Refuses what is no destination or source of one socket: another family, several hosts.
pub(crate) fn check_unicast(family: Family, address: IpAddr) -> Result<(), NetError> {
    let canonical = address.to_canonical();
    let broadcast = canonical == IpAddr::V4(Ipv4Addr::BROADCAST);
    if Family::of(address) != family || canonical.is_multicast() || broadcast {
        return Err(NetError::InvalidArgument);
    }
    Ok(())
}

// === impl TcpSocket ===

impl TcpSocket {
    pub(crate) fn new(net: PodNet, family: Family, slot: Share) -> Self {
        let state = State::Unbound(slot);
        Self {
            net,
            family,
            options: Options::DEFAULT,
            backlog: DEFAULT_BACKLOG,
            state,
        }
    }

    /// A socket that a listener accepted.
    pub(crate) fn accepted(
        net: PodNet,
        family: Family,
        options: Options,
        stream: TcpStream,
    ) -> Self {
        let state = State::Connected(stream);
        Self {
            net,
            family,
            options,
            backlog: DEFAULT_BACKLOG,
            state,
        }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Binds to one of the pod's addresses, localhost or the wildcard; port 0 chooses one.
    ///
    /// # Errors
    /// [`NetError::InvalidState`] if bound; [`NetError::InvalidArgument`] for another family, a
    /// mapped or a non-unicast address; [`NetError::AddressNotBindable`];
    /// [`NetError::AddressInUse`]; [`NetError::AccessDenied`] for a low port of the host's
    /// network.
    pub fn bind(&mut self, address: SocketAddr) -> Result<(), NetError> {
        let State::Unbound(_) = &self.state else {
            return Err(NetError::InvalidState);
        };
        check_unicast(self.family, address.ip())?;
        if address.ip().to_canonical() != address.ip() {
            return Err(NetError::InvalidArgument);
        }
        let bound = if self.net.is_host_network() {
            let share = self.net.pod.kernel_slot()?;
            let socket = kernel::open(self.family, SocketType::STREAM)?;
            let bind = || rustix::net::bind(&socket, &address);
            match bind() {
                Err(Errno::ADDRINUSE) if self.net.pod.yield_v4(address) => bind()?,
                bound => bound?,
            }
            Bound::Kernel(socket, share)
        } else if self.net.pod.may_bind(address.ip()) {
            let reach = Reach::of(address.ip());
            Bound::Port(PortClaim::bind(
                &self.net.pod,
                Protocol::Tcp,
                reach,
                address.port(),
            )?)
        } else {
            return Err(NetError::AddressNotBindable);
        };
        self.state = match self.take() {
            State::Unbound(slot) => State::Bound(slot, bound),
            other => other,
        };
        Ok(())
    }

    /// Listens with the backlog set, on an ephemeral port of the wildcard address if not bound.
    /// Opens the doors of the port, for which it may have to wait; their failures are notices and
    /// never this call's. A socket whose caller waits no longer is closed.
    ///
    /// # Errors
    /// [`NetError::InvalidState`] if listening or connected; [`NetError::AddressInUse`].
    pub async fn listen(&mut self) -> Result<(), NetError> {
        if let State::Unbound(_) = &self.state {
            self.bind(SocketAddr::new(self.family.unspecified(), 0))?;
        }
        match self.take() {
            State::Bound(slot, bound) => {
                let settings = (self.family, self.options, self.backlog);
                let guard = ListenGuard::listen(&self.net, slot, bound, settings).await?;
                self.state = State::Listening(Arc::new(guard));
                Ok(())
            }
            other => {
                self.state = other;
                Err(NetError::InvalidState)
            }
        }
    }

    /// The listener of a listening socket.
    pub fn listener(&self) -> Option<&TcpListener> {
        match &self.state {
            State::Listening(guard) => Some(guard.listener()),
            _ => None,
        }
    }

    /// The connections of a listening socket, which it is listening for as long as either is kept.
    pub fn incoming(&self) -> Option<TcpIncoming> {
        match &self.state {
            State::Listening(guard) => Some(TcpIncoming::new(Arc::clone(guard))),
            _ => None,
        }
    }

    /// The longest queue of waiting connections; cut at [`crate::limits::MAX_BACKLOG`]. May change
    /// while listening.
    ///
    /// # Errors
    /// [`NetError::InvalidArgument`] for 0, [`NetError::InvalidState`] once connected.
    pub fn set_backlog(&mut self, backlog: u64) -> Result<(), NetError> {
        let backlog = u32::try_from(backlog).unwrap_or(u32::MAX).min(MAX_BACKLOG);
        match &self.state {
            _ if backlog == 0 => return Err(NetError::InvalidArgument),
            State::Unbound(_) | State::Bound(..) => {}
            State::Listening(guard) => guard.listener().set_backlog(backlog),
            State::Connecting(_) | State::Connected(_) | State::Closed => {
                return Err(NetError::InvalidState);
            }
        }
        self.backlog = backlog;
        Ok(())
    }

    /// Takes a waiting connection: [`TcpListener::try_accept`].
    ///
    /// # Errors
    /// [`NetError::InvalidState`] if not listening; [`NetError::WouldBlock`].
    pub fn try_accept(&self) -> Result<Self, NetError> {
        self.listener().ok_or(NetError::InvalidState)?.try_accept()
    }

    /// Begins to connect. What the switch decides is told by [`TcpSocket::try_finish_connect`],
    /// at once for destinations in memory. As on Linux the wildcard address means localhost.
    ///
    /// # Errors
    /// [`NetError::InvalidState`] if listening, connecting or connected;
    /// [`NetError::InvalidArgument`] for another family, a mapped or a non-unicast address, or
    /// port 0.
    pub fn connect(&mut self, address: SocketAddr) -> Result<(), NetError> {
        let (State::Unbound(_) | State::Bound(..)) = &self.state else {
            return Err(NetError::InvalidState);
        };
        check_unicast(self.family, address.ip())?;
        // IPv6 sockets are v6-only, as WASI demands.
        if address.ip().to_canonical() != address.ip() || address.port() == 0 {
            return Err(NetError::InvalidArgument);
        }
        let (slot, bound) = match self.take() {
            State::Unbound(slot) => (slot, None),
            State::Bound(slot, bound) => (slot, Some(bound)),
            other => {
                self.state = other;
                return Err(NetError::InvalidState);
            }
        };
        let call = connect::Call {
            net: &self.net,
            family: self.family,
            options: &self.options,
            slot,
            bound,
        };
        self.state = State::Connecting(call.connect(address));
        Ok(())
    }

    /// The connection, once there is one; afterwards [`TcpSocket::stream`] has it.
    ///
    /// # Errors
    /// [`NetError::WouldBlock`] while under way, [`NetError::InvalidState`] if `connect` was not
    /// called or has been finished, else why it failed; the socket is then closed.
    pub fn try_finish_connect(&mut self) -> Result<TcpStream, NetError> {
        let result = match &self.state {
            State::Connecting(Ok(Attempt::Peer(dial))) => {
                dial.outcome().ok_or(NetError::WouldBlock)?
            }
            State::Connecting(Ok(Attempt::Stream(stream))) => match stream.link() {
                Link::Memory(_) => Ok(stream.clone()),
                Link::Kernel(end) => match end.socket().connected() {
                    None => return Err(NetError::WouldBlock),
                    Some(done) => done.map(|_| stream.clone()),
                },
            },
            State::Connecting(Err(error)) => Err(*error),
            _ => return Err(NetError::InvalidState),
        };
        self.state = match &result {
            Ok(stream) => State::Connected(stream.clone()),
            Err(_) => State::Closed,
        };
        result
    }

    /// The stream of a connected (or accepted) socket.
    pub fn stream(&self) -> Option<&TcpStream> {
        match &self.state {
            State::Connected(stream) => Some(stream),
            _ => None,
        }
    }

    /// Ready when there is something to do: a connection to accept, a connect to finish. Always in
    /// every other state.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.state {
            State::Listening(guard) => guard.listener().poll_acceptable(cx),
            State::Connecting(Ok(Attempt::Peer(dial))) => dial.poll(cx),
            State::Connecting(Ok(Attempt::Stream(stream))) => match stream.link() {
                Link::Memory(_) => Poll::Ready(()),
                Link::Kernel(end) => end.socket().poll_writable(cx),
            },
            _ => Poll::Ready(()),
        }
    }

    /// Ends one or both directions of a connection.
    ///
    /// # Errors
    /// [`NetError::InvalidState`] if not connected.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), NetError> {
        self.stream().ok_or(NetError::InvalidState)?.shutdown(how);
        Ok(())
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// [`NetError::InvalidState`] if it is not, is connecting, or is closed.
    pub fn local_address(&self) -> Result<SocketAddr, NetError> {
        match &self.state {
            State::Bound(_, Bound::Port(claim)) => Ok(claim.address()),
            State::Bound(_, Bound::Kernel(socket, _)) => Ok(kernel::local_address(socket)?),
            State::Listening(guard) => Ok(guard.listener().local_address()),
            State::Connected(stream) => Ok(stream.local_address()),
            State::Unbound(_) | State::Connecting(_) | State::Closed => Err(NetError::InvalidState),
        }
    }

    /// Whom it is connected to.
    ///
    /// # Errors
    /// [`NetError::InvalidState`] if it is not.
    pub fn remote_address(&self) -> Result<SocketAddr, NetError> {
        self.stream()
            .map(TcpStream::remote_address)
            .ok_or(NetError::InvalidState)
    }

    /// Its options as they stand.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Sets an option.
    ///
    /// # Errors
    /// [`NetError::InvalidArgument`] for 0 where 0 means nothing.
    pub fn set_option(&mut self, option: SetOption) -> Result<(), NetError> {
        let before = self.options;
        self.options.set(option)?;
        match &self.state {
            State::Listening(guard) => guard.listener().set_options(self.options),
            State::Connecting(Ok(Attempt::Stream(stream))) | State::Connected(stream) => {
                if let Link::Kernel(end) = stream.link() {
                    let family = Family::of(stream.remote_address().ip().to_canonical());
                    kernel::apply(&before, &self.options, family, end.socket().as_fd());
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether it listens.
    pub fn is_listening(&self) -> bool {
        matches!(self.state, State::Listening(_))
    }

    fn take(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Closed)
    }
}

#[cfg(test)]
mod tests;
