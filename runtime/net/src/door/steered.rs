//! Steered doors: entries in a table of the kernel, one for each listener that others may reach,
//! and a queue of its own for one at which many wait.
//!
//! A listener whose door cannot be steered keeps what the manifest declares as a plain door, as for
//! a user without rights, and one notice for each pod and reason says why.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use model::container::Protocol;

use super::queue::OwnQueue;
use super::{Asked, Failure, Record, told};
use crate::decide::World;
use crate::pod::Pod;
use crate::steer::{Endpoint, SteerError, Steered, SteeredEndpoint};
use crate::switch::Notice;
use crate::tcp::Family;

/// A steered door that is open.
#[derive(Debug)]
pub(super) struct SteeredDoor {
    pub(super) at: SocketAddr,
    /// Goes before the queue: what is refused looks for no other socket.
    _endpoint: SteeredEndpoint,
    pub(super) queue: Arc<OwnQueue>,
    _record: Record,
}

/// Opens the doors of a TCP listener at those of the pod's own addresses that suit it.
pub(super) async fn open(
    pod: &Arc<Pod>,
    port: u16,
    suits: impl Fn(IpAddr) -> bool,
) -> Vec<SteeredDoor> {
    let mut doors = Vec::new();
    let Some(steered) = &pod.fabric.steered else {
        return doors;
    };
    for family in [Family::V4, Family::V6] {
        let Some(address) = pod.address(family).filter(|address| suits(*address)) else {
            continue;
        };
        let at = SocketAddr::new(address, port);
        match open_one(pod, steered, family, at).await {
            Ok(door) => doors.extend(door),
            Err(SteerError::Taken(_)) => {
                let protocol = Protocol::Tcp;
                told::failed(pod, Asked { protocol, port, at }, &Failure::Taken);
            }
            Err(error) => tell(pod, at, &error),
        }
    }
    doors
}

/// Lets a plain door be reached at its pod's own address. Elsewhere it needs nothing.
///
/// # Errors
/// What it cannot be reached for: where steering leads the endpoint elsewhere, or has no place.
pub(super) async fn pass(
    pod: &Pod,
    protocol: Protocol,
    at: SocketAddr,
) -> Result<Option<SteeredEndpoint>, Failure> {
    let (Some(steered), true) = (&pod.fabric.steered, pod.in_pod_range(at.ip())) else {
        return Ok(None);
    };
    match steered.pass(Endpoint { protocol, at }, &pod.fabric).await {
        Ok(passage) => Ok(Some(passage)),
        Err(SteerError::Taken(_)) => Err(Failure::Taken),
        Err(error) => Err(Failure::Steer(error)),
    }
}

async fn open_one(
    pod: &Arc<Pod>,
    steered: &Steered,
    family: Family,
    at: SocketAddr,
) -> Result<Option<SteeredDoor>, SteerError> {
    if !steered.takes(family, &pod.fabric).await? {
        return Ok(None);
    }
    let protocol = Protocol::Tcp;
    // Before it is asked for, which may take a while.
    let record = match Record::enter(pod, protocol, at, at.port()) {
        Ok(record) => record,
        // The listener of the other family has it, and it passes to this one.
        Err(there) if there.port == at.port() => return Ok(None),
        Err(_) => return Err(SteerError::Taken(at)),
    };
    let endpoint = steered.open(Endpoint { protocol, at }).await?;
    Ok(Some(SteeredDoor {
        at,
        _endpoint: endpoint,
        queue: OwnQueue::new(at),
        _record: record,
    }))
}

fn tell(pod: &Pod, at: SocketAddr, error: &SteerError) {
    if !pod.is_news(error) {
        tracing::debug!(%error, %at, "a port is not steered");
        return;
    }
    tracing::warn!(%error, %at, "a port is not steered");
    let message = format!(
        "TCP port {} of pod {} is reached from other programs only if the manifest declares it, as any \
         other of this pod where the same happens: {error}",
        at.port(),
        pod.hostname
    );
    pod.fabric.observer.notice(Notice {
        pod: pod.id,
        reason: "SteeringFailed",
        message,
        warning: true,
    });
}
