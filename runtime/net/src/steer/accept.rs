//! Accepts what was steered here, and hands it to the pod's listener.
//!
//! The listener stands for every port of every pod, so nothing may stay in its backlog: what a
//! guest does not take at once waits in its queue, and once that is a crowd, what comes after it in
//! a queue of the port's own (`door::queue`). A connection that arrives just after its endpoint was
//! closed is nobody's, and reset.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::error::NetError;
use crate::fabric::Fabric;
use crate::kernel::{self, KernelSocket};
use crate::limits::{ACCEPT_REST, STEERED_BATCH};

/// A task that accepts, until this value is dropped.
#[derive(Debug)]
pub(super) struct Task(JoinHandle<()>);

/// What the task works with.
struct Door {
    listener: KernelSocket,
    /// A descriptor to give up when there is no other, so that one more connection can be accepted
    /// and reset: left in the backlog it would wake the task for ever.
    spare: Option<OwnedFd>,
    /// Whether it was told that nothing can be accepted; until something is again.
    told: bool,
    /// How long it rests at most.
    rest: Duration,
    /// Told when a pod of the switch gives a kernel socket back.
    freed: Arc<Notify>,
    fabric: Weak<Fabric>,
}

/// What comes after a batch.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// The next one, when something waits.
    Next,
    /// A rest: what waits can be neither taken nor refused, and would wake the task for ever.
    Rest,
    /// Nothing: there is no switch any more.
    End,
}

// === impl Task ===

impl Task {
    /// Starts it on the runtime of the switch's kernel sockets.
    pub(super) fn start(listener: OwnedFd, fabric: &Arc<Fabric>) -> io::Result<Self> {
        let door = Door {
            spare: spare(&listener),
            told: false,
            rest: ACCEPT_REST,
            freed: Arc::clone(&fabric.freed),
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
            match self.accept_some() {
                Turn::Next => tokio::task::yield_now().await,
                Turn::Rest => self.rest().await,
                Turn::End => return,
            }
        }
    }

    /// Until a pod of this switch closes a connection, whose descriptor is then free. What else of
    /// the process has closed one, a file or a log, nobody tells here: for that it is tried again
    /// after a while.
    async fn rest(&mut self) {
        let freed = Arc::clone(&self.freed);
        let mut freed = std::pin::pin!(freed.notified());
        freed.as_mut().enable();
        // One may have been closed between the try and now.
        if self.accept_some() == Turn::Rest {
            // An error means that the rest is over.
            let _ = tokio::time::timeout(self.rest, freed).await;
        }
    }

    /// Hands over what waits, a batch at most.
    fn accept_some(&mut self) -> Turn {
        let Some(fabric) = self.fabric.upgrade() else {
            return Turn::End;
        };
        for _ in 0..STEERED_BATCH {
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    self.told = false;
                    let local = kernel::local_address(&socket).ok();
                    let found = local.and_then(|at| Some((fabric.listener_at(at)?, at)));
                    match found {
                        Some((listener, at)) => listener.deliver(socket, at, peer),
                        None => reset(socket),
                    }
                }
                Err(NetError::WouldBlock) => break,
                Err(error) => {
                    if !std::mem::replace(&mut self.told, true) {
                        tracing::warn!(%error, "connections to pods are not accepted for now");
                    }
                    if error != NetError::NewSocketLimit || !self.refuse_one() {
                        return Turn::Rest;
                    }
                }
            }
        }
        Turn::Next
    }

    /// Resets one that no descriptor is left for. Tells whether it is worth going on.
    fn refuse_one(&mut self) -> bool {
        let refused = self.spare.take().map(drop).map(|()| self.listener.accept());
        let is_gone = match refused {
            Some(Ok((socket, _))) => {
                reset(socket);
                true
            }
            Some(Err(error)) => error == NetError::WouldBlock,
            None => false,
        };
        self.spare = spare(&self.listener);
        is_gone || self.spare.is_some()
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

#[cfg(test)]
mod tests;
