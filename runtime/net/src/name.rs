//! Names to addresses.
//!
//! ```text
//! literal ─> localhost ─> own name, /etc/hosts ─> pods of the switch, or of all ─> DNS
//! ```
//!
//! A name gains a guest nothing: whatever it resolves to, the connect decides.

mod dns;
mod search;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use crate::error::NetError;
use crate::limits::{MAX_ADDRESSES, MAX_NAME};
use crate::pod::Pod;
use crate::tcp::Family;

/// Which addresses a look-up wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lookup {
    /// IPv4 first, then IPv6: what a guest that names no family gets.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// A task that ends with its owner.
struct Owned<T>(JoinHandle<T>);

/// Looks a name up; see [`crate::PodNet::resolve`].
pub(crate) fn resolve(
    pod: Arc<Pod>,
    name: &str,
    lookup: Lookup,
) -> impl Future<Output = Result<Vec<IpAddr>, NetError>> + Send + 'static + use<> {
    let known = known(&pod, name, lookup);
    let name = name.to_owned();
    async move {
        let Known { mut found, open } = known?;
        if let Some(plain) = open {
            if let Some(peers) = &pod.fabric.peers {
                add_pods(&pod, &peers.named(&plain).await, &mut found);
            }
            if found.is_empty() {
                found = ask(pod, name, lookup).await?;
            }
        }
        finish(found, lookup)
    }
}

/// What is known without asking anybody.
struct Known {
    found: Vec<IpAddr>,
    /// The name in its plain form, where others may know more.
    open: Option<String>,
}

fn known(pod: &Pod, name: &str, lookup: Lookup) -> Result<Known, NetError> {
    let all = |found| Known { found, open: None };
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(NetError::InvalidArgument);
    }
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(all(vec![address.to_canonical()]));
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return Ok(all(vec![
            Ipv4Addr::LOCALHOST.into(),
            Ipv6Addr::LOCALHOST.into(),
        ]));
    }
    let mut found = if pod.names.contains(&name) {
        pod.addresses()
    } else {
        Vec::new()
    };
    let is_name = |other: &String| other.trim_end_matches('.').eq_ignore_ascii_case(&name);
    let hosts = pod
        .hosts
        .iter()
        .filter(|(_, names)| names.iter().any(is_name));
    found.extend(hosts.map(|(address, _)| address.to_canonical()));
    if found.iter().any(|address| lookup.wants(*address)) {
        return Ok(all(found));
    }
    if pod.fabric.peers.is_none() {
        add_pods(pod, &pod.fabric.named(&name), &mut found);
    }
    let open = Some(name);
    Ok(Known { found, open })
}

/// Adds the addresses of pods, IPv4 first.
fn add_pods(pod: &Pod, pods: &[Ipv4Addr], found: &mut Vec<IpAddr>) {
    found.extend(pods.iter().copied().map(IpAddr::from));
    let twins = pods.iter().map(|address| pod.fabric.range.twin(*address));
    found.extend(twins.map(IpAddr::from));
}

/// Asks the pod's name servers, in a task of the reactor's runtime: the caller's thread may be in
/// none.
async fn ask(pod: Arc<Pod>, name: String, lookup: Lookup) -> Result<Vec<IpAddr>, NetError> {
    let client = dns::Client::new(&pod.resolver);
    if client.is_empty() {
        return Err(NetError::NameUnresolvable);
    }
    let turn = Arc::clone(&pod.lookups).acquire_owned().await;
    let _turn = turn.map_err(|_| NetError::TemporaryResolverFailure)?;
    let task = async move { client.look_up(&name, lookup).await };
    Owned(pod.fabric.kernel.spawn(task)).await
}

/// Addresses of the wanted family, each once, no more than [`MAX_ADDRESSES`].
fn finish(addresses: Vec<IpAddr>, lookup: Lookup) -> Result<Vec<IpAddr>, NetError> {
    let mut result: Vec<IpAddr> = Vec::new();
    for address in addresses
        .into_iter()
        .filter(|address| lookup.wants(*address))
    {
        if result.len() < MAX_ADDRESSES && !result.contains(&address) {
            result.push(address);
        }
    }
    if result.is_empty() {
        Err(NetError::NameUnresolvable)
    } else {
        Ok(result)
    }
}

// === impl Lookup ===

impl Lookup {
    pub(crate) fn wants(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => Family::of(address) == Family::V4,
            Self::V6 => Family::of(address) == Family::V6,
        }
    }
}

// === impl Owned ===

impl<T> Future for Owned<Result<T, NetError>> {
    type Output = Result<T, NetError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The task fails only where its runtime ends.
        let ended = |_| Err(NetError::TemporaryResolverFailure);
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|joined| joined.unwrap_or_else(ended))
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
