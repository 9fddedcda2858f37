//! The network of all pods of a run, whichever child has them, as their parent knows it.
//!
//! ```text
//!   child A ── Dial ──> Network: who has that address? ── Accept, one end of a pair ──> child B
//!   child A <── the other end, or why there is none ──┘
//! ```
//!
//! Addresses are claimed and given out here; a child's switch gets them. Names are asked for here.
//! No traffic of a connection passes; datagrams do, in `wire`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::runtime::PodNetwork;
use net::{Blocks, PodRange, SwitchError};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::child::{Child, WeakChild};
use crate::protocol::Refusal;

/// How long the child of a listener has to take a connection. It answers at once, unless its
/// machine is overloaded.
const PATIENCE: Duration = Duration::from_secs(30);

/// The network of a run.
pub(crate) struct Network {
    range: PodRange,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Claimed with the first pod.
    blocks: Option<Blocks>,
    places: HashMap<Ipv4Addr, WeakChild>,
    /// In the order in which the pods came.
    names: HashMap<String, Vec<Ipv4Addr>>,
}

/// A pod's place in the network: others find it until [`Lease::leave`], and its address is its own
/// until this is dropped.
pub(crate) struct Lease {
    network: Arc<Network>,
    child: WeakChild,
    address: Ipv4Addr,
    names: Vec<String>,
}

// === impl Network ===

impl Network {
    /// Claims nothing yet.
    pub(crate) fn new(range: PodRange) -> Self {
        let state = Mutex::default();
        Self { range, state }
    }

    /// Gives a pod that `child` will run its address, and lets others find it.
    ///
    /// # Errors
    /// Those of [`Blocks::take`].
    pub(crate) fn enter(
        self: &Arc<Self>,
        network: &PodNetwork,
        child: WeakChild,
    ) -> Result<Lease, SwitchError> {
        let names = net::pod::names(network);
        let mut state = self.state();
        let mut blocks = match state.blocks.take() {
            Some(blocks) => blocks,
            None => Blocks::claim(self.range)?,
        };
        let address = blocks.take();
        state.blocks = Some(blocks);
        let address = address?;
        state.places.insert(address, child.clone());
        for name in &names {
            state.names.entry(name.clone()).or_default().push(address);
        }
        drop(state);
        let network = Arc::clone(self);
        Ok(Lease {
            network,
            child,
            address,
            names,
        })
    }

    /// The child that has the pod with this address, of either family.
    pub(crate) fn child_at(&self, address: IpAddr) -> Option<Child> {
        let address = self.range.untwin(address)?;
        let place = self.state().places.get(&address).cloned();
        place?.upgrade()
    }

    /// Whether an address is one that a pod has or could get, of either family.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.range.untwin(address.to_canonical()).is_some()
    }

    /// The addresses of the pods with this name.
    pub(crate) fn named(&self, name: &str) -> Vec<Ipv4Addr> {
        self.state().names.get(name).cloned().unwrap_or_default()
    }

    /// Connects to a listener, wherever it is, for a pod at `from`. The pair is made here and its
    /// ends only ever go down, so that no child is handed what another one has opened.
    pub(crate) async fn connect(
        &self,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<OwnedFd, Refusal> {
        let child = self.child_at(to.ip()).ok_or(Refusal::Refused)?;
        let (near, far) = stream_pair().map_err(|error| {
            tracing::warn!(%error, "pods cannot be connected");
            Refusal::Refused
        })?;
        match tokio::time::timeout(PATIENCE, child.accept(far, from, to)).await {
            Ok(Ok(())) => Ok(near),
            Ok(Err(_)) => Err(Refusal::Refused),
            Err(_) => Err(Refusal::Timeout),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two ends of a connection without a name.
pub(crate) fn stream_pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

// === impl Lease ===

impl Lease {
    /// The pod's address; its IPv6 one follows from it.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Both addresses, IPv4 first.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let twin = self.network.range.twin(self.address);
        vec![self.address.into(), twin.into()]
    }

    /// Lets nobody find the pod any more.
    pub(crate) fn leave(&self) {
        let mut state = self.network.state();
        state.places.remove(&self.address);
        for name in &self.names {
            if let Some(pods) = state.names.get_mut(name) {
                pods.retain(|address| *address != self.address);
                if pods.is_empty() {
                    state.names.remove(name);
                }
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leave();
        if let Some(child) = self.child.upgrade() {
            child.close_all_at(self.address.into());
        }
        if let Some(blocks) = &mut self.network.state().blocks {
            blocks.give(self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Apart from the range of real pods, and of the tests of `net`.
    const RANGE: PodRange = PodRange {
        first: Ipv4Addr::new(127, 210, 0, 0),
        prefix: 24,
        block: 29,
    };

    fn named(hostname: &str) -> PodNetwork {
        PodNetwork {
            hostname: hostname.to_owned(),
            names: vec!["Web.".to_owned()],
            ..PodNetwork::default()
        }
    }

    #[test]
    fn addresses_and_names_are_those_of_the_pods_that_are_there() {
        let network = Arc::new(Network::new(RANGE));
        let enter = |name| network.enter(&named(name), WeakChild::none()).unwrap();
        let (one, two) = (enter("one"), enter("two"));
        let (first, second) = (one.address(), two.address());
        assert_ne!(first, second);
        assert_eq!(network.named("web"), [first, second]);
        one.leave();
        assert_eq!(network.named("web"), [second]);
        assert!(network.named("one").is_empty());
        let others: Vec<_> = (0..20).map(|_| enter("more")).collect();
        assert!(
            others.iter().all(|other| other.address() != first),
            "an address was given out while a pod had it"
        );
        drop(one);
        assert_eq!(network.named("two"), [second]);
    }

    #[tokio::test]
    async fn who_is_not_there_is_refused() {
        let network = Arc::new(Network::new(RANGE));
        let pod = network.enter(&named("p"), WeakChild::none()).unwrap();
        let from = SocketAddr::from(([127, 210, 0, 250], 40_000));
        let gone = SocketAddr::from((pod.address(), 80));
        let outside = SocketAddr::from(([192, 0, 2, 1], 80));
        for to in [gone, from, outside] {
            let refused = network.connect(from, to).await.unwrap_err();
            assert_eq!(refused, Refusal::Refused, "{to}");
        }
    }
}
