//! What a parent knows of a child, and holds against what the child says.
//!
//! A child runs guests, and a guest may have taken it over. So it is heard only about pods and
//! instances that it was given, and may have only so much under way; everything else is a
//! [`Breach`], after which it is ended. Pure: nothing here waits, sends or ends anything.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use bytes::Bytes;
use model::runtime::{Event, InstanceId, PodId, RuntimeError};

use crate::protocol::{self, Reply};

/// Pods that have gone lately, of which something may still be told.
const DEPARTED: usize = 1024;

/// What a child did that no pod host does: the end of the sentence "the pod host was ended: ".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach(String);

/// What an order is to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Done,
    Stats,
    /// A file of no more bytes.
    File(u64),
}

/// What an order changes in what is known, once it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    PodCreated(PodId),
    PodRemoved(PodId),
    Created(InstanceId),
    Started(InstanceId),
    Executed(InstanceId),
    Removed(InstanceId),
}

/// What a child was given, and what it has under way.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pods: HashSet<PodId>,
    addresses: HashMap<IpAddr, PodId>,
    departed: VecDeque<PodId>,
    /// Made and not removed, with their pods.
    instances: HashMap<InstanceId, PodId>,
    /// Started and not ended; may have been removed meanwhile.
    running: HashSet<InstanceId>,
    /// Whose output was passed on and not taken yet.
    untaken: HashSet<InstanceId>,
    /// Wasm that comes in parts.
    parts: HashMap<u64, Vec<u8>>,
    /// The sizes of wasm that is being compiled.
    compiling: HashMap<u64, usize>,
}

// === impl Breach ===

impl Breach {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Wanted ===

impl Wanted {
    /// Whether a reply is of this kind.
    pub(crate) fn check(self, reply: &Result<Reply, RuntimeError>) -> Result<(), Breach> {
        match (self, reply) {
            (_, Err(_)) | (Self::Done, Ok(Reply::Done)) | (Self::Stats, Ok(Reply::Stats(_))) => {
                Ok(())
            }
            (Self::File(most), Ok(Reply::File(content))) if content.len() as u64 <= most => Ok(()),
            _ => Err(Breach::new("it answered an order with something else")),
        }
    }
}

// === impl Known ===

impl Known {
    /// A pod that the child is about to be given, with its addresses.
    pub(crate) fn give_pod(&mut self, pod: PodId, addresses: Vec<IpAddr>) {
        self.pods.insert(pod);
        let addresses = addresses.into_iter().map(|address| (address, pod));
        self.addresses.extend(addresses);
    }

    /// An instance that it is about to be given.
    pub(crate) fn give_instance(&mut self, instance: InstanceId, pod: PodId) {
        self.instances.insert(instance, pod);
    }

    /// The pod of an instance.
    pub(crate) fn pod_of(&self, instance: InstanceId) -> Option<PodId> {
        self.instances.get(&instance).copied()
    }

    /// An instance that is about to be started; false if it runs already.
    pub(crate) fn start(&mut self, instance: InstanceId) -> bool {
        self.running.insert(instance)
    }

    /// An order was answered.
    pub(crate) fn apply(&mut self, change: Change, succeeded: bool) {
        match change {
            Change::PodRemoved(pod) => self.depart(pod),
            Change::PodCreated(pod) if !succeeded => self.depart(pod),
            Change::Removed(instance) => drop(self.instances.remove(&instance)),
            Change::Created(instance) if !succeeded => drop(self.instances.remove(&instance)),
            Change::Started(instance) if !succeeded => drop(self.running.remove(&instance)),
            Change::Executed(instance) if !succeeded => {
                self.running.remove(&instance);
                self.instances.remove(&instance);
            }
            _ => {}
        }
    }

