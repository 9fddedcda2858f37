//! `udp-socket`.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use net::limits::MAX_DATAGRAM;
use net::{NetError, SetOption};
use tokio::sync::Semaphore;
use wasmtime::AsContextMut as _;
use wasmtime::component::{Accessor, Resource, ResourceTable};
use wasmtime_wasi::p3::bindings::sockets::types::{
    HostUdpSocket, HostUdpSocketWithStore, IpAddressFamily, IpSocketAddress, UdpSocket,
};
use wasmtime_wasi::p3::sockets::{SocketError, SocketResult};

use super::{attempt, family_of, family_to_wasi, refused};
use crate::guest::Guest;
use crate::wasi::p2::sockets::{HasSockets, SocketsView};
use crate::wasi::p2::{ours, theirs};

/// A socket. A guest may have thousands of calls wait at one socket: they take turns, so that what
/// comes wakes one of them, the first.
#[derive(Clone)]
struct Socket {
    inner: net::UdpSocket,
    /// Of those that receive, whose turn it is: one permit.
    receiving: Arc<Semaphore>,
    /// Of those that send.
    sending: Arc<Semaphore>,
}

type Handle = Resource<UdpSocket>;

fn socket<'a>(table: &'a ResourceTable, handle: &Handle) -> SocketResult<&'a Socket> {
    table.get(&ours(handle)).map_err(SocketError::trap)
}

// === impl HasSockets ===

impl HostUdpSocketWithStore<Guest> for HasSockets {
    async fn send(
        store: &Accessor<Guest, Self>,
        this: Handle,
        data: Vec<u8>,
        remote: Option<IpSocketAddress>,
    ) -> SocketResult<()> {
        let socket = store.with(|mut access| socket(access.get().table, &this).cloned())?;
        let remote = remote.map(SocketAddr::from);
        if let Some(sent) = socket.send_now(&data, remote) {
            return sent.map_err(refused);
        }
        // What waits is the guest's memory, which could have thousands wait.
        let held = store.with(|mut access| {
            let account = Arc::clone(access.as_context_mut().data().limiter.account());
            account.hold(data.len())
        });
        let Ok(_held) = held else {
            // The guest has been ended.
            return std::future::pending().await;
        };
        socket.send(&data, remote).await.map_err(refused)
    }

    async fn receive(
        store: &Accessor<Guest, Self>,
        this: Handle,
    ) -> SocketResult<(Vec<u8>, IpSocketAddress)> {
        let socket = store.with(|mut access| socket(access.get().table, &this).cloned())?;
        socket.receive().await
    }
}

// === impl SocketsView ===

impl SocketsView<'_> {
    fn udp_options(&self, this: &Handle) -> SocketResult<net::Options> {
        Ok(socket(self.table, this)?.inner.options())
    }

    fn set_udp_option(&self, this: &Handle, option: SetOption) -> SocketResult<()> {
        let socket = socket(self.table, this)?;
        socket.inner.set_option(option).map_err(refused)
    }
}

