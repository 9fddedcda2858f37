//! `tcp-socket`.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use net::{NetError, SetOption, TcpStream};
use wasmtime::component::{Access, Accessor, FutureReader, Resource, ResourceTable, StreamReader};
use wasmtime_wasi::p3::bindings::sockets::types::{
    Duration, ErrorCode, HostTcpSocket, HostTcpSocketWithStore, IpAddressFamily, IpSocketAddress,
    TcpSocket,
};
use wasmtime_wasi::p3::sockets::{SocketError, SocketResult};

use super::super::outcome::{Outcome, Teller};
use super::streams::{Accepting, Receiving, Sending};
use super::{code, family_of, family_to_wasi, refused};
use crate::guest::Guest;
use crate::wasi::p2::sockets::{HasSockets, SocketsView};
use crate::wasi::p2::{ours, theirs};

/// A socket, and which directions of its connection a stream has taken.
pub(super) struct Socket {
    inner: net::TcpSocket,
    sends: bool,
    receives: bool,
}

type Handle = Resource<TcpSocket>;

fn socket<'a>(table: &'a ResourceTable, handle: &Handle) -> SocketResult<&'a Socket> {
    table.get(&ours(handle)).map_err(SocketError::trap)
}

fn socket_mut<'a>(table: &'a mut ResourceTable, handle: &Handle) -> SocketResult<&'a mut Socket> {
    table.get_mut(&ours(handle)).map_err(SocketError::trap)
}

// === impl HasSockets ===

impl HostTcpSocketWithStore<Guest> for HasSockets {
    async fn connect(
        store: &Accessor<Guest, Self>,
        this: Handle,
        remote: IpSocketAddress,
    ) -> SocketResult<()> {
        let remote = SocketAddr::from(remote);
        store.with(|mut access| socket_mut(access.get().table, &this)?.connect(remote))?;
        let connected = |cx: &mut Context<'_>| {
            store.with(|mut access| match socket_mut(access.get().table, &this) {
                Ok(socket) => socket.poll_connected(cx),
                Err(error) => Poll::Ready(Err(error)),
            })
        };
        poll_fn(connected).await
    }

    async fn listen(
        mut store: Access<'_, Guest, Self>,
        this: Handle,
    ) -> SocketResult<StreamReader<Handle>> {
        let socket = socket_mut(store.get().table, &this)?;
        socket.inner.listen().await.map_err(refused)?;
        let incoming = socket.inner.incoming().ok_or(ErrorCode::InvalidState)?;
        StreamReader::new(&mut store, Accepting::new(incoming)).map_err(SocketError::trap)
    }

    fn send(
        mut store: Access<'_, Guest, Self>,
        this: Handle,
        mut data: StreamReader<u8>,
    ) -> wasmtime::Result<FutureReader<Outcome<ErrorCode>>> {
        let socket = store.get().table.get_mut(&ours::<_, Socket>(&this))?;
        match socket.take(|socket| &mut socket.sends) {
            Ok(stream) => {
                let (teller, told) = Teller::new();
                data.pipe(&mut store, Sending::new(stream, teller))?;
                FutureReader::new(&mut store, told)
            }
            Err(error) => {
                data.close(&mut store)?;
                FutureReader::new(&mut store, failed(error))
            }
        }
    }

    fn receive(
        mut store: Access<'_, Guest, Self>,
        this: Handle,
    ) -> wasmtime::Result<(StreamReader<u8>, FutureReader<Outcome<ErrorCode>>)> {
        let socket = store.get().table.get_mut(&ours::<_, Socket>(&this))?;
        match socket.take(|socket| &mut socket.receives) {
            Ok(stream) => {
                let (teller, told) = Teller::new();
                let data = StreamReader::new(&mut store, Receiving::new(stream, teller))?;
                Ok((data, FutureReader::new(&mut store, told)?))
            }
            Err(error) => {
                let data = StreamReader::new(&mut store, std::iter::empty())?;
                Ok((data, FutureReader::new(&mut store, failed(error))?))
            }
        }
    }
}

/// The outcome of what could not begin.
async fn failed(error: NetError) -> wasmtime::Result<Outcome<ErrorCode>> {
    Ok(Err(code(error)))
}

// === impl SocketsView ===

impl SocketsView<'_> {
    fn tcp_options(&self, this: &Handle) -> SocketResult<net::Options> {
        Ok(socket(self.table, this)?.inner.options())
    }

    fn set_tcp_option(&mut self, this: &Handle, option: SetOption) -> SocketResult<()> {
        let socket = socket_mut(self.table, this)?;
        socket.inner.set_option(option).map_err(refused)
    }
}