    /// Holds an event that is not output against what is known.
    pub(crate) fn event(&mut self, event: &Event) -> Result<(), Breach> {
        match event {
            Event::Output { .. } => Err(Breach::new("it sent output without a number")),
            Event::Exited { instance, exit, .. } => {
                if !self.running.remove(instance) {
                    return Err(Breach::new(format!(
                        "it told the end of instance {}, which it does not run",
                        instance.0
                    )));
                }
                if !(0..=255).contains(&exit.code) {
                    return Err(Breach::new(format!("it told the exit code {}", exit.code)));
                }
                Ok(())
            }
            Event::Health { instance, .. } => self.check_instance(*instance),
            Event::Notice { pod, .. } | Event::StorageFull { pod, .. } => {
                if self.pods.contains(pod) || self.departed.contains(pod) {
                    return Ok(());
                }
                Err(Breach::new(format!(
                    "it told of pod {}, which it does not have",
                    pod.0
                )))
            }
        }
    }

    /// Holds output against what is known; tells whose it is.
    pub(crate) fn output(&mut self, event: &Event) -> Result<InstanceId, Breach> {
        let Event::Output { instance, .. } = event else {
            return Err(Breach::new("it sent as output what is none"));
        };
        self.check_instance(*instance)?;
        if !self.untaken.insert(*instance) {
            return Err(Breach::new(format!(
                "it sent more output of instance {} before the last was taken",
                instance.0
            )));
        }
        Ok(*instance)
    }

    /// Output was taken: the next may come.
    pub(crate) fn taken(&mut self, instance: InstanceId) {
        self.untaken.remove(&instance);
    }

    /// Takes a part of wasm to be compiled.
    pub(crate) fn part(&mut self, number: u64, part: &Bytes) -> Result<(), Breach> {
        if self.compiling.contains_key(&number) {
            return Err(Breach::new("it sent more of what is being compiled"));
        }
        self.parts
            .entry(number)
            .or_default()
            .extend_from_slice(part);
        let sizes = self.parts.values().map(Vec::len);
        let costs = sizes
            .chain(self.compiling.values().copied())
            .map(protocol::compile_cost);
        if costs.sum::<usize>() > protocol::COMPILE_BUDGET {
            return Err(Breach::new(format!(
                "it sent more than {} MiB to be compiled at once",
                protocol::COMPILE_BUDGET >> 20
            )));
        }
        Ok(())
    }

    /// The wasm is there as a whole, and is compiled from now on.
    pub(crate) fn compile(&mut self, number: u64) -> Result<Bytes, Breach> {
        let wasm = self.parts.remove(&number);
        let wasm = wasm.ok_or_else(|| Breach::new("it asked to compile what it did not send"))?;
        self.compiling.insert(number, wasm.len());
        Ok(Bytes::from(wasm))
    }

    /// It is compiled, or cannot be.
    pub(crate) fn compiled(&mut self, number: u64) {
        self.compiling.remove(&number);
    }

    /// Refuses what does not come from an address of a pod of this child.
    pub(crate) fn check_address(&self, from: IpAddr) -> Result<(), Breach> {
        let from = from.to_canonical();
        if self.addresses.contains_key(&from) {
            return Ok(());
        }
        Err(Breach::new(format!(
            "it sent something from {from}, which none of its pods has"
        )))
    }

    /// The child is gone: what ran there ends.
    pub(crate) fn end(&mut self) -> Vec<InstanceId> {
        std::mem::take(self).running.into_iter().collect()
    }

    fn check_instance(&self, instance: InstanceId) -> Result<(), Breach> {
        if self.instances.contains_key(&instance) || self.running.contains(&instance) {
            return Ok(());
        }
        Err(Breach::new(format!(
            "it told of instance {}, which it does not have",
            instance.0
        )))
    }

    fn depart(&mut self, pod: PodId) {
        if !self.pods.remove(&pod) {
            return;
        }
        self.addresses.retain(|_, owner| *owner != pod);
        self.instances.retain(|_, owner| *owner != pod);
        if self.departed.len() == DEPARTED {
            self.departed.pop_front();
        }
        self.departed.push_back(pod);
    }
}

#[cfg(test)]
mod tests;