impl HostUdpSocket for SocketsView<'_> {
    async fn create(&mut self, family: IpAddressFamily) -> SocketResult<Handle> {
        let inner = self.net.udp(family_of(family)).map_err(refused)?;
        let socket = self.table.push(Socket::new(inner));
        socket.map(theirs).map_err(SocketError::trap)
    }

    async fn bind(&mut self, this: Handle, local: IpSocketAddress) -> SocketResult<()> {
        let socket = socket(self.table, &this)?.inner.clone();
        socket.bind(local.into()).await.map_err(refused)
    }

    async fn connect(&mut self, this: Handle, remote: IpSocketAddress) -> SocketResult<()> {
        let socket = &socket(self.table, &this)?.inner;
        socket.connect(Some(remote.into())).map_err(refused)
    }

    fn disconnect(&mut self, this: Handle) -> SocketResult<()> {
        let socket = &socket(self.table, &this)?.inner;
        socket.connect(None).map_err(refused)
    }

    fn get_local_address(&mut self, this: Handle) -> SocketResult<IpSocketAddress> {
        let local = socket(self.table, &this)?.inner.local_address();
        local.map(Into::into).map_err(refused)
    }

    fn get_remote_address(&mut self, this: Handle) -> SocketResult<IpSocketAddress> {
        let remote = socket(self.table, &this)?.inner.remote_address();
        remote.map(Into::into).map_err(refused)
    }

    fn get_address_family(&mut self, this: Handle) -> wasmtime::Result<IpAddressFamily> {
        let socket = self.table.get(&ours::<_, Socket>(&this))?;
        Ok(family_to_wasi(socket.inner.family()))
    }

    fn get_unicast_hop_limit(&mut self, this: Handle) -> SocketResult<u8> {
        Ok(self.udp_options(&this)?.hop_limit)
    }

    fn set_unicast_hop_limit(&mut self, this: Handle, value: u8) -> SocketResult<()> {
        self.set_udp_option(&this, SetOption::HopLimit(value))
    }

    fn get_receive_buffer_size(&mut self, this: Handle) -> SocketResult<u64> {
        Ok(self.udp_options(&this)?.receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, this: Handle, value: u64) -> SocketResult<()> {
        self.set_udp_option(&this, SetOption::ReceiveBuffer(value))
    }

    fn get_send_buffer_size(&mut self, this: Handle) -> SocketResult<u64> {
        Ok(self.udp_options(&this)?.send_buffer)
    }

    fn set_send_buffer_size(&mut self, this: Handle, value: u64) -> SocketResult<()> {
        self.set_udp_option(&this, SetOption::SendBuffer(value))
    }

    fn drop(&mut self, this: Handle) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Socket>(&this))?;
        Ok(())
    }
}

// === impl Socket ===

impl Socket {
    fn new(inner: net::UdpSocket) -> Self {
        Self {
            inner,
            receiving: Arc::new(Semaphore::new(1)),
            sending: Arc::new(Semaphore::new(1)),
        }
    }

    /// Sends, or says what is wrong with that; nothing where it must wait.
    fn send_now(&self, data: &[u8], remote: Option<SocketAddr>) -> Option<Result<(), NetError>> {
        // WASI 0.3 says so aloud, where Linux means localhost.
        if remote.is_some_and(|remote| remote.ip().is_unspecified()) {
            return Some(Err(NetError::InvalidArgument));
        }
        if data.len() > MAX_DATAGRAM {
            return Some(Err(NetError::DatagramTooLarge));
        }
        let _turn = self.sending.try_acquire().ok()?;
        match self.inner.try_send(data, remote) {
            Err(NetError::WouldBlock) => None,
            sent => Some(sent),
        }
    }

    async fn send(&self, data: &[u8], remote: Option<SocketAddr>) -> Result<(), NetError> {
        // It is never closed.
        let _turn = self.sending.acquire().await;
        poll_fn(|cx| self.poll_send(cx, data, remote)).await
    }

    async fn receive(&self) -> SocketResult<(Vec<u8>, IpSocketAddress)> {
        // It is never closed.
        let _turn = self.receiving.acquire().await;
        let received = poll_fn(|cx| self.poll_receive(cx)).await;
        let (data, from) = received.map_err(refused)?;
        Ok((data.into(), from.into()))
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        data: &[u8],
        remote: Option<SocketAddr>,
    ) -> Poll<Result<(), NetError>> {
        let socket = &self.inner;
        attempt(
            cx,
            || socket.try_send(data, remote),
            |cx| socket.poll_send_ready(cx),
        )
    }

    fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Result<(Bytes, SocketAddr), NetError>> {
        let socket = &self.inner;
        attempt(
            cx,
            || socket.try_receive(),
            |cx| socket.poll_receive_ready(cx),
        )
    }
}