impl HostTcpSocket for SocketsView<'_> {
    fn create(&mut self, family: IpAddressFamily) -> SocketResult<Handle> {
        let inner = self.net.tcp(family_of(family)).map_err(refused)?;
        let socket = self.table.push(Socket::new(inner));
        socket.map(theirs).map_err(SocketError::trap)
    }

    async fn bind(&mut self, this: Handle, local: IpSocketAddress) -> SocketResult<()> {
        let socket = socket_mut(self.table, &this)?;
        socket.inner.bind(local.into()).map_err(refused)
    }

    fn get_local_address(&mut self, this: Handle) -> SocketResult<IpSocketAddress> {
        let local = socket(self.table, &this)?.inner.local_address();
        local.map(Into::into).map_err(refused)
    }

    fn get_remote_address(&mut self, this: Handle) -> SocketResult<IpSocketAddress> {
        let remote = socket(self.table, &this)?.inner.remote_address();
        remote.map(Into::into).map_err(refused)
    }

    fn get_is_listening(&mut self, this: Handle) -> wasmtime::Result<bool> {
        let socket = self.table.get(&ours::<_, Socket>(&this))?;
        Ok(socket.inner.is_listening())
    }

    fn get_address_family(&mut self, this: Handle) -> wasmtime::Result<IpAddressFamily> {
        let socket = self.table.get(&ours::<_, Socket>(&this))?;
        Ok(family_to_wasi(socket.inner.family()))
    }

    fn set_listen_backlog_size(&mut self, this: Handle, value: u64) -> SocketResult<()> {
        let socket = socket_mut(self.table, &this)?;
        socket.inner.set_backlog(value).map_err(refused)
    }

    fn get_keep_alive_enabled(&mut self, this: Handle) -> SocketResult<bool> {
        Ok(self.tcp_options(&this)?.keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, this: Handle, value: bool) -> SocketResult<()> {
        self.set_tcp_option(&this, SetOption::KeepAlive(value))
    }

    fn get_keep_alive_idle_time(&mut self, this: Handle) -> SocketResult<Duration> {
        Ok(self.tcp_options(&this)?.keep_idle)
    }

    fn set_keep_alive_idle_time(&mut self, this: Handle, value: Duration) -> SocketResult<()> {
        self.set_tcp_option(&this, SetOption::KeepIdle(value))
    }

    fn get_keep_alive_interval(&mut self, this: Handle) -> SocketResult<Duration> {
        Ok(self.tcp_options(&this)?.keep_interval)
    }

    fn set_keep_alive_interval(&mut self, this: Handle, value: Duration) -> SocketResult<()> {
        self.set_tcp_option(&this, SetOption::KeepInterval(value))
    }

    fn get_keep_alive_count(&mut self, this: Handle) -> SocketResult<u32> {
        Ok(self.tcp_options(&this)?.keep_count)
    }

    fn set_keep_alive_count(&mut self, this: Handle, value: u32) -> SocketResult<()> {
        self.set_tcp_option(&this, SetOption::KeepCount(value))
    }

    fn get_hop_limit(&mut self, this: Handle) -> SocketResult<u8> {
        Ok(self.tcp_options(&this)?.hop_limit)
    }

    fn set_hop_limit(&mut self, this: Handle, value: u8) -> SocketResult<()> {
        self.set_tcp_option(&this, SetOption::HopLimit(value))
    }

    fn get_receive_buffer_size(&mut self, this: Handle) -> SocketResult<u64> {
        Ok(self.tcp_options(&this)?.receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, this: Handle, value: u64) -> SocketResult<()> {
        self.set_tcp_option(&this, SetOption::ReceiveBuffer(value))
    }

    fn get_send_buffer_size(&mut self, this: Handle) -> SocketResult<u64> {
        Ok(self.tcp_options(&this)?.send_buffer)
    }

    fn set_send_buffer_size(&mut self, this: Handle, value: u64) -> SocketResult<()> {
        self.set_tcp_option(&this, SetOption::SendBuffer(value))
    }

    fn drop(&mut self, this: Handle) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Socket>(&this))?;
        Ok(())
    }
}

// === impl Socket ===

impl Socket {
    pub(super) fn new(inner: net::TcpSocket) -> Self {
        Self {
            inner,
            sends: false,
            receives: false,
        }
    }

    fn connect(&mut self, remote: SocketAddr) -> SocketResult<()> {
        // WASI 0.3 says so aloud, where Linux means localhost.
        if remote.ip().is_unspecified() {
            return Err(ErrorCode::InvalidArgument.into());
        }
        self.inner.connect(remote).map_err(refused)
    }

    fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<SocketResult<()>> {
        match self.inner.try_finish_connect() {
            Err(NetError::WouldBlock) => {
                if self.inner.poll_ready(cx).is_ready() {
                    // It came to its end in between.
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            connected => Poll::Ready(connected.map(drop).map_err(refused)),
        }
    }

    /// The connection for one of its directions, which is taken once.
    fn take(&mut self, taken: fn(&mut Self) -> &mut bool) -> Result<TcpStream, NetError> {
        let stream = self.inner.stream().ok_or(NetError::InvalidState)?.clone();
        match std::mem::replace(taken(self), true) {
            false => Ok(stream),
            true => Err(NetError::InvalidState),
        }
    }
}
