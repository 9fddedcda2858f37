//! Who steers: one program for a process, and a lane for each pod host whose connections it steers.
//!
//! Nothing is asked of the kernel before the first listener needs it: a run that serves nobody
//! pays for no program. The blocks of addresses are the process's, and pods of several hosts may
//! lie in one, so a lane asks of an address only that it is one of the range. Whose pod has it is
//! to be checked by whoever opens something for somebody else.

mod queue;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use model::container::Protocol;
use rustix::net::{SocketType, sockopt};
use rustix::thread::CapabilitySet;

use super::lasting::Lasting;
use super::program::{AF_INET, AF_INET6, TO_KERNEL, key, keys_at};
use super::tables::{Tables, failed, refused};
use super::{Endpoint, Steer, SteerError, Way};
use crate::kernel;
use crate::limits::{KERNEL_BACKLOG, MAX_LANES, MAX_PASSAGES_PER_POD, MAX_STEERED_PER_POD};
use crate::lock::Lock;
use crate::peers::Asked;
use crate::range::PodRange;
use crate::tcp::Family;

/// The steering of one process. Clones are the same.
#[derive(Debug, Clone)]
pub struct Steering(Arc<Shared>);

/// The steering of one pod host. What it opened is closed when it is dropped.
#[derive(Debug)]
pub struct Lane {
    shared: Arc<Shared>,
    held: Lock<Held>,
}

#[derive(Debug)]
struct Shared {
    range: PodRange,
    families: Vec<Family>,
    tables: Lasting<Tables>,
    /// Which lanes have listeners.
    numbers: Lock<Numbers>,
    /// Which queues there are.
    queues: Lock<Numbers>,
    blocks: Lock<Blocks>,
}

/// Numbers that are taken, and given back.
#[derive(Debug, Default)]
struct Numbers {
    free: Vec<u32>,
    next: u32,
}

/// The blocks of this process, whichever pod host has the pods in them.
#[derive(Debug, Default)]
struct Blocks {
    /// Those that are steered, by their first addresses: once one is, as long as this process has
    /// it, which is to its end.
    steered: HashSet<u32>,
    /// Plain doors whose block could not be steered when they opened. Nothing stands before them
    /// then; once the block is steered they need what the others got.
    waiting: HashMap<u64, Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    block: u32,
    at: SocketAddr,
}

/// What a lane has.
#[derive(Debug, Default)]
struct Held {
    /// Of its listeners, once it has been asked for some.
    number: Option<u32>,
    /// Its listeners, once they are made. Whoever asks again is given the same.
    listeners: Vec<(Family, OwnedFd)>,
    /// What is open, and where each leads.
    endpoints: BTreeMap<u64, Way>,
    /// Those that have a queue of their own, with its number.
    queues: BTreeMap<u64, u32>,
    /// Nothing is opened any more.
    is_shut: bool,
}

/// An endpoint as the tables know it.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// IPv4, of both families.
    address: u32,
    key: u64,
    family: Family,
    block: u32,
}

// linux/in.h
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

// === impl Steering ===

impl Steering {
    /// Steers the addresses of a range, in the families named. IPv6 addresses must be the node's
    /// own by a route to be steered at all; those of [`PodRange::LOOPBACK`] are by nature.
    pub fn new(range: PodRange, families: &[Family]) -> Self {
        Self(Arc::new(Shared {
            range,
            families: families.to_vec(),
            tables: Lasting::new(),
            numbers: Lock::default(),
            queues: Lock::default(),
            blocks: Lock::default(),
        }))
    }

    /// Whether this process has the rights that it takes.
    pub fn is_permitted() -> bool {
        let Ok(own) = rustix::thread::capabilities(None) else {
            return false;
        };
        let has = |wanted| own.effective.contains(wanted);
        has(CapabilitySet::NET_ADMIN) && (has(CapabilitySet::BPF) || has(CapabilitySet::SYS_ADMIN))
    }

    /// A lane for one pod host.
    pub fn lane(&self) -> Lane {
        Lane {
            shared: Arc::clone(&self.0),
            held: Lock::default(),
        }
    }
}

// === impl Shared ===

impl Shared {
    fn tables(&self) -> Result<&Tables, SteerError> {
        self.tables.get_or_make(|| Tables::load(&self.range))
    }

    fn take_number(&self) -> Result<u32, SteerError> {
        let number = self.numbers.lock().take(MAX_LANES);
        number.ok_or_else(SteerError::lanes)
    }

    /// Steers a block. Whoever does it first gives the plain doors that are in it their passages.
    fn steer_block(&self, blocks: &mut Blocks, first: u32) -> Result<(), SteerError> {
        let tables = self.tables()?;
        if blocks.steered.contains(&first) {
            return Ok(());
        }
        let taken = SteerError::Foreign(IpAddr::V4(first.into()));
        let added = tables.add_block(first);
        added.map_err(|error| failed(&error, "adding a block", SteerError::blocks(), taken))?;
        blocks.steered.insert(first);
        blocks.waiting.retain(|key, waiting| {
            if waiting.block != first {
                return true;
            }
            let opened = tables.open(*key, TO_KERNEL);
            if let Err(error) = &opened {
                tracing::warn!(%error, at = %waiting.at, "a plain door is reached no longer");
            }
            opened.is_err()
        });
        Ok(())
    }

