//! What a parent knows of a child, and holds against what the child says.
//!
//! A child runs guests, and a guest may have taken it over. So it is heard only about pods and
//! instances that it was given, and may have only so much under way; everything else is a
//! [`Breach`], after which it is ended. Pure: nothing here waits, sends or ends anything.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::container::Protocol;
use model::runtime::{Door, Event, InstanceId, PodId, RuntimeError};
use net::steer::Endpoint;

use crate::allowance::{Allowance, Rate};
use crate::protocol::{self, Reply};

/// Pods that have gone lately, of which something may still be told, and from whose addresses
/// something may still be on its way.
const DEPARTED: usize = 8192;

/// Instances that have been removed lately, whose health may still be on its way.
const LOST: usize = 16_384;

/// Health of one instance. The engine tells it ten times in a second at most: twice that, and as
/// much as piles up in a minute in which nobody has listened here.
const HEALTH: Rate = Rate {
    burst: 600,
    each: Duration::from_millis(50),
};

/// Notices of one pod. Guests bring them about, so what is too much is no breach, and left out:
/// nothing depends on them.
const NOTICES: Rate = Rate {
    burst: 256,
    each: Duration::from_millis(100),
};

/// Full places of one pod. Each is told once in its life, and a pod has few.
const FULL: Rate = Rate {
    burst: 1024,
    each: Duration::from_millis(50),
};

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

/// What is done with what a child says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is passed on.
    Now,
    /// It may be said, and is too much or too late.
    LeftOut,
}

/// What a child was given, and what it has under way.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pods: HashMap<PodId, Given>,
    addresses: HashMap<IpAddr, PodId>,
    /// What their manifests open at addresses of the node.
    published: HashMap<(IpAddr, u16), Vec<(PodId, Protocol)>>,
    departed: VecDeque<Departed>,
    lost: VecDeque<InstanceId>,
    /// What may still be told of instances' health, once something was.
    health: HashMap<InstanceId, Allowance>,
    /// Made and not removed, with their pods.
    instances: HashMap<InstanceId, PodId>,
    /// The same by pod.
    of_pods: BTreeSet<(PodId, InstanceId)>,
    /// Started and not ended; may have been removed meanwhile.
    running: HashSet<InstanceId>,
    /// Whose output was passed on and not taken yet.
    untaken: HashSet<InstanceId>,
    /// Wasm that comes in parts.
    parts: HashMap<u64, Vec<u8>>,
    /// The sizes of wasm that is being compiled.
    compiling: HashMap<u64, usize>,
}

/// A pod that it has.
#[derive(Debug)]
struct Given {
    addresses: Vec<IpAddr>,
    /// What its manifest opens, at its own addresses and at the node's.
    doors: Vec<Door>,
    words: Words,
}

/// What may still be told of a pod.
#[derive(Debug)]
struct Words {
    notices: Allowance,
    full: Allowance,
}

/// A pod that has gone.
#[derive(Debug)]
struct Departed {
    pod: PodId,
    addresses: Vec<IpAddr>,
    words: Words,
}

// === impl Words ===

impl Words {
    fn new() -> Self {
        Self {
            notices: Allowance::new(NOTICES),
            full: Allowance::new(FULL),
        }
    }
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
    /// A pod that the child is about to be given, with its addresses and doors.
    pub(crate) fn give_pod(&mut self, pod: PodId, addresses: Vec<IpAddr>, doors: Vec<Door>) {
        let own = addresses.iter().map(|address| (*address, pod));
        self.addresses.extend(own);
        for door in &doors {
            if let Some(at) = door.host {
                let there = self.published.entry(at).or_default();
                there.push((pod, door.protocol));
            }
        }
        let given = Given {
            addresses,
            doors,
            words: Words::new(),
        };
        self.pods.insert(pod, given);
    }

