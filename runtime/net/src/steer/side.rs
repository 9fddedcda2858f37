//! A switch's side of steering: begun with the first door, and closed door by door.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::accept::Task;
use super::tables::refused;
use super::{Endpoint, Steer, SteerError, Way};
use crate::fabric::Fabric;
use crate::lock::Lock;
use crate::pod::Pod;
use crate::tcp::Family;

/// What a switch knows of the steering it was given.
#[derive(Debug)]
pub(crate) struct Steered {
    steer: Arc<dyn Steer>,
    begun: OnceLock<Result<Begun, SteerError>>,
    /// Whether somebody was told that it fails.
    told: AtomicBool,
}

#[derive(Debug)]
struct Begun {
    /// One for each family that is steered.
    tasks: Vec<(Family, Task)>,
    /// The first addresses of the blocks that are steered by now.
    blocks: Lock<HashSet<Ipv4Addr>>,
}

/// An open endpoint; closed when dropped.
#[derive(Debug)]
pub(crate) struct SteeredEndpoint {
    steer: Arc<dyn Steer>,
    endpoint: Endpoint,
}

// === impl Steered ===

impl Steered {
    pub(crate) fn new(steer: Arc<dyn Steer>) -> Self {
        Self {
            steer,
            begun: OnceLock::new(),
            told: AtomicBool::new(false),
        }
    }

    /// Whether listeners of a family are steered. Begins to steer where nobody has yet.
    pub(crate) fn takes(&self, family: Family, fabric: &Arc<Fabric>) -> Result<bool, SteerError> {
        let begun = self.begin(fabric)?;
        Ok(begun.tasks.iter().any(|(steered, _)| *steered == family))
    }

    /// Opens an endpoint for a pod, and steers the pod's block from now on.
    pub(crate) fn open(
        &self,
        endpoint: Endpoint,
        way: Way,
        pod: &Pod,
    ) -> Result<SteeredEndpoint, SteerError> {
        let begun = self.begin(&pod.fabric)?;
        if let Some(address) = pod.address_v4() {
            self.add_block(begun, pod.fabric.range.block_of(address).first)?;
        }
        self.steer.open(endpoint, way)?;
        Ok(SteeredEndpoint {
            steer: Arc::clone(&self.steer),
            endpoint,
        })
    }

    /// Whether this failure is the first: one is told, since the next would say the same.
    pub(crate) fn is_news(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    fn add_block(&self, begun: &Begun, first: Ipv4Addr) -> Result<(), SteerError> {
        let mut blocks = begun.blocks.lock();
        if !blocks.contains(&first) {
            self.steer.add_block(first)?;
            blocks.insert(first);
        }
        Ok(())
    }

    fn begin(&self, fabric: &Arc<Fabric>) -> Result<&Begun, SteerError> {
        let begun = self.begun.get_or_init(|| {
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
        });
        begun.as_ref().map_err(Clone::clone)
    }
}

// === impl SteeredEndpoint ===

impl Drop for SteeredEndpoint {
    fn drop(&mut self) {
        self.steer.close(self.endpoint);
    }
}
