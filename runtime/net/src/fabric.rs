//! What all pods of a switch share: addresses, who has which, and the way to the kernel.
//!
//! The directory is read at a connect or at the first datagram to a destination, and written when
//! pods come and go; no byte of a connection touches it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::blocks::Blocks;
use crate::error::SwitchError;
use crate::limits::EPHEMERAL_PORTS;
use crate::lock::Lock;
use crate::peers::Peers;
use crate::pod::Pod;
use crate::range::PodRange;
use crate::routes::Routes;
use crate::steer::{Binder, Steered};
use crate::stream::pool::Pool;
use crate::switch::{Observer, SwitchConfig};
use crate::tcp::TcpListener;

/// Shared by all pods of a switch.
pub(crate) struct Fabric {
    pub(crate) range: PodRange,
    pub(crate) kernel: Handle,
    pub(crate) streams: Handle,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) routes: Routes,
    pub(crate) pool: Arc<Pool>,
    /// Told when a pod has closed a kernel socket.
    pub(crate) freed: Arc<Notify>,
    /// Absent where doors are plain binds.
    pub(crate) steered: Option<Steered>,
    /// Who may bind what this process may not.
    pub(crate) binder: Option<Arc<dyn Binder>>,
    /// Cleared at the first sign that pods' IPv6 addresses cannot be bound on this node.
    pub(crate) doors_v6: AtomicBool,
    /// Who knows the pods of other switches.
    pub(crate) peers: Option<Arc<dyn Peers>>,
    /// None where addresses are given.
    blocks: Option<Lock<Blocks>>,
    directory: RwLock<Directory>,
    host_ports: AtomicU16,
}

#[derive(Debug, Default)]
struct Directory {
    addresses: HashMap<Ipv4Addr, Weak<Pod>>,
    names: HashMap<String, Vec<Weak<Pod>>>,
}

// === impl Fabric ===

impl Fabric {
    pub(crate) fn new(config: SwitchConfig) -> Result<Self, SwitchError> {
        config.range.check()?;
        let blocks = match &config.peers {
            Some(_) => None,
            None => Some(Lock::new(Blocks::claim(config.range)?)),
        };
        Ok(Self {
            range: config.range,
            kernel: config.kernel,
            streams: config.streams,
            observer: config.observer,
            routes: Routes::open(),
            pool: Arc::default(),
            freed: Arc::default(),
            steered: config.steering.map(Steered::new),
            binder: config.binder,
            doors_v6: AtomicBool::new(true),
            peers: config.peers,
            blocks,
            directory: RwLock::default(),
            host_ports: AtomicU16::new(0),
        })
    }

    pub(crate) fn take_address(&self) -> Result<Ipv4Addr, SwitchError> {
        let blocks = self.blocks.as_ref().ok_or(SwitchError::NoAddressGiven)?;
        blocks.lock().take()
    }

    pub(crate) fn give_address(&self, address: Ipv4Addr) {
        if let Some(blocks) = &self.blocks {
            blocks.lock().give(address);
        }
    }

    /// Lets others find a pod.
    pub(crate) fn enter(&self, pod: &Arc<Pod>) {
        let Some(address) = pod.address_v4() else {
            return;
        };
        let mut directory = self.write();
        directory.addresses.insert(address, Arc::downgrade(pod));
        for name in &pod.names {
            directory
                .names
                .entry(name.clone())
                .or_default()
                .push(Arc::downgrade(pod));
        }
    }

    /// Lets nobody find it any more.
    pub(crate) fn leave(&self, pod: &Pod) {
        let Some(address) = pod.address_v4() else {
            return;
        };
        let mut directory = self.write();
        directory.addresses.remove(&address);
        for name in &pod.names {
            if let Some(pods) = directory.names.get_mut(name) {
                pods.retain(|other| !std::ptr::eq(other.as_ptr(), pod));
                if pods.is_empty() {
                    directory.names.remove(name);
                }
            }
        }
    }

    /// The pod with this address.
    pub(crate) fn pod_at(&self, address: IpAddr) -> Option<Arc<Pod>> {
        let address = self.range.untwin(address)?;
        self.read().addresses.get(&address)?.upgrade()
    }

    /// All pods that have addresses.
    pub(crate) fn pods(&self) -> Vec<Arc<Pod>> {
        let directory = self.read();
        let pods = directory.addresses.values();
        pods.filter_map(Weak::upgrade).collect()
    }

    /// Who listens at an address of a pod, as seen from outside it.
    pub(crate) fn listener_at(&self, at: SocketAddr) -> Option<TcpListener> {
        let pod = self.pod_at(at.ip())?;
        let ports = pod.tcp.lock();
        ports.find_dual(at.ip(), at.port()).cloned()
    }

    /// The IPv4 addresses of the pods with this name, in the order in which they came.
    pub(crate) fn named(&self, name: &str) -> Vec<Ipv4Addr> {
        let directory = self.read();
        let pods = directory.names.get(name).into_iter().flatten();
        pods.filter_map(|pod| pod.upgrade()?.address_v4()).collect()
    }

    /// A port for the host's end of a connection; only its looks matter.
    pub(crate) fn host_port(&self) -> u16 {
        let (first, last) = (*EPHEMERAL_PORTS.start(), *EPHEMERAL_PORTS.end());
        first + self.host_ports.fetch_add(1, Ordering::Relaxed) % (last - first + 1)
    }

    fn read(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
