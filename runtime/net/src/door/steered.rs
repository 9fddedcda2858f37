//! Steered doors: entries in a table of the kernel, one for each listener that others may reach.
//!
//! A listener whose door cannot be steered keeps what the manifest declares as a plain door, as for
//! a user without rights, and one notice for each pod and reason says why.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use model::container::Protocol;

use super::{Failure, Notice, OpenDoor, Record, failed_notice};
use crate::decide::World;
use crate::limits::MAX_STEERED_PER_POD;
use crate::pod::Pod;
use crate::steer::{Endpoint, SteerError, Steered, SteeredEndpoint};
use crate::tcp::Family;

/// A steered door that is open.
#[derive(Debug)]
pub(super) struct SteeredDoor {
    pub(super) at: SocketAddr,
    _endpoint: SteeredEndpoint,
    _record: Record,
}

/// Opens the doors of a TCP listener at those of the pod's own addresses that suit it.
pub(super) fn open(pod: &Arc<Pod>, port: u16, suits: impl Fn(IpAddr) -> bool) -> Vec<SteeredDoor> {
    let Some(steered) = &pod.fabric.steered else {
        return Vec::new();
    };
    let own = [Family::V4, Family::V6].into_iter().filter_map(|family| {
        let address = pod.address(family)?;
        let at = SocketAddr::new(address, port);
        (suits(address) && !leads_here(pod, at)).then_some((family, at))
    });
    own.filter_map(|(family, at)| match open_one(pod, steered, family, at) {
        Ok(door) => door,
        Err(SteerError::Taken(_)) => {
            pod.tell(failed_notice(pod, port, at, &Failure::Taken));
            None
        }
        Err(error) => {
            tell(pod, at, &error);
            None
        }
    })
    .collect()
}

/// Lets a plain door be reached at its pod's own address. Elsewhere it needs nothing.
///
/// # Errors
/// What it cannot be reached for: where steering leads the endpoint elsewhere, or has no place.
pub(super) fn pass(
    pod: &Pod,
    protocol: Protocol,
    at: SocketAddr,
) -> Result<Option<SteeredEndpoint>, Failure> {
    let (Some(steered), true) = (&pod.fabric.steered, pod.in_pod_range(at.ip())) else {
        return Ok(None);
    };
    match steered.pass(Endpoint { protocol, at }, pod) {
        Ok(passage) => Ok(Some(passage)),
        Err(SteerError::Taken(_)) => Err(Failure::Taken),
        Err(error) => Err(Failure::Steer(error)),
    }
}

/// Whether the listener of the other family has it: it passes to this one.
fn leads_here(pod: &Pod, at: SocketAddr) -> bool {
    let open = pod.open_doors.lock();
    open.iter().any(|(wanted, door)| {
        *wanted == at && door.protocol == Protocol::Tcp && door.port == at.port()
    })
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
    let endpoint = steered.open(Endpoint { protocol, at }, pod)?;
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

fn tell(pod: &Pod, at: SocketAddr, error: &SteerError) {
    if !pod.is_news(error) {
        tracing::debug!(%error, %at, "a port is not steered");
        return;
    }
    tracing::warn!(%error, %at, "a port is not steered");
    let message = format!(
        "port {} of pod {} is reached from other programs only if the manifest declares it, as any \
         other of this pod where the same happens: {error}",
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
