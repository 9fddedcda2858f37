//! `wasi:sockets/tcp` and its streams.
//!
//! Binding and listening are decided at once; WASI 0.2 splits each in two calls, so the socket
//! remembers which second call is due.

use std::future::poll_fn;

use bytes::Bytes;
use net::{NetError, SetOption, TcpStream};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::network::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Network,
};
use wasmtime_wasi::p2::bindings::sockets::tcp::{self, Duration, ShutdownType};
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, InputStream, OutputStream, Pollable,
    SocketResult, StreamError, StreamResult, subscribe,
};

use super::addresses::{family_of, family_to_wasi, from_wasi, to_wasi};
use super::{SocketsView, ours, refused, theirs};

/// The most that one read returns.
const READ: usize = 64 << 10;

/// A socket, and which `finish-` call is due.
struct Socket {
    inner: net::TcpSocket,
    due: Option<Due>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Bind,
    Connect,
    Listen,
}

/// What is read from a connection.
struct Input(TcpStream);

/// What is written to a connection.
struct Output(TcpStream);

type Handle = Resource<tcp::TcpSocket>;
type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

// === impl SocketsView ===

impl SocketsView<'_> {
    fn tcp(&self, handle: &Handle) -> SocketResult<&Socket> {
        Ok(self.table.get(&ours::<_, Socket>(handle))?)
    }

    fn tcp_mut(&mut self, handle: &Handle) -> SocketResult<&mut Socket> {
        Ok(self.table.get_mut(&ours::<_, Socket>(handle))?)
    }

    fn set_tcp(&mut self, handle: &Handle, option: SetOption) -> SocketResult<()> {
        self.tcp_mut(handle)?
            .inner
            .set_option(option)
            .map_err(refused)
    }

    /// The two streams of a connection, children of its socket.
    fn streams(&mut self, stream: &TcpStream, socket: &Resource<Socket>) -> SocketResult<Streams> {
        let input: DynInputStream = Box::new(Input(stream.clone()));
        let output: DynOutputStream = Box::new(Output(stream.clone()));
        Ok((
            self.table.push_child(input, socket)?,
            self.table.push_child(output, socket)?,
        ))
    }
}

impl tcp_create_socket::Host for SocketsView<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Handle> {
        let inner = self.net.tcp(family_of(family)).map_err(refused)?;
        Ok(theirs(self.table.push(Socket { inner, due: None })?))
    }
}

impl tcp::Host for SocketsView<'_> {}

