//! The switch: which pods there are.
//!
//! It carries no traffic: sockets find each other through the directory of `fabric` and
//! then talk directly.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use model::container::Protocol;
use model::runtime::{PodId, PodNetwork};
use tokio::runtime::Handle;

use crate::error::SwitchError;
use crate::fabric::Fabric;
use crate::lock::Lock;
use crate::peers::Peers;
use crate::pod::{OpenDoor, Pod, PodNet};
use crate::range::PodRange;
use crate::steer::{Binder, Steer};

/// The switch of one pod host. Clones are the same switch.
#[derive(Clone)]
pub struct Switch {
    pub(crate) fabric: Arc<Fabric>,
    pods: Arc<Lock<HashMap<PodId, Arc<Pod>>>>,
}

/// What a switch is made with.
pub struct SwitchConfig {
    /// Where pod addresses come from.
    pub range: PodRange,
    /// The runtime whose reactor waits for kernel sockets; with I/O and time enabled.
    pub kernel: Handle,
    /// The one whose reactor waits for kernel sockets that are connections: that of those who read
    /// them. With I/O enabled.
    pub streams: Handle,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
    /// Who knows the pods of the run's other switches. With it the switch claims no addresses:
    /// each pod is given its own ([`Switch::add_pod_at`]).
    pub peers: Option<Arc<dyn Peers>>,
    /// What steers connections to every port of pods into this switch; without it doors are plain
    /// binds, of declared ports only.
    pub steering: Option<Arc<dyn Steer>>,
    /// Binds the plain doors that this process may not; without it they open higher.
    pub binder: Option<Arc<dyn Binder>>,
}

/// Told what happens on the switch. Called on the thread that caused it, with no lock of the
/// switch held; must return at once.
pub trait Observer: Send + Sync + 'static {
    /// Something a person should know.
    fn notice(&self, notice: Notice);
    /// A socket of a pod began or ended to listen (TCP), or was bound or closed (UDP).
    fn listening(&self, pod: PodId, listening: Listening) {
        let _ = (pod, listening);
    }
}

/// Something a person should know: becomes a Kubernetes Event on the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The pod.
    pub pod: PodId,
    /// CamelCase: `DoorFailed`, `HostPortConflict`, `DoorMoved`, `SteeringFailed`.
    pub reason: &'static str,
    /// A sentence with the pod, the address, the port and the remedy.
    pub message: String,
    /// Warning rather than Normal.
    pub warning: bool,
}

/// A socket that others can reach, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its address inside the pod; may be the wildcard or localhost.
    pub address: SocketAddr,
    /// Whether it began, or ended.
    pub open: bool,
}

// === impl Switch ===

impl Switch {
    /// A switch without pods; claims its first block of addresses, unless they are given.
    ///
    /// # Errors
    /// [`SwitchError::BadRange`]; [`SwitchError::NoAddressLeft`] and [`SwitchError::Guard`] from
    /// the claim.
    pub fn new(config: SwitchConfig) -> Result<Self, SwitchError> {
        let fabric = Arc::new(Fabric::new(config)?);
        Ok(Self {
            fabric,
            pods: Arc::default(),
        })
    }

    /// Puts a pod on the switch: gives it addresses and names. Opens nothing.
    ///
    /// # Errors
    /// [`SwitchError::PodExists`], [`SwitchError::NoAddressLeft`], [`SwitchError::Guard`];
    /// [`SwitchError::NoAddressGiven`] where addresses are given.
    pub fn add_pod(&self, id: PodId, network: &PodNetwork) -> Result<PodNet, SwitchError> {
        self.add(id, network, |fabric| fabric.take_address())
    }

    /// The same with an address that somebody else has chosen.
    ///
    /// # Errors
    /// [`SwitchError::PodExists`]; [`SwitchError::BadAddress`].
    pub fn add_pod_at(
        &self,
        id: PodId,
        network: &PodNetwork,
        address: Ipv4Addr,
    ) -> Result<PodNet, SwitchError> {
        self.add(id, network, |fabric| {
            let is_free = fabric.pod_at(address.into()).is_none();
            if is_free && fabric.range.contains(address.into()) {
                Ok(address)
            } else {
                Err(SwitchError::BadAddress(address))
            }
        })
    }

    fn add(
        &self,
        id: PodId,
        network: &PodNetwork,
        address: impl FnOnce(&Fabric) -> Result<Ipv4Addr, SwitchError>,
    ) -> Result<PodNet, SwitchError> {
        let mut pods = self.pods.lock();
        let Entry::Vacant(place) = pods.entry(id) else {
            return Err(SwitchError::PodExists(id));
        };
        let address = if network.host {
            None
        } else {
            Some(address(&self.fabric)?)
        };
        let pod = Arc::new(Pod::new(id, network, address, Arc::clone(&self.fabric)));
        self.fabric.enter(&pod);
        place.insert(Arc::clone(&pod));
        Ok(PodNet::new(pod))
    }

    /// Takes a pod off: its names and addresses are gone, its doors and listeners closed, its
    /// connections end as their sockets are dropped. Unknown pods are ignored.
    pub fn remove_pod(&self, id: PodId) {
        let removed = self.pods.lock().remove(&id);
        if let Some(pod) = removed {
            pod.close();
        }
    }

    /// A pod's network, with counters of its own.
    pub fn pod(&self, id: PodId) -> Option<PodNet> {
        self.pods
            .lock()
            .get(&id)
            .map(|pod| PodNet::new(Arc::clone(pod)))
    }

    /// A pod's open doors in the order of their ports; none for unknown pods.
    pub fn doors(&self, id: PodId) -> Vec<OpenDoor> {
        self.pod(id).map(|pod| pod.doors()).unwrap_or_default()
    }
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switch")
            .field("range", &self.fabric.range)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
