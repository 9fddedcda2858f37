//! Accepts what was steered here, and hands it to the pod's listener.
//!
//! The listener stands for every port of every pod, so nothing may stay in its backlog: what no
//! guest takes is reset. A connection that arrives just after its endpoint was closed is nobody's,
//! and reset as well.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::error::NetError;
use crate::fabric::Fabric;
use crate::kernel::{self, KernelSocket};
use crate::limits::STEERED_BATCH;

/// A task that accepts, until this value is dropped.
#[derive(Debug)]
pub(super) struct Task(JoinHandle<()>);

/// What the task works with.
struct Door {
    listener: KernelSocket,
    /// A descriptor to give up when there is no other, so that one more connection can be accepted
    /// and reset: left in the backlog it would wake the task for ever.
    spare: Option<OwnedFd>,
    fabric: Weak<Fabric>,
}

// === impl Task ===

impl Task {
    /// Starts it on the runtime of the switch's kernel sockets.
    pub(super) fn start(listener: OwnedFd, fabric: &Arc<Fabric>) -> io::Result<Self> {
        let door = Door {
            spare: spare(&listener),
            listener: KernelSocket::watch(listener, &fabric.kernel)?,
            fabric: Arc::downgrade(fabric),
        };
        let span = tracing::info_span!("steered connections");
        Ok(Self(fabric.kernel.spawn(door.accept().instrument(span))))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Door ===

impl Door {
    async fn accept(mut self) {
        loop {
            std::future::poll_fn(|cx| self.listener.poll_readable(cx)).await;
            if !self.accept_some() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Hands over what waits, a batch at most. Tells whether there is still a switch.
    fn accept_some(&mut self) -> bool {
        let Some(fabric) = self.fabric.upgrade() else {
            return false;
        };
        for _ in 0..STEERED_BATCH {
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    let listener = kernel::local_address(&socket)
                        .ok()
                        .and_then(|local| fabric.listener_at(local));
                    match listener {
                        Some(listener) => listener.deliver(socket, peer),
                        None => reset(socket),
                    }
                }
                Err(NetError::WouldBlock) => break,
                Err(NetError::NewSocketLimit) => {
                    tracing::warn!("no descriptor is left: a connection to a pod is reset");
                    self.refuse_one();
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to a pod cannot be accepted");
                    break;
                }
            }
        }
        true
    }

    fn refuse_one(&mut self) {
        drop(self.spare.take());
        if let Ok((socket, _)) = self.listener.accept() {
            reset(socket);
        }
        self.spare = spare(&self.listener);
    }
}

fn spare(of: impl AsFd) -> Option<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(of, 0).ok()
}

/// Closes a connection so that its peer learns at once that nobody was there.
pub(crate) fn reset(socket: OwnedFd) {
    // Where it fails the peer sees an orderly end instead.
    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
    drop(socket);
}
