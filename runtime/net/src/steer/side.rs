//! A switch's side of steering: begun with the first door, and closed door by door.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::accept::Task;
use super::lasting::Lasting;
use super::tables::refused;
use super::{Endpoint, Steer, SteerError, Way};
use crate::fabric::Fabric;
use crate::lock::Lock;
use crate::pod::Pod;
use crate::range::PodRange;
use crate::tcp::Family;

/// What a switch knows of the steering it was given.
#[derive(Debug)]
pub(crate) struct Steered {
    steer: Arc<dyn Steer>,
    begun: Lasting<Begun>,
    waiting: Arc<Waiting>,
}

#[derive(Debug)]
struct Begun {
    /// One for each family that is steered.
    tasks: Vec<(Family, Task)>,
    /// The first addresses of the blocks that are steered by now.
    blocks: Lock<HashSet<Ipv4Addr>>,
}

/// Plain doors whose block could not be steered when they opened. Nothing stands before them then;
/// once the block is steered they need what the others got.
type Waiting = Lock<HashSet<Endpoint>>;

/// An open endpoint; closed when dropped.
#[derive(Debug)]
pub(crate) struct SteeredEndpoint {
    steer: Arc<dyn Steer>,
    endpoint: Endpoint,
    waiting: Arc<Waiting>,
}

// === impl Steered ===

impl Steered {
    pub(crate) fn new(steer: Arc<dyn Steer>) -> Self {
        Self {
            steer,
            begun: Lasting::new(),
            waiting: Arc::default(),
        }
    }

    /// Whether listeners of a family are steered. Begins to steer where nobody has yet.
    pub(crate) fn takes(&self, family: Family, fabric: &Arc<Fabric>) -> Result<bool, SteerError> {
        let begun = self.begin(fabric)?;
        Ok(begun.tasks.iter().any(|(steered, _)| *steered == family))
    }

    /// Leads an endpoint to a pod's listener, and steers the pod's block from now on.
    pub(crate) fn open(
        &self,
        endpoint: Endpoint,
        pod: &Pod,
    ) -> Result<SteeredEndpoint, SteerError> {
        self.steer_block(pod)?;
        self.steer.open(endpoint, Way::Listener)?;
        Ok(self.opened(endpoint))
    }

    /// Lets the socket of a pod's plain door be reached. Where the block is not steered it is
    /// reached as it is, and gets its passage if the block is steered later.
    pub(crate) fn pass(
        &self,
        endpoint: Endpoint,
        pod: &Pod,
    ) -> Result<SteeredEndpoint, SteerError> {
        // First, so that whoever steers the block at the same time finds it.
        self.waiting.lock().insert(endpoint);
        match self.steer_block(pod) {
            Ok(()) => {
                let mut waiting = self.waiting.lock();
                if waiting.remove(&endpoint) {
                    self.steer.open(endpoint, Way::Socket)?;
                }
            }
            Err(error) => {
                tracing::debug!(%error, at = %endpoint.at, "a plain door needs no passage");
            }
        }
        Ok(self.opened(endpoint))
    }

    fn opened(&self, endpoint: Endpoint) -> SteeredEndpoint {
        SteeredEndpoint {
            steer: Arc::clone(&self.steer),
            endpoint,
            waiting: Arc::clone(&self.waiting),
        }
    }

    fn steer_block(&self, pod: &Pod) -> Result<(), SteerError> {
        let begun = self.begin(&pod.fabric)?;
        let Some(address) = pod.address_v4() else {
            return Ok(());
        };
        let first = pod.fabric.range.block_of(address).first;
        let mut blocks = begun.blocks.lock();
        if !blocks.contains(&first) {
            self.steer.add_block(first)?;
            blocks.insert(first);
            self.pass_waiting(first, pod.fabric.range);
        }
        Ok(())
    }

    /// Gives the doors of a block that was not steered before their passages.
    fn pass_waiting(&self, first: Ipv4Addr, range: PodRange) {
        let is_inside = |endpoint: &Endpoint| {
            let address = range.untwin(endpoint.at.ip());
            address.is_some_and(|address| range.block_of(address).first == first)
        };
        // Locked to the end: a door that closes now finds itself waiting, or open.
        self.waiting.lock().retain(|endpoint| {
            if !is_inside(endpoint) {
                return true;
            }
            let opened = self.steer.open(*endpoint, Way::Socket);
            if let Err(error) = &opened {
                tracing::warn!(%error, at = %endpoint.at, "a plain door is reached no longer");
            }
            opened.is_err()
        });
    }

    fn begin(&self, fabric: &Arc<Fabric>) -> Result<&Begun, SteerError> {
        self.begun.get_or_make(|| {
            let listeners = self.steer.listeners()?;
            let tasks = listeners.into_iter().map(|(family, listener)| {
                let task = Task::start(listener, fabric);
                task.map(|task| (family, task))
                    .map_err(|error| refused("watching a listener", &error))
            });
            Ok(Begun {
                tasks: tasks.collect::<Result<_, _>>()?,
                blocks: Lock::default(),
            })
        })
    }
}

// === impl SteeredEndpoint ===

impl Drop for SteeredEndpoint {
    fn drop(&mut self) {
        if !self.waiting.lock().remove(&self.endpoint) {
            self.steer.close(self.endpoint);
        }
    }
}
