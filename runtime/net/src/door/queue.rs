//! A steered port's own queue: a kernel listener of its own, once too many wait for its guest.
//!
//! ```text
//! Common ──a crowd waits──> Asked ──answered──> Own: what comes waits in the kernel
//!            ^                └────refused────> Refused: what is too much is reset
//!            └── one more, where that may pass ──┘
//! ```
//!
//! It is asked for when connections wait that were accepted for the guest ahead of it, and accepts
//! nothing by itself: the listener asks it as it asks a plain door. What was on its way meanwhile
//! still comes to the listener of all. A port has it until its door closes.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock, Weak};

use model::container::Protocol;

use crate::budget::Share;
use crate::error::NetError;
use crate::kernel::{self, KernelSocket};
use crate::limits::MAX_STEERED_WAITING;
use crate::lock::Lock;
use crate::owned::Running;
use crate::pod::Pod;
use crate::steer::{Endpoint, SteerError, reset};

/// The queue of one steered door. It passes from listener to listener with that.
#[derive(Debug)]
pub(crate) struct OwnQueue {
    at: SocketAddr,
    listener: OnceLock<(KernelSocket, Share)>,
    asked: Lock<Asked>,
}

#[derive(Debug, Default)]
enum Asked {
    /// Nobody had to.
    #[default]
    Not,
    /// It has one, or will have, once this is done where it has to wait for that. Only the task
    /// that accepts for all asks, so there is one at a time.
    For {
        /// An earlier one was refused: nothing is expected of this one before it is answered.
        again: bool,
        running: Option<Running<()>>,
    },
    /// It got none, and may get one if it asks again.
    InVain,
    /// It gets none.
    Never,
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Steering(SteerError),
    #[error("its pod has no kernel socket left for it ({0}): close some")]
    Pod(NetError),
}

// === impl OwnQueue ===

impl OwnQueue {
    pub(super) fn new(at: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            at,
            listener: OnceLock::new(),
            asked: Lock::default(),
        })
    }

    /// The kernel's listener, where it has one.
    pub(super) fn listener(&self) -> Option<&KernelSocket> {
        self.listener.get().map(|(socket, _)| socket)
    }

    /// Takes a connection that waits there.
    pub(super) fn accept(&self) -> Result<(OwnedFd, SocketAddr), NetError> {
        let listener = self.listener().ok_or(NetError::WouldBlock)?;
        let (socket, peer) = listener.accept()?;
        if kernel::local_address(&socket)? != self.at {
            // It found the listener's own address, where no pod is. Who asks again is told of the
            // next that waits.
            reset(socket);
            return Err(NetError::WouldBlock);
        }
        Ok((socket, peer))
    }

    /// Asks for a listener where nobody has, or nobody got one for a reason that may have passed.
    /// Whether it has one, or is to have one.
    pub(crate) fn ask(self: &Arc<Self>, pod: &Arc<Pod>) -> bool {
        if self.listener().is_some() {
            return true;
        }
        let mut asked = self.asked.lock();
        let again = match &*asked {
            Asked::Not => false,
            Asked::InVain => true,
            Asked::For { again, .. } => return !again,
            Asked::Never => return false,
        };
        let running = None;
        *asked = Asked::For { again, running };
        drop(asked);
        let asking = open(Arc::downgrade(self), Arc::clone(pod), self.at);
        let started = Running::start(&pod.fabric.kernel, asking).err();
        let mut asked = self.asked.lock();
        if let Asked::For { running, .. } = &mut *asked {
            *running = started;
            return !again || self.listener().is_some();
        }
        false
    }

    /// Notes that it was refused, and warns of the first time.
    fn note_refusal(&self, why: &Refusal) {
        let next = match why.passes() {
            true => Asked::InVain,
            false => Asked::Never,
        };
        let was = std::mem::replace(&mut *self.asked.lock(), next);
        let at = self.at;
        if why.is_closed() || matches!(was, Asked::For { again: true, .. }) {
            tracing::debug!(error = %why, %at, "a port still has no queue of its own");
            return;
        }
        let most = MAX_STEERED_WAITING;
        tracing::warn!(
            error = %why,
            %at,
            "a port has no queue of its own: while {most} connections wait there, or as many as its \
             container listens for if that is more, or its pod has no socket left, others are reset"
        );
    }
}

/// Opens a queue's listener, unless its door closes meanwhile.
async fn open(queue: Weak<OwnQueue>, pod: Arc<Pod>, at: SocketAddr) {
    let made = make(&pod, at).await;
    let Some(queue) = queue.upgrade() else {
        return;
    };
    let made = match made {
        Ok(made) => made,
        Err(why) => return queue.note_refusal(&why),
    };
    // Nobody else sets it.
    let _ = queue.listener.set(made);
    // Who waits for connections must know it too.
    if let Some(listener) = pod.fabric.listener_at(at) {
        listener.rouse();
    }
}

/// Makes the listener, which is one of the pod's kernel sockets.
async fn make(pod: &Pod, at: SocketAddr) -> Result<(KernelSocket, Share), Refusal> {
    let nobody = Refusal::Steering(SteerError::Foreign(at.ip()));
    let steered = pod.fabric.steered.as_ref().ok_or(nobody)?;
    let share = pod.kernel_slot_beyond().map_err(Refusal::Pod)?;
    let protocol = Protocol::Tcp;
    let made = steered.single_out(Endpoint { protocol, at }, &pod.fabric);
    let socket = made.await.map_err(Refusal::Steering)?;
    Ok((socket, share))
}

// === impl Refusal ===

impl Refusal {
    /// Whether asking again later may help.
    fn passes(&self) -> bool {
        match self {
            Self::Steering(error) => error.passes(),
            Self::Pod(_) => true,
        }
    }

    /// Whether the door has closed meanwhile: whoever steers knows no such endpoint then.
    fn is_closed(&self) -> bool {
        matches!(self, Self::Steering(SteerError::Foreign(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::warnings::warnings;

    #[test]
    fn a_refusal_is_told_once_and_kept_where_it_cannot_change() {
        let at = SocketAddr::from(([127, 160, 0, 2], 80));
        let kernel = |passes| {
            Refusal::Steering(SteerError::Kernel {
                step: "a test".into(),
                why: "it does not".to_owned(),
                passes,
            })
        };
        let cases = [
            ("for now", kernel(true), 1, true),
            ("for good", kernel(false), 1, false),
            ("no room", Refusal::Pod(NetError::NewSocketLimit), 1, true),
            (
                "closed",
                Refusal::Steering(SteerError::Foreign(at.ip())),
                0,
                false,
            ),
        ];
        for (name, why, told, is_tried) in cases {
            for again in [false, true] {
                let queue = OwnQueue::new(at);
                let running = None;
                *queue.asked.lock() = Asked::For { again, running };
                let count = warnings(|| queue.note_refusal(&why));
                assert_eq!(count, if again { 0 } else { told }, "{name} {again}");
                let is_left = matches!(&*queue.asked.lock(), Asked::InVain);
                assert_eq!(is_left, is_tried, "{name} {again}");
            }
        }
    }
}
