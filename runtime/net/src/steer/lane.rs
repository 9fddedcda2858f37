//! Who steers: one program for a process, and a lane for each pod host whose connections it steers.
//!
//! Nothing is asked of the kernel before the first listener needs it: a run that serves nobody
//! pays for no program.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use model::container::Protocol;
use rustix::net::{SocketType, sockopt};
use rustix::thread::CapabilitySet;

use super::lasting::Lasting;
use super::program::{AF_INET, AF_INET6, TO_KERNEL, key};
use super::tables::{Tables, failed, refused};
use super::{Endpoint, Steer, SteerError, Way};
use crate::kernel;
use crate::limits::MAX_LANES;
use crate::lock::Lock;
use crate::range::PodRange;
use crate::tcp::Family;

/// The steering of one process. Clones are the same.
#[derive(Debug, Clone)]
pub struct Steering(Arc<Shared>);

/// The steering of one pod host. What it opened is closed when it is dropped.
#[derive(Debug)]
pub struct Lane {
    shared: Arc<Shared>,
    seat: Lock<Option<Seat>>,
}

#[derive(Debug)]
struct Shared {
    range: PodRange,
    families: Vec<Family>,
    tables: Lasting<Tables>,
    numbers: Lock<Numbers>,
}

/// Which lanes exist.
#[derive(Debug, Default)]
struct Numbers {
    free: Vec<u32>,
    next: u32,
}

/// A lane's place in the tables.
#[derive(Debug)]
struct Seat {
    number: u32,
    /// The first addresses of its blocks.
    blocks: HashSet<u32>,
    endpoints: HashSet<u64>,
}

/// The kernel cuts it at `net.core.somaxconn`; one listener stands for all pods of a host.
const BACKLOG: i32 = i32::MAX;

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
            seat: Lock::default(),
        }
    }
}

// === impl Shared ===

impl Shared {
    fn tables(&self) -> Result<&Tables, SteerError> {
        self.tables.get_or_make(|| Tables::load(&self.range))
    }

    fn seat(&self) -> Result<Seat, SteerError> {
        let mut numbers = self.numbers.lock();
        let number = match numbers.free.pop() {
            Some(number) => number,
            None if numbers.next < MAX_LANES => {
                numbers.next += 1;
                numbers.next - 1
            }
            None => return Err(SteerError::lanes()),
        };
        Ok(Seat {
            number,
            blocks: HashSet::new(),
            endpoints: HashSet::new(),
        })
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
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    }
}

// === impl Lane ===

impl Lane {
    /// Does something with the lane's place, which it takes first where it has none.
    fn with_seat<T>(
        &self,
        act: impl FnOnce(&Tables, &mut Seat) -> Result<T, SteerError>,
    ) -> Result<T, SteerError> {
        let tables = self.shared.tables()?;
        let mut seat = self.seat.lock();
        if seat.is_none() {
            *seat = Some(self.shared.seat()?);
        }
        match seat.as_mut() {
            Some(seat) => act(tables, seat),
            None => Err(SteerError::lanes()),
        }
    }

    /// What stands for an endpoint, and the family of its listener.
    fn key(&self, endpoint: Endpoint) -> Result<(u32, u64, Family), SteerError> {
        let (ip, port) = (endpoint.at.ip(), endpoint.at.port());
        let foreign = || SteerError::Foreign(ip);
        let range = &self.shared.range;
        let address = range.untwin(ip).ok_or_else(foreign)?;
        let protocol = match endpoint.protocol {
            Protocol::Tcp => IPPROTO_TCP,
            Protocol::Udp => IPPROTO_UDP,
        };
        let (family, number) = match ip {
            IpAddr::V4(_) => (Family::V4, AF_INET),
            IpAddr::V6(_) => (Family::V6, AF_INET6),
        };
        let block = range.block_of(address).first.to_bits();
        Ok((
            block,
            key(address.to_bits(), port, protocol, number),
            family,
        ))
    }
}

impl Steer for Lane {
    fn listeners(&self) -> Result<Vec<(Family, OwnedFd)>, SteerError> {
        self.with_seat(|tables, seat| {
            let mut listeners = Vec::new();
            for family in &self.shared.families {
                let socket = self.shared.listener(*family);
                let socket = socket.map_err(|errno| refused("listening", &errno))?;
                tables
                    .set_listener(seat.listener(*family), &socket)
                    .map_err(|error| refused("taking a listener", &error))?;
                listeners.push((*family, socket));
            }
            Ok(listeners)
        })
    }

    fn add_block(&self, first: Ipv4Addr) -> Result<(), SteerError> {
        let range = &self.shared.range;
        if !range.contains(first.into()) || range.block_of(first).first != first {
            return Err(SteerError::Foreign(first.into()));
        }
        self.with_seat(|tables, seat| {
            if seat.blocks.contains(&first.to_bits()) {
                return Ok(());
            }
            let (full, taken) = (SteerError::blocks(), SteerError::Foreign(first.into()));
            let added = tables.add_block(first.to_bits());
            added.map_err(|error| failed(&error, "adding a block", full, taken))?;
            seat.blocks.insert(first.to_bits());
            Ok(())
        })
    }

    fn open(&self, endpoint: Endpoint, way: Way) -> Result<(), SteerError> {
        let (block, key, family) = self.key(endpoint)?;
        let is_steered = self.shared.families.contains(&family);
        let foreign = SteerError::Foreign(endpoint.at.ip());
        self.with_seat(|tables, seat| {
            let value = match (way, endpoint.protocol) {
                _ if !seat.blocks.contains(&block) => return Err(foreign),
                (Way::Socket, _) => TO_KERNEL,
                (Way::Listener, Protocol::Udp) => return Err(SteerError::Datagrams(endpoint.at)),
                (Way::Listener, Protocol::Tcp) if is_steered => seat.listener(family),
                (Way::Listener, Protocol::Tcp) => return Err(foreign),
            };
            let (full, taken) = (SteerError::endpoints(), SteerError::Taken(endpoint.at));
            let opened = tables.open(key, value);
            opened.map_err(|error| failed(&error, "opening a port", full, taken))?;
            seat.endpoints.insert(key);
            Ok(())
        })
    }

    fn close(&self, endpoint: Endpoint) {
        let Ok((_, key, _)) = self.key(endpoint) else {
            return;
        };
        let (mut seat, tables) = (self.seat.lock(), self.shared.tables.get());
        // Nobody but who opened it has it here: the table takes no endpoint twice.
        if let (Some(seat), Some(tables)) = (seat.as_mut(), tables)
            && seat.endpoints.remove(&key)
        {
            tables.close(key);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let (seat, tables) = (self.seat.lock().take(), self.shared.tables.get());
        let (Some(seat), Some(tables)) = (seat, tables) else {
            return;
        };
        for family in &self.shared.families {
            tables.clear_listener(seat.listener(*family));
        }
        for endpoint in &seat.endpoints {
            tables.close(*endpoint);
        }
        for block in &seat.blocks {
            tables.remove_block(*block);
        }
        self.shared.numbers.lock().free.push(seat.number);
    }
}

// === impl Seat ===

impl Seat {
    /// The number of its listener in the table of listeners.
    fn listener(&self, family: Family) -> u32 {
        self.number * 2 + u32::from(family == Family::V6)
    }
}
