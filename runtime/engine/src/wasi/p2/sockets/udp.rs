//! `wasi:sockets/udp`.

use std::future::poll_fn;

use net::{NetError, SetOption, UdpSocket};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::network::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Network,
};
use wasmtime_wasi::p2::bindings::sockets::{udp, udp_create_socket};
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketError, SocketResult, subscribe};

use super::addresses::{family_of, family_to_wasi, from_wasi, to_wasi};
use super::{SocketsView, ours, refused, theirs};

/// Datagrams that one call takes or returns: with the bytes below, what the host holds at once.
const DATAGRAMS: usize = 16;

/// Bytes after which `receive` returns what it has.
const BYTES: usize = 64 << 10;

/// A socket, and whether `finish-bind` is due.
struct Socket {
    inner: UdpSocket,
    binding: bool,
}

struct Incoming(UdpSocket);

struct Outgoing {
    socket: UdpSocket,
    /// How many `check-send` allowed.
    permitted: usize,
}

type Handle = Resource<udp::UdpSocket>;

// === impl SocketsView ===

impl SocketsView<'_> {
    fn udp(&self, handle: &Handle) -> SocketResult<&Socket> {
        Ok(self.table.get(&ours::<_, Socket>(handle))?)
    }

    fn set_udp(&self, handle: &Handle, option: SetOption) -> SocketResult<()> {
        self.udp(handle)?.inner.set_option(option).map_err(refused)
    }
}

impl udp_create_socket::Host for SocketsView<'_> {
    async fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Handle> {
        let inner = self.net.udp(family_of(family)).map_err(refused)?;
        Ok(theirs(self.table.push(Socket {
            inner,
            binding: false,
        })?))
    }
}

impl udp::Host for SocketsView<'_> {}

impl udp::HostUdpSocket for SocketsView<'_> {
    async fn start_bind(
        &mut self,
        this: Handle,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.capability(&network)?;
        let socket = self.table.get_mut(&ours::<_, Socket>(&this))?;
        if socket.binding {
            return Err(ErrorCode::ConcurrencyConflict.into());
        }
        let bound = socket.inner.bind(from_wasi(address)).await;
        bound.map_err(refused)?;
        socket.binding = true;
        Ok(())
    }

    fn finish_bind(&mut self, this: Handle) -> SocketResult<()> {
        let socket = self.table.get_mut(&ours::<_, Socket>(&this))?;
        if !std::mem::take(&mut socket.binding) {
            return Err(ErrorCode::NotInProgress.into());
        }
        Ok(())
    }

    async fn stream(
        &mut self,
        this: Handle,
        remote: Option<IpSocketAddress>,
    ) -> SocketResult<(
        Resource<udp::IncomingDatagramStream>,
        Resource<udp::OutgoingDatagramStream>,
    )> {
        let handle = ours::<_, Socket>(&this);
        if self
            .table
            .iter_children(&handle)?
            .any(|child| child.is::<Incoming>() || child.is::<Outgoing>())
        {
            return Err(SocketError::trap(wasmtime::format_err!(
                "the streams of this socket are not dropped yet"
            )));
        }
        let socket = self.udp(&this)?.inner.clone();
        // In WASI 0.2 a socket is bound before it sends.
        if socket.local_address().is_err() {
            return Err(ErrorCode::InvalidState.into());
        }
        match remote {
            Some(remote) => socket.connect(Some(from_wasi(remote))).map_err(refused)?,
            None if socket.remote_address().is_ok() => socket.connect(None).map_err(refused)?,
            None => {}
        }
        let incoming = self.table.push_child(Incoming(socket.clone()), &handle)?;
        let outgoing = self.table.push_child(
            Outgoing {
                socket,
                permitted: 0,
            },
            &handle,
        )?;
        Ok((theirs(incoming), theirs(outgoing)))
    }

    fn local_address(&mut self, this: Handle) -> SocketResult<IpSocketAddress> {
        self.udp(&this)?
            .inner
            .local_address()
            .map(to_wasi)
            .map_err(refused)
    }

    fn remote_address(&mut self, this: Handle) -> SocketResult<IpSocketAddress> {
        self.udp(&this)?
            .inner
            .remote_address()
            .map(to_wasi)
            .map_err(refused)
    }

    fn address_family(&mut self, this: Handle) -> wasmtime::Result<IpAddressFamily> {
        Ok(family_to_wasi(
            self.table.get(&ours::<_, Socket>(&this))?.inner.family(),
        ))
    }

    fn unicast_hop_limit(&mut self, this: Handle) -> SocketResult<u8> {
        Ok(self.udp(&this)?.inner.options().hop_limit)
    }

    fn set_unicast_hop_limit(&mut self, this: Handle, value: u8) -> SocketResult<()> {
        self.set_udp(&this, SetOption::HopLimit(value))
    }

    fn receive_buffer_size(&mut self, this: Handle) -> SocketResult<u64> {
        Ok(self.udp(&this)?.inner.options().receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, this: Handle, value: u64) -> SocketResult<()> {
        self.set_udp(&this, SetOption::ReceiveBuffer(value))
    }

    fn send_buffer_size(&mut self, this: Handle) -> SocketResult<u64> {
        Ok(self.udp(&this)?.inner.options().send_buffer)
    }

    fn set_send_buffer_size(&mut self, this: Handle, value: u64) -> SocketResult<()> {
        self.set_udp(&this, SetOption::SendBuffer(value))
    }

    fn subscribe(&mut self, this: Handle) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, ours::<_, Socket>(&this))
    }

    fn drop(&mut self, this: Handle) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Socket>(&this))?;
        Ok(())
    }
}