    /// Opens an endpoint, in a block that is steered.
    fn enter(&self, at: SocketAddr, key: u64, value: u32) -> Result<(), SteerError> {
        let opened = self.tables()?.open(key, value);
        let (full, taken) = (SteerError::endpoints(), SteerError::Taken(at));
        opened.map_err(|error| failed(&error, "opening a port", full, taken))
    }

    /// Closes what a lane has opened.
    fn close(&self, key: u64) {
        let is_waiting = self.blocks.lock().waiting.remove(&key).is_some();
        if let (false, Some(tables)) = (is_waiting, self.tables.get()) {
            tables.close(key);
        }
    }

    /// A listener that nobody reaches but through the program: no endpoint is open at its address.
    fn listener(&self, family: Family) -> Result<OwnedFd, rustix::io::Errno> {
        let socket = kernel::open(family, SocketType::STREAM)?;
        let address: IpAddr = match family {
            Family::V4 => {
                sockopt::set_ip_freebind(&socket, true)?;
                self.range.first.into()
            }
            Family::V6 => {
                sockopt::set_ipv6_freebind(&socket, true)?;
                self.range.twin(self.range.first).into()
            }
        };
        rustix::net::bind(&socket, &SocketAddr::new(address, 0))?;
        rustix::net::listen(&socket, KERNEL_BACKLOG.into())?;
        Ok(socket)
    }
}

// === impl Lane ===

impl Lane {
    /// [`Steer::listeners`], at once.
    ///
    /// # Errors
    /// As there.
    pub fn listeners(&self) -> Result<Vec<(Family, OwnedFd)>, SteerError> {
        let tables = self.shared.tables()?;
        let mut held = self.held.lock();
        let number = held.number(&self.shared)?;
        if held.listeners.is_empty() {
            let mut listeners = Vec::new();
            for family in &self.shared.families {
                let socket = self.shared.listener(*family);
                let socket = socket.map_err(|errno| refused("listening", &errno))?;
                tables
                    .set_listener(listener(number, *family), &socket)
                    .map_err(|error| refused("taking a listener", &error))?;
                listeners.push((*family, socket));
            }
            held.listeners = listeners;
        }
        let copies = held.listeners.iter().map(|(family, socket)| {
            let copy = socket.try_clone();
            copy.map(|copy| (*family, copy))
                .map_err(|error| refused("listening", &error))
        });
        copies.collect()
    }

    /// [`Steer::open`], at once.
    ///
    /// # Errors
    /// As there.
    pub fn open(&self, endpoint: Endpoint, way: Way) -> Result<(), SteerError> {
        let place = self.place(endpoint)?;
        match way {
            Way::Listener => self.lead(endpoint, place),
            Way::Socket => self.pass(endpoint, place),
        }
    }

    /// [`Steer::close`].
    pub fn close(&self, endpoint: Endpoint) {
        let Ok(place) = self.place(endpoint) else {
            return;
        };
        // Nobody but who opened it has it here: the table takes no endpoint twice.
        let mut held = self.held.lock();
        if held.endpoints.remove(&place.key).is_some() {
            held.end(&self.shared, place.key);
        }
    }

