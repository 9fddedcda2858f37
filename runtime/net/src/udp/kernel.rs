//! What a UDP socket does through the kernel: toward the world, and all of it on the host's network.

use std::net::SocketAddr;

use super::outside::Via;
use super::{Inner, State};
use crate::door;
use crate::error::NetError;
use crate::kernel;

// === impl Inner ===

impl Inner {
    pub(super) fn disconnect(&self, state: &mut State) -> Result<(), NetError> {
        if state.peer.take().is_none() {
            return Err(NetError::InvalidState);
        }
        state.refused = None;
        state.outside.disconnect(self.net.is_host_network())
    }

    pub(super) fn connect_outside(
        &self,
        state: &mut State,
        peer: SocketAddr,
    ) -> Result<(), NetError> {
        state.outside.close_socket();
        let options = state.options;
        let socket = state.outside.socket(&self.net.pod, self.family, &options)?;
        rustix::net::connect(socket, &peer)?;
        state.outside.remember(peer, Via::Outside);
        Ok(())
    }

    pub(super) fn send_outside(
        &self,
        state: &mut State,
        datagram: &[u8],
        to: SocketAddr,
    ) -> Result<(), NetError> {
        let options = state.options;
        let socket = state.outside.socket(&self.net.pod, self.family, &options)?;
        match state.peer {
            Some(_) => socket.send(datagram),
            None => socket.send_to(datagram, to),
        }?;
        state.outside.remember(to, Via::Outside);
        Ok(())
    }

    pub(super) fn bind_kernel(
        &self,
        state: &mut State,
        address: SocketAddr,
    ) -> Result<SocketAddr, NetError> {
        let options = state.options;
        let socket = state.outside.socket(&self.net.pod, self.family, &options)?;
        rustix::net::bind(socket, &address)?;
        let address = kernel::local_address(socket)?;
        state.outside.set_host_address(address);
        Ok(address)
    }

    pub(super) fn connect_kernel(
        &self,
        state: &mut State,
        peer: SocketAddr,
    ) -> Result<(), NetError> {
        let options = state.options;
        let socket = state.outside.socket(&self.net.pod, self.family, &options)?;
        rustix::net::connect(socket, &peer)?;
        let address = kernel::local_address(socket)?;
        state.outside.set_host_address(address);
        Ok(())
    }

    pub(super) fn send_from_host(
        &self,
        state: &mut State,
        datagram: &[u8],
        to: SocketAddr,
    ) -> Result<(), NetError> {
        let options = state.options;
        let socket = state.outside.socket(&self.net.pod, self.family, &options)?;
        match state.peer {
            Some(_) => socket.send(datagram),
            None => socket.send_to(datagram, to),
        }?;
        // The first datagram binds it.
        let address = kernel::local_address(socket)?;
        state.outside.set_host_address(address);
        Ok(())
    }

    /// Moves datagrams from the kernel into the queue. False where it stopped early with nothing
    /// for this socket.
    pub(super) fn pump(&self, state: &mut State) -> bool {
        let State {
            outside,
            queue,
            peer,
            refused,
            ..
        } = state;
        let host = self.net.is_host_network();
        let read = outside.read(
            host,
            |from| door::shown(&self.net.pod, from),
            |bytes, from| peer.is_none_or(|peer| peer == from) && queue.push(bytes, from),
        );
        match read {
            Ok(all_read) => all_read || !queue.is_empty(),
            Err(error) => {
                *refused = Some(error);
                true
            }
        }
    }
}