impl udp::HostIncomingDatagramStream for SocketsView<'_> {
    fn receive(
        &mut self,
        this: Resource<udp::IncomingDatagramStream>,
        most: u64,
    ) -> SocketResult<Vec<udp::IncomingDatagram>> {
        let socket = &self.table.get(&ours::<_, Incoming>(&this))?.0;
        let most = usize::try_from(most).unwrap_or(DATAGRAMS).min(DATAGRAMS);
        let (mut datagrams, mut bytes) = (Vec::new(), 0);
        while datagrams.len() < most && bytes < BYTES {
            match socket.try_receive() {
                Ok((data, from)) => {
                    bytes += data.len();
                    datagrams.push(udp::IncomingDatagram {
                        data: data.into(),
                        remote_address: to_wasi(from),
                    });
                }
                Err(NetError::WouldBlock) => break,
                // What came before an error is not lost: the error is told by the next call.
                Err(_) if !datagrams.is_empty() => break,
                Err(error) => return Err(refused(error)),
            }
        }
        Ok(datagrams)
    }

    fn subscribe(
        &mut self,
        this: Resource<udp::IncomingDatagramStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, ours::<_, Incoming>(&this))
    }

    fn drop(&mut self, this: Resource<udp::IncomingDatagramStream>) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Incoming>(&this))?;
        Ok(())
    }
}

impl udp::HostOutgoingDatagramStream for SocketsView<'_> {
    fn check_send(&mut self, this: Resource<udp::OutgoingDatagramStream>) -> SocketResult<u64> {
        let outgoing = self.table.get_mut(&ours::<_, Outgoing>(&this))?;
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        outgoing.permitted = if outgoing.socket.poll_send_ready(&mut cx).is_ready() {
            DATAGRAMS
        } else {
            0
        };
        Ok(outgoing.permitted as u64)
    }

    fn send(
        &mut self,
        this: Resource<udp::OutgoingDatagramStream>,
        datagrams: Vec<udp::OutgoingDatagram>,
    ) -> SocketResult<u64> {
        let outgoing = self.table.get_mut(&ours::<_, Outgoing>(&this))?;
        if datagrams.is_empty() {
            return Ok(0);
        }
        if datagrams.len() > std::mem::take(&mut outgoing.permitted) {
            return Err(SocketError::trap(wasmtime::format_err!(
                "more datagrams than check-send allowed"
            )));
        }
        let mut sent = 0;
        for datagram in datagrams {
            match outgoing
                .socket
                .try_send(&datagram.data, datagram.remote_address.map(from_wasi))
            {
                Ok(()) => sent += 1,
                Err(NetError::WouldBlock) => break,
                Err(_) if sent > 0 => break,
                Err(error) => return Err(refused(error)),
            }
        }
        Ok(sent)
    }

    fn subscribe(
        &mut self,
        this: Resource<udp::OutgoingDatagramStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, ours::<_, Outgoing>(&this))
    }

    async fn drop(&mut self, this: Resource<udp::OutgoingDatagramStream>) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Outgoing>(&this))?;
        Ok(())
    }
}

// === impl Pollable ===

#[wasmtime_wasi::async_trait]
impl Pollable for Socket {
    async fn ready(&mut self) {
        // Nothing on the socket itself waits.
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.poll_receive_ready(cx)).await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {
        poll_fn(|cx| self.socket.poll_send_ready(cx)).await;
    }
}
