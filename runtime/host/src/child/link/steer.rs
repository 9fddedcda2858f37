//! What a child asks of steering: which connections from outside reach its pods.
//!
//! A child has no rights. Its parent opens and closes, at addresses of the child's own pods only;
//! the connections arrive at a listener that the child was handed, and pass nobody else. Plain
//! doors that the child may not bind, at ports below 1024, are bound here and handed down too, if
//! a manifest asks for them.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use net::steer::{Endpoint, SteerError, Way};
use net::{Family, Lane};
use rustix::io::Errno;

use super::{Link, Tasks};
use crate::child::ChildConfig;
use crate::known::{Breach, Heard};
use crate::protocol::ToChild;

// === impl Link ===

impl Link {
    /// Makes the listeners at which connections to the child's pods arrive, and hands them over.
    pub(super) fn make_listeners(
        self: &Arc<Self>,
        number: u64,
        tasks: &mut Tasks,
    ) -> Result<(), Breach> {
        let turn = self.turn_to_ask()?;
        let (lane, link) = (self.lane()?, Arc::downgrade(self));
        let making = Arc::clone(&self.making);
        tasks.spawn(async move {
            let alone = making.acquire_owned().await;
            // The first of a run has the kernel take a program, which takes a while.
            let made = tokio::task::spawn_blocking(move || lane.listeners()).await;
            drop(alone);
            let Some(link) = link.upgrade() else { return };
            let told = match made {
                Ok(Ok(listeners)) => link.hand_over_all(listeners).await,
                Ok(Err(error)) => Err(error),
                Err(error) => Err(SteerError::lost(&error)),
            };
            link.tell(&ToChild::Listeners(number, told), Some(turn));
        });
        Ok(())
    }

    /// Opens an endpoint for a pod of the child.
    pub(in crate::child) fn open(
        &self,
        number: u64,
        endpoint: Endpoint,
        way: Way,
    ) -> Result<(), Breach> {
        let turn = self.turn_to_ask()?;
        let opened = match self.check_address(endpoint.at)? {
            Heard::Now => self.lane()?.open(endpoint, way),
            // Its pod has gone, and it does not know yet.
            Heard::LeftOut => Err(SteerError::Foreign(endpoint.at.ip())),
        };
        self.tell(&ToChild::Opened(number, opened), Some(turn));
        Ok(())
    }

    /// Gives an endpoint of the child's a listener of its own, and hands that over.
    pub(super) fn single_out(
        self: &Arc<Self>,
        number: u64,
        endpoint: Endpoint,
        tasks: &mut Tasks,
    ) -> Result<(), Breach> {
        let turn = self.turn_to_ask()?;
        let made = match self.check_address(endpoint.at)? {
            Heard::Now => self.lane()?.single_out(endpoint),
            // Its pod has gone, and it does not know yet.
            Heard::LeftOut => Err(SteerError::Foreign(endpoint.at.ip())),
        };
        let link = Arc::downgrade(self);
        tasks.spawn(async move {
            let Some(link) = link.upgrade() else { return };
            let told = match made {
                Ok(listener) => {
                    let sent = link.hand_over(listener).await;
                    sent.map_err(|error| SteerError::lost(&error))
                }
                Err(error) => Err(error),
            };
            link.tell(&ToChild::SingledOut(number, told), Some(turn));
        });
        Ok(())
    }

    /// Leads an endpoint to the listener of all again. A lane has nothing singled out but what it
    /// has opened.
    pub(super) fn rejoin(&self, endpoint: Endpoint) -> Result<(), Breach> {
        self.lane()?.rejoin(endpoint);
        Ok(())
    }

    /// Closes an endpoint. A lane closes nothing but what it has opened.
    pub(super) fn close(&self, endpoint: Endpoint) -> Result<(), Breach> {
        self.lane()?.close(endpoint);
        Ok(())
    }

    /// Closes all that the child has open at an address, which is no pod's of it any more.
    pub(in crate::child) fn close_all_at(&self, address: IpAddr) {
        let lane = self.state().lane.clone();
        if let Some(lane) = lane {
            lane.close_all_at(address);
        }
    }

    /// Makes the socket of a plain door that the child may not bind, and hands it over.
    pub(super) fn bind(
        self: &Arc<Self>,
        number: u64,
        door: Endpoint,
        config: &ChildConfig,
        tasks: &mut Tasks,
    ) -> Result<(), Breach> {
        let turn = self.turn_to_ask()?;
        let is_of_pods = config.network.has(door.at.ip());
        let bound = match self.know(|known| known.check_door(door, is_of_pods))? {
            Heard::Now => net::bind_socket(door, is_of_pods),
            // Its pod has gone, and it does not know yet.
            Heard::LeftOut => Err(Errno::ACCESS),
        };
        let link = Arc::downgrade(self);
        tasks.spawn(async move {
            let Some(link) = link.upgrade() else { return };
            let told = match bound {
                Ok(socket) => link.hand_over(socket).await.map_err(|_| Errno::NOBUFS),
                Err(errno) => Err(errno),
            };
            let told = told.map_err(Errno::raw_os_error);
            link.tell(&ToChild::Bound(number, told), Some(turn));
        });
        Ok(())
    }

    async fn hand_over_all(
        &self,
        listeners: Vec<(Family, OwnedFd)>,
    ) -> Result<Vec<(Family, u64)>, SteerError> {
        let mut sent = Vec::new();
        for (family, listener) in listeners {
            let number = self.hand_over(listener).await;
            let number = number.map_err(|error| SteerError::lost(&error))?;
            sent.push((family, number));
        }
        Ok(sent)
    }

    /// Sends a descriptor and answers its number.
    ///
    /// # Errors
    /// Where the system has no room for it, or the child is gone.
    pub(super) async fn hand_over(&self, descriptor: OwnedFd) -> io::Result<u64> {
        let number = self.number();
        let sent = self.descriptors.send(number, descriptor.as_fd()).await;
        if let Err(error) = &sent {
            tracing::debug!(%error, "a socket's descriptor cannot be sent");
        }
        sent.map(|()| number)
    }

    fn lane(&self) -> Result<Arc<Lane>, Breach> {
        let lane = self.state().lane.clone();
        lane.ok_or_else(|| Breach::new("it asked for steering, which it was not offered"))
    }
}
