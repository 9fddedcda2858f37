//! What a person is told of doors: an outcome once, until there is another.

use std::collections::HashMap;
use std::net::SocketAddr;

use model::container::Protocol;
use rustix::io::Errno;

use super::bind::{Failure, excludes};
use crate::decide::World;
use crate::limits::MAX_TOLD_DOORS;
use crate::lock::Lock;
use crate::pod::Pod;
use crate::switch::Notice;

/// What was last told of each door of a pod.
#[derive(Debug, Default)]
pub(crate) struct Told(Lock<HashMap<Asked, String>>);

/// A door as it was asked for: what leads to a port of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) protocol: Protocol,
    /// The port inside the pod.
    pub(super) port: u16,
    /// Where it was to open.
    pub(super) at: SocketAddr,
}

/// Who may open every port.
const PRIVILEGED: &str = "run as root with all capabilities";

/// A door that failed is not tried again by itself.
const AGAIN: &str = "then restart the container, as the port is tried when it begins to listen";

// === impl Told ===

impl Told {
    /// Whether this is another outcome than the one that was last told of the door. Beyond so many
    /// doors nothing is news.
    fn is_news(&self, door: Asked, outcome: &str) -> bool {
        let mut told = self.0.lock();
        let is_full = told.len() >= MAX_TOLD_DOORS;
        match told.get_mut(&door) {
            Some(last) if last == outcome => false,
            Some(last) => {
                outcome.clone_into(last);
                true
            }
            None if is_full => false,
            None => told.insert(door, outcome.to_owned()).is_none(),
        }
    }
}

/// Tells that a door stands elsewhere than where it was asked for.
pub(super) fn moved(pod: &Pod, door: Asked, host: SocketAddr) {
    tell(pod, door, moved_notice(pod, door, host));
}

/// Tells why a door does not stand.
pub(super) fn failed(pod: &Pod, door: Asked, failure: &Failure) {
    tell(pod, door, failed_notice(pod, door, failure));
}

fn tell(pod: &Pod, door: Asked, notice: Notice) {
    if pod.told.is_news(door, &notice.message) {
        pod.fabric.observer.notice(notice);
    } else {
        tracing::debug!(message = notice.message, "told already");
    }
}

pub(super) fn moved_notice(pod: &Pod, door: Asked, host: SocketAddr) -> Notice {
    let Asked { protocol, port, at } = door;
    let message = format!(
        "{} port {port} of pod {} opens at {host}: the process that runs the pod may not open {at}; \
         {PRIVILEGED}, or lower net.ipv4.ip_unprivileged_port_start to {}",
        name(protocol),
        pod.hostname,
        at.port(),
    );
    Notice {
        pod: pod.id,
        reason: "DoorMoved",
        message,
        // Who named that very port looks there.
        warning: !pod.is_own(at.ip()),
    }
}

pub(super) fn failed_notice(pod: &Pod, door: Asked, failure: &Failure) -> Notice {
    let Asked { protocol, port, at } = door;
    let (reason, why) = reason(pod, door, failure);
    let message = format!(
        "{} port {port} of pod {} cannot be reached at {at}: {why}; inside the pod and from other \
         pods it works",
        name(protocol),
        pod.hostname
    );
    Notice {
        pod: pod.id,
        reason,
        message,
        warning: true,
    }
}

/// Why, and what helps.
fn reason(pod: &Pod, door: Asked, failure: &Failure) -> (&'static str, String) {
    let instead = |at: &SocketAddr| {
        format!("the process that runs the pod may not open that port, and {at} instead is taken: ")
    };
    match failure {
        Failure::Bind(Errno::ADDRINUSE) => {
            ("HostPortConflict", holder(pod, door.protocol, door.at))
        }
        Failure::BindHigher(at, Errno::ADDRINUSE) => {
            let why = instead(at) + &holder(pod, door.protocol, *at);
            ("HostPortConflict", why)
        }
        Failure::HigherDeclared(at) => {
            let why = format!(
                "{}the manifest declares that port of this pod; {PRIVILEGED}, or choose a higher \
                 port",
                instead(at)
            );
            ("HostPortConflict", why)
        }
        // Over IPv6 the port is looked at before the address is.
        Failure::Bind(Errno::ADDRNOTAVAIL) | Failure::BindHigher(_, Errno::ADDRNOTAVAIL) => (
            "DoorFailed",
            "the node has no such address: choose one of the node's for hostIP".to_owned(),
        ),
        Failure::Bind(Errno::ACCESS | Errno::PERM) => (
            "DoorFailed",
            format!(
                "the process that runs the pod may not open that port; {PRIVILEGED}, or choose a \
                 higher one"
            ),
        ),
        Failure::Bind(errno) | Failure::BindHigher(_, errno) => {
            ("DoorFailed", format!("the kernel says: {errno}"))
        }
        Failure::Limit(error) => ("DoorFailed", format!("{error}: close others first")),
        Failure::NotOwn => (
            "DoorFailed",
            "that address is for pods and not this one's: name an address of the node as hostIP \
             or to --publish, or none"
                .to_owned(),
        ),
        Failure::Taken => (
            "HostPortConflict",
            "something of this pod is open there already, which keeps it: choose another hostPort \
             or --publish port, or let the container listen on another"
                .to_owned(),
        ),
        Failure::Steer(error) => ("DoorFailed", error.to_string()),
    }
}

/// Who has a port, as far as it is known here, and what helps.
fn holder(pod: &Pod, protocol: Protocol, at: SocketAddr) -> String {
    let is_there = |other: &Pod| {
        let open = other.open_doors.lock();
        open.iter().any(|(_, door)| {
            let of_pods = |address| pod.in_pod_range(address);
            door.protocol == protocol
                && door.host.port() == at.port()
                && excludes(door.host.ip(), at.ip(), of_pods)
        })
    };
    let mut others = pod.fabric.pods().into_iter();
    let other = others.find(|other| other.id != pod.id && is_there(other));
    match other {
        Some(other) => format!(
            "pod {} of this run has that port: choose another hostPort or --publish port for one \
             of them",
            other.hostname
        ),
        None => format!(
            "another program listens there, or on that port of every address: end it, {AGAIN}; or \
             choose another hostPort or --publish port"
        ),
    }
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}
