//! Queues of their own: endpoints whose connections arrive at a listener that nobody else has, and
//! may wait there.
//!
//! One that leads to the listener of all is led to its own by the same entry of the table, so that
//! nobody is refused between. It has it until it is closed.

use std::os::fd::OwnedFd;

use super::{Held, Lane, Place, Shared, listener};
use crate::limits::{MAX_LANES, MAX_QUEUES, MAX_QUEUES_PER_POD};
use crate::steer::program::keys_at;
use crate::steer::tables::refused;
use crate::steer::{Endpoint, SteerError, Way};

// === impl Lane ===

impl Lane {
    /// [`crate::Steer::single_out`], at once.
    ///
    /// # Errors
    /// As there.
    pub fn single_out(&self, endpoint: Endpoint) -> Result<OwnedFd, SteerError> {
        let place = self.place(endpoint)?;
        let mut held = self.held.lock();
        if held.endpoints.get(&place.key) != Some(&Way::Listener) {
            return Err(SteerError::Foreign(endpoint.at.ip()));
        }
        held.check_queue(endpoint, place)?;
        let number = self.shared.queues.lock().take(MAX_QUEUES);
        let number = number.ok_or_else(SteerError::queues)?;
        let made = self.shared.make_queue(place, number);
        if made.is_ok() {
            held.queues.insert(place.key, number);
        } else {
            self.shared.free_queue(number);
        }
        made
    }

    /// [`crate::Steer::rejoin`].
    pub fn rejoin(&self, endpoint: Endpoint) {
        let Ok(place) = self.place(endpoint) else {
            return;
        };
        let mut held = self.held.lock();
        let (Some(queue), Some(lane)) = (held.queues.remove(&place.key), held.number) else {
            return;
        };
        if let Some(tables) = self.shared.tables.get()
            && let Err(error) = tables.lead(place.key, listener(lane, place.family))
        {
            tracing::warn!(%error, at = %endpoint.at, "a port is reached no longer");
        }
        self.shared.free_queue(queue);
    }
}

// === impl Held ===

impl Held {
    /// Whether an endpoint may have a queue of its own.
    fn check_queue(&self, endpoint: Endpoint, place: Place) -> Result<(), SteerError> {
        if self.queues.contains_key(&place.key) {
            return Err(SteerError::Taken(endpoint.at));
        }
        let there = self.queues.range(keys_at(place.address));
        if there.count() < MAX_QUEUES_PER_POD {
            return Ok(());
        }
        Err(SteerError::pod_queues())
    }
}

// === impl Shared ===

impl Shared {
    /// Makes a listener and leads an open endpoint to it.
    fn make_queue(&self, place: Place, number: u32) -> Result<OwnedFd, SteerError> {
        let tables = self.tables()?;
        let socket = self.listener(place.family);
        let socket = socket.map_err(|errno| refused("listening", &errno))?;
        tables
            .set_listener(queue(number), &socket)
            .map_err(|error| refused("taking a listener", &error))?;
        tables
            .lead(place.key, queue(number))
            .map_err(|error| refused("leading a port to its queue", &error))?;
        Ok(socket)
    }

    /// Takes back the place of a queue to which nothing leads any more.
    pub(super) fn free_queue(&self, number: u32) {
        if let Some(tables) = self.tables.get() {
            tables.clear_listener(queue(number));
        }
        self.queues.lock().free.push(number);
    }
}

/// The number of the listener of a queue: behind those of all lanes.
fn queue(number: u32) -> u32 {
    MAX_LANES * 2 + number
}