    /// An instance that it is about to be given.
    pub(crate) fn give_instance(&mut self, instance: InstanceId, pod: PodId) {
        self.instances.insert(instance, pod);
        self.of_pods.insert((pod, instance));
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
            Change::Removed(instance) => self.lose(instance),
            Change::Created(instance) if !succeeded => self.lose(instance),
            Change::Started(instance) if !succeeded => drop(self.running.remove(&instance)),
            Change::Executed(instance) if !succeeded => {
                self.running.remove(&instance);
                self.lose(instance);
            }
            _ => {}
        }
    }

    /// Holds an event that is not output against what is known.
    pub(crate) fn event(&mut self, event: &Event, now: Instant) -> Result<Heard, Breach> {
        match event {
            Event::Output { .. } => Err(Breach::new("it sent output without a number")),
            Event::Exited { instance, exit, .. } => {
                if !self.running.remove(instance) {
                    return Err(Breach::new(format!(
                        "it told the end of instance {}, which it does not run",
                        instance.0
                    )));
                }
                self.health.remove(instance);
                if !(0..=255).contains(&exit.code) {
                    return Err(Breach::new(format!("it told the exit code {}", exit.code)));
                }
                Ok(Heard::Now)
            }
            Event::Health { instance, .. } => {
                if let Err(breach) = self.check_instance(*instance) {
                    let is_late = self.lost.contains(instance);
                    return is_late.then_some(Heard::LeftOut).ok_or(breach);
                }
                let allowance = self.health.entry(*instance);
                let allowance = allowance.or_insert_with(|| Allowance::new(HEALTH));
                within(allowance.spend(now), || {
                    format!("the health of instance {}", instance.0)
                })
            }
            Event::Notice { pod, .. } => Ok(if self.words(*pod)?.notices.spend(now) {
                Heard::Now
            } else {
                Heard::LeftOut
            }),
            Event::StorageFull { pod, .. } => {
                let allowed = self.words(*pod)?.full.spend(now);
                within(allowed, || format!("what is full in pod {}", pod.0))
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

    /// Refuses what does not come from an address of a pod of this child. What comes from one of
    /// a pod that has gone was on its way, or says so to others: it is left out.
    pub(crate) fn check_address(&self, from: IpAddr) -> Result<Heard, Breach> {
        let from = from.to_canonical();
        if self.addresses.contains_key(&from) {
            return Ok(Heard::Now);
        }
        let mut departed = self.departed.iter();
        if departed.any(|gone| gone.addresses.contains(&from)) {
            return Ok(Heard::LeftOut);
        }
        Err(Breach::new(format!(
            "it sent something from {from}, which none of its pods has"
        )))
    }

    /// Refuses a door that no manifest of this child's pods asks for, and one at an address of pods
    /// that is not the asking pod's own. What a pod that has gone may have asked for is left out.
    pub(crate) fn check_door(&self, door: Endpoint, is_of_pods: bool) -> Result<Heard, Breach> {
        let (ip, port) = (door.at.ip(), door.at.port());
        let owner = self.addresses.get(&ip.to_canonical());
        let is_at_node = self.published.get(&(ip, port)).is_some_and(|asked| {
            asked.iter().any(|(pod, protocol)| {
                *protocol == door.protocol && (!is_of_pods || owner == Some(pod))
            })
        });
        let given = owner.and_then(|owner| self.pods.get(owner));
        let is_own = given.is_some_and(|given| {
            given.doors.iter().any(|asked| {
                asked.host.is_none() && asked.port == port && asked.protocol == door.protocol
            })
        });
        if is_at_node || is_own {
            return Ok(Heard::Now);
        }
        if !self.departed.is_empty() {
            return Ok(Heard::LeftOut);
        }
        Err(Breach::new(format!(
            "it asked for a door at {}, which is none of its pods'",
            door.at
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

    /// What may still be told of a pod, also of one that has gone.
    fn words(&mut self, pod: PodId) -> Result<&mut Words, Breach> {
        if let Some(given) = self.pods.get_mut(&pod) {
            return Ok(&mut given.words);
        }
        let departed = self.departed.iter_mut().find(|gone| gone.pod == pod);
        departed
            .map(|gone| &mut gone.words)
            .ok_or_else(|| Breach::new(format!("it told of pod {}, which it does not have", pod.0)))
    }

    fn lose(&mut self, instance: InstanceId) {
        self.health.remove(&instance);
        let Some(pod) = self.instances.remove(&instance) else {
            return;
        };
        self.of_pods.remove(&(pod, instance));
        if self.lost.len() == LOST {
            self.lost.pop_front();
        }
        self.lost.push_back(instance);
    }

    fn depart(&mut self, pod: PodId) {
        let Some(given) = self.pods.remove(&pod) else {
            return;
        };
        for address in &given.addresses {
            // Another pod may have it by now.
            if self.addresses.get(address) == Some(&pod) {
                self.addresses.remove(address);
            }
        }
        for at in given.doors.iter().filter_map(|door| door.host) {
            if let Some(there) = self.published.get_mut(&at) {
                there.retain(|(owner, _)| *owner != pod);
                if there.is_empty() {
                    self.published.remove(&at);
                }
            }
        }
        let first = (pod, InstanceId(0));
        let last = (pod, InstanceId(u64::MAX));
        let own: Vec<_> = self.of_pods.range(first..=last).copied().collect();
        for (_, instance) in own {
            self.lose(instance);
        }
        if self.departed.len() == DEPARTED {
            self.departed.pop_front();
        }
        self.departed.push_back(Departed {
            pod,
            addresses: given.addresses,
            words: given.words,
        });
    }
}

/// Refuses what no host tells so often.
fn within(allowed: bool, what: impl FnOnce() -> String) -> Result<Heard, Breach> {
    if allowed {
        return Ok(Heard::Now);
    }
    Err(Breach::new(format!(
        "it told {} more often than any pod host does",
        what()
    )))
}

#[cfg(test)]
mod tests;
