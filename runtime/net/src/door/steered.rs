//! Steered doors: entries in a table of the kernel, one for each listener that others may reach.
//!
//! A listener whose door cannot be steered keeps what the manifest declares as a plain door, as for
//! a user without rights, and one notice says why.

use std::net::SocketAddr;
use std::sync::Arc;

use model::container::Protocol;

use super::{Notice, OpenDoor, Record};
use crate::decide::World;
use crate::limits::MAX_STEERED_PER_POD;
use crate::pod::Pod;
use crate::ports::Reach;
use crate::steer::{Endpoint, SteerError, Steered, SteeredEndpoint, Way};
use crate::tcp::Family;

/// A steered door that is open.
#[derive(Debug)]
pub(super) struct SteeredDoor {
    pub(super) at: SocketAddr,
    _endpoint: SteeredEndpoint,
    _record: Record,
}

/// Opens the doors of a TCP listener at the pod's own addresses.
pub(super) fn open(pod: &Arc<Pod>, reach: Reach, port: u16) -> Vec<SteeredDoor> {
    let Some(steered) = &pod.fabric.steered else {
        return Vec::new();
    };
    let own = [Family::V4, Family::V6].into_iter().filter_map(|family| {
        let address = pod.address(family)?;
        reach.covers(address).then_some((family, address))
    });
    own.filter_map(|(family, address)| {
        let at = SocketAddr::new(address, port);
        match open_one(pod, steered, family, at) {
            Ok(door) => door,
            Err(error) => {
                tell(pod, steered, at, &error);
                None
            }
        }
    })
    .collect()
}

/// Lets a plain door be reached whose address lies in a steered block. Elsewhere it needs nothing.
pub(super) fn pass(pod: &Arc<Pod>, protocol: Protocol, at: SocketAddr) -> Option<SteeredEndpoint> {
    let steered = pod.fabric.steered.as_ref()?;
    if !pod.in_pod_range(at.ip()) {
        return None;
    }
    let endpoint = Endpoint { protocol, at };
    match steered.open(endpoint, Way::Socket, pod) {
        Ok(endpoint) => Some(endpoint),
        // Another process' block, or nothing is steered: nobody stands before the socket.
        Err(error) => {
            tracing::debug!(%error, %at, "a plain door needs no passage");
            None
        }
    }
}

fn open_one(
    pod: &Arc<Pod>,
    steered: &Steered,
    family: Family,
    at: SocketAddr,
) -> Result<Option<SteeredDoor>, SteerError> {
    if !steered.takes(family, &pod.fabric)? {
        return Ok(None);
    }
    if pod.open_doors.lock().len() >= MAX_STEERED_PER_POD {
        return Err(SteerError::Full {
            what: "port of this pod",
            limit: MAX_STEERED_PER_POD,
        });
    }
    let protocol = Protocol::Tcp;
    let endpoint = Endpoint { protocol, at };
    let endpoint = steered.open(endpoint, Way::Listener, pod)?;
    let door = OpenDoor {
        port: at.port(),
        protocol,
        host: at,
        moved: false,
    };
    pod.open_doors.lock().push((at, door));
    Ok(Some(SteeredDoor {
        at,
        _endpoint: endpoint,
        _record: Record::of(pod, protocol, at),
    }))
}

fn tell(pod: &Pod, steered: &Steered, at: SocketAddr, error: &SteerError) {
    if !steered.is_news() {
        tracing::debug!(%error, %at, "a port is not steered");
        return;
    }
    tracing::warn!(%error, %at, "a port is not steered");
    let message = format!(
        "port {} of pod {} is reached from other programs only if the manifest declares it, here \
         and wherever the same happens: {error}",
        at.port(),
        pod.hostname
    );
    pod.tell(Notice {
        pod: pod.id,
        reason: "SteeringFailed",
        message,
        warning: true,
    });
}