impl tcp::HostTcpSocket for SocketsView<'_> {
    async fn start_bind(
        &mut self,
        this: Handle,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.capability(&network)?;
        let socket = self.tcp_mut(&this)?;
        socket.nothing_due()?;
        socket.inner.bind(from_wasi(address)).map_err(refused)?;
        socket.due = Some(Due::Bind);
        Ok(())
    }

    fn finish_bind(&mut self, this: Handle) -> SocketResult<()> {
        self.tcp_mut(&this)?.finish(Due::Bind)
    }

    fn start_connect(
        &mut self,
        this: Handle,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.capability(&network)?;
        let socket = self.tcp_mut(&this)?;
        socket.nothing_due()?;
        socket.inner.connect(from_wasi(address)).map_err(refused)?;
        socket.due = Some(Due::Connect);
        Ok(())
    }

    fn finish_connect(&mut self, this: Handle) -> SocketResult<Streams> {
        let socket = self.tcp_mut(&this)?;
        if socket.due != Some(Due::Connect) {
            return Err(ErrorCode::NotInProgress.into());
        }
        let connected = socket.inner.try_finish_connect();
        if !matches!(connected, Err(NetError::WouldBlock)) {
            socket.due = None;
        }
        let stream = connected.map_err(refused)?;
        self.streams(&stream, &ours(&this))
    }

    async fn start_listen(&mut self, this: Handle) -> SocketResult<()> {
        let socket = self.tcp_mut(&this)?;
        socket.nothing_due()?;
        // In WASI 0.2 a socket is bound before it listens.
        if socket.inner.local_address().is_err() {
            return Err(ErrorCode::InvalidState.into());
        }
        socket.inner.listen().await.map_err(refused)?;
        socket.due = Some(Due::Listen);
        Ok(())
    }

    fn finish_listen(&mut self, this: Handle) -> SocketResult<()> {
        self.tcp_mut(&this)?.finish(Due::Listen)
    }

    fn accept(
        &mut self,
        this: Handle,
    ) -> SocketResult<(Handle, Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let accepted = self.tcp(&this)?.inner.try_accept().map_err(refused)?;
        let stream = accepted
            .stream()
            .cloned()
            .ok_or(ErrorCode::ConnectionAborted)?;
        let socket = self.table.push(Socket {
            inner: accepted,
            due: None,
        })?;
        let (input, output) = self.streams(&stream, &socket)?;
        Ok((theirs(socket), input, output))
    }

    fn local_address(&mut self, this: Handle) -> SocketResult<IpSocketAddress> {
        self.tcp(&this)?
            .inner
            .local_address()
            .map(to_wasi)
            .map_err(refused)
    }

    fn remote_address(&mut self, this: Handle) -> SocketResult<IpSocketAddress> {
        self.tcp(&this)?
            .inner
            .remote_address()
            .map(to_wasi)
            .map_err(refused)
    }

    fn is_listening(&mut self, this: Handle) -> wasmtime::Result<bool> {
        Ok(self
            .table
            .get(&ours::<_, Socket>(&this))?
            .inner
            .is_listening())
    }

    fn address_family(&mut self, this: Handle) -> wasmtime::Result<IpAddressFamily> {
        Ok(family_to_wasi(
            self.table.get(&ours::<_, Socket>(&this))?.inner.family(),
        ))
    }

    fn set_listen_backlog_size(&mut self, this: Handle, value: u64) -> SocketResult<()> {
        self.tcp_mut(&this)?
            .inner
            .set_backlog(value)
            .map_err(refused)
    }

    fn keep_alive_enabled(&mut self, this: Handle) -> SocketResult<bool> {
        Ok(self.tcp(&this)?.inner.options().keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, this: Handle, value: bool) -> SocketResult<()> {
        self.set_tcp(&this, SetOption::KeepAlive(value))
    }

    fn keep_alive_idle_time(&mut self, this: Handle) -> SocketResult<Duration> {
        Ok(self.tcp(&this)?.inner.options().keep_idle)
    }

    fn set_keep_alive_idle_time(&mut self, this: Handle, value: Duration) -> SocketResult<()> {
        self.set_tcp(&this, SetOption::KeepIdle(value))
    }

    fn keep_alive_interval(&mut self, this: Handle) -> SocketResult<Duration> {
        Ok(self.tcp(&this)?.inner.options().keep_interval)
    }

    fn set_keep_alive_interval(&mut self, this: Handle, value: Duration) -> SocketResult<()> {
        self.set_tcp(&this, SetOption::KeepInterval(value))
    }

    fn keep_alive_count(&mut self, this: Handle) -> SocketResult<u32> {
        Ok(self.tcp(&this)?.inner.options().keep_count)
    }

    fn set_keep_alive_count(&mut self, this: Handle, value: u32) -> SocketResult<()> {
        self.set_tcp(&this, SetOption::KeepCount(value))
    }

    fn hop_limit(&mut self, this: Handle) -> SocketResult<u8> {
        Ok(self.tcp(&this)?.inner.options().hop_limit)
    }

    fn set_hop_limit(&mut self, this: Handle, value: u8) -> SocketResult<()> {
        self.set_tcp(&this, SetOption::HopLimit(value))
    }

    fn receive_buffer_size(&mut self, this: Handle) -> SocketResult<u64> {
        Ok(self.tcp(&this)?.inner.options().receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, this: Handle, value: u64) -> SocketResult<()> {
        self.set_tcp(&this, SetOption::ReceiveBuffer(value))
    }

    fn send_buffer_size(&mut self, this: Handle) -> SocketResult<u64> {
        Ok(self.tcp(&this)?.inner.options().send_buffer)
    }

    fn set_send_buffer_size(&mut self, this: Handle, value: u64) -> SocketResult<()> {
        self.set_tcp(&this, SetOption::SendBuffer(value))
    }

    fn subscribe(&mut self, this: Handle) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, ours::<_, Socket>(&this))
    }

    fn shutdown(&mut self, this: Handle, how: ShutdownType) -> SocketResult<()> {
        let how = match how {
            ShutdownType::Receive => std::net::Shutdown::Read,
            ShutdownType::Send => std::net::Shutdown::Write,
            ShutdownType::Both => std::net::Shutdown::Both,
        };
        self.tcp(&this)?.inner.shutdown(how).map_err(refused)
    }

    fn drop(&mut self, this: Handle) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Socket>(&this))?;
        Ok(())
    }
}

// === impl Socket ===

impl Socket {
    fn nothing_due(&self) -> SocketResult<()> {
        match self.due {
            None => Ok(()),
            Some(_) => Err(ErrorCode::ConcurrencyConflict.into()),
        }
    }

    fn finish(&mut self, due: Due) -> SocketResult<()> {
        if self.due != Some(due) {
            return Err(ErrorCode::NotInProgress.into());
        }
        self.due = None;
        Ok(())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Socket {
    async fn ready(&mut self) {
        poll_fn(|cx| self.inner.poll_ready(cx)).await;
    }
}

// === impl Input ===

#[wasmtime_wasi::async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        match self.0.try_read_bytes(size.min(READ)) {
            Ok(bytes) if bytes.is_empty() => Err(StreamError::Closed),
            Ok(bytes) => Ok(bytes),
            Err(NetError::WouldBlock) => Ok(Bytes::new()),
            Err(error) => Err(StreamError::LastOperationFailed(error.into())),
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.poll_read_ready(cx)).await;
    }
}

// === impl Output ===

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write_permitted(&bytes).map_err(broken)
    }

    fn flush(&mut self) -> StreamResult<()> {
        // Nothing is held back on this side.
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match self.0.writable() {
            Err(NetError::WouldBlock) => Ok(0),
            other => other.map_err(broken),
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.poll_write_ready(cx)).await;
    }
}

/// A write that failed: closed where the peer is gone, else with the reason.
fn broken(error: NetError) -> StreamError {
    match error {
        NetError::ConnectionBroken => StreamError::Closed,
        NetError::InvalidArgument => StreamError::trap("a write beyond what check-write allowed"),
        error => StreamError::LastOperationFailed(error.into()),
    }
}