    /// Closes whatever this lane has open at an address, of either family: before the address is
    /// somebody else's.
    pub fn close_all_at(&self, address: IpAddr) {
        let Some(address) = self.shared.range.untwin(address) else {
            return;
        };
        let mut held = self.held.lock();
        let keys: Vec<u64> = held
            .endpoints
            .range(keys_at(address.to_bits()))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            held.endpoints.remove(&key);
            held.end(&self.shared, key);
        }
    }

    /// Closes everything for good.
    pub fn shut(&self) {
        let mut held = self.held.lock();
        held.is_shut = true;
        for key in std::mem::take(&mut held.endpoints).into_keys() {
            held.end(&self.shared, key);
        }
        let number = held.number.take();
        let listeners = std::mem::take(&mut held.listeners);
        drop(held);
        if let (Some(number), Some(tables)) = (number, self.shared.tables.get()) {
            for (family, _) in &listeners {
                tables.clear_listener(listener(number, *family));
            }
            self.shared.numbers.lock().free.push(number);
        }
    }

    /// Where an endpoint is in the tables.
    fn place(&self, endpoint: Endpoint) -> Result<Place, SteerError> {
        let (ip, port) = (endpoint.at.ip(), endpoint.at.port());
        let range = &self.shared.range;
        let address = range.untwin(ip).ok_or(SteerError::Foreign(ip))?;
        let protocol = match endpoint.protocol {
            Protocol::Tcp => IPPROTO_TCP,
            Protocol::Udp => IPPROTO_UDP,
        };
        let (family, number) = match ip {
            IpAddr::V4(_) => (Family::V4, AF_INET),
            IpAddr::V6(_) => (Family::V6, AF_INET6),
        };
        Ok(Place {
            address: address.to_bits(),
            key: key(address.to_bits(), port, protocol, number),
            family,
            block: range.block_of(address).first.to_bits(),
        })
    }

    /// Leads an endpoint to the listener of this lane.
    fn lead(&self, endpoint: Endpoint, place: Place) -> Result<(), SteerError> {
        if endpoint.protocol == Protocol::Udp {
            return Err(SteerError::Datagrams(endpoint.at));
        }
        if !self.shared.families.contains(&place.family) {
            return Err(SteerError::Foreign(endpoint.at.ip()));
        }
        let mut held = self.held.lock();
        held.check_room(place, Way::Listener)?;
        let number = held.number(&self.shared)?;
        let mut blocks = self.shared.blocks.lock();
        self.shared.steer_block(&mut blocks, place.block)?;
        self.shared
            .enter(endpoint.at, place.key, listener(number, place.family))?;
        held.endpoints.insert(place.key, Way::Listener);
        Ok(())
    }

    /// Lets a socket that is bound at an endpoint be reached; at once, or when it must.
    fn pass(&self, endpoint: Endpoint, place: Place) -> Result<(), SteerError> {
        let (at, Place { key, block, .. }) = (endpoint.at, place);
        let mut held = self.held.lock();
        held.check_room(place, Way::Socket)?;
        let mut blocks = self.shared.blocks.lock();
        match self.shared.steer_block(&mut blocks, block) {
            Ok(()) => self.shared.enter(at, key, TO_KERNEL)?,
            Err(error) => {
                tracing::debug!(%error, %at, "a plain door needs no passage");
                if blocks.waiting.contains_key(&key) {
                    return Err(SteerError::Taken(at));
                }
                blocks.waiting.insert(key, Waiting { block, at });
            }
        }
        held.endpoints.insert(key, Way::Socket);
        Ok(())
    }
}

impl Steer for Lane {
    fn listeners(&self) -> Asked<Result<Vec<(Family, OwnedFd)>, SteerError>> {
        at_once(Self::listeners(self))
    }

    fn open(&self, endpoint: Endpoint, way: Way) -> Asked<Result<(), SteerError>> {
        at_once(Self::open(self, endpoint, way))
    }

    fn single_out(&self, endpoint: Endpoint) -> Asked<Result<OwnedFd, SteerError>> {
        at_once(Self::single_out(self, endpoint))
    }

    fn rejoin(&self, endpoint: Endpoint) {
        Self::rejoin(self, endpoint);
    }

    fn close(&self, endpoint: Endpoint) {
        Self::close(self, endpoint);
    }
}

/// An answer that is there.
fn at_once<T: Send + 'static>(answer: T) -> Asked<T> {
    Box::pin(std::future::ready(answer))
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shut();
    }
}

// === impl Numbers ===

impl Numbers {
    /// One that nobody has, of so many.
    fn take(&mut self, limit: u32) -> Option<u32> {
        match self.free.pop() {
            None if self.next < limit => {
                self.next += 1;
                Some(self.next - 1)
            }
            taken => taken,
        }
    }
}

// === impl Held ===

impl Held {
    /// The number of its listeners, which it takes first where it has none.
    fn number(&mut self, shared: &Shared) -> Result<u32, SteerError> {
        if self.is_shut {
            return Err(SteerError::lanes());
        }
        match self.number {
            Some(number) => Ok(number),
            None => Ok(*self.number.insert(shared.take_number()?)),
        }
    }

    /// Closes an endpoint that was open, and its queue.
    fn end(&mut self, shared: &Shared, key: u64) {
        shared.close(key);
        if let Some(queue) = self.queues.remove(&key) {
            shared.free_queue(queue);
        }
    }

    /// Whether one more endpoint that leads there may be open at the address of this one. Plain
    /// doors, which are declared, have places of their own: however many others a pod listens at.
    fn check_room(&self, place: Place, way: Way) -> Result<(), SteerError> {
        if self.is_shut {
            return Err(SteerError::Foreign(place.address.to_be_bytes().into()));
        }
        let there = self.endpoints.range(keys_at(place.address));
        let (limit, full) = match way {
            Way::Listener => (MAX_STEERED_PER_POD, SteerError::pods()),
            Way::Socket => (MAX_PASSAGES_PER_POD, SteerError::passages()),
        };
        if there.filter(|(_, other)| **other == way).count() < limit {
            return Ok(());
        }
        Err(full)
    }
}

/// The number of a lane's listener of a family: two for each lane, IPv4, then IPv6.
fn listener(lane: u32, family: Family) -> u32 {
    match family {
        Family::V4 => lane * 2,
        Family::V6 => lane * 2 + 1,
    }
}
