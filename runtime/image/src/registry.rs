//! The registry client: OCI's distribution protocol over our own use of hyper and rustls.
//!
//! ```text
//! Reference ─hosts─> endpoints: mirrors, then the registry ─> Session: one endpoint, one credential
//!   ask ─> 401? token, again ─> 3xx? follow, without credentials elsewhere ─> 429, 5xx? wait, again
//! ```
//!
//! Why not a library: the usual one reads manifests, tokens and errors of any length into memory,
//! and tries again at once where a registry asked it to wait. Here every answer has a limit, every
//! silence an end, and a wait is the one that was asked for.
//!
//! Not here: what is done with manifests and blobs (`pull`, `push`).

mod auth;
mod challenge;
mod connect;
mod error;
mod hosts;
mod session;
mod settings;
mod target;
mod transfer;
mod trust;

use std::sync::Arc;

pub use error::RegistryError;
pub use hosts::{Endpoint, Hosts};
pub(crate) use session::{Fetched, Session};

use crate::credentials::Keyring;
use crate::progress::Progress;
use crate::reference::Reference;
use connect::Connections;

/// A client. Clones share connections.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    hosts: Hosts,
    connections: Connections,
}

/// What a session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read.
    Pull,
    /// Read and write.
    Push,
}

// === impl Client ===

impl Client {
    /// A client that reaches registries as `hosts` says.
    pub fn new(hosts: Hosts) -> Self {
        Self(Arc::new(Shared {
            hosts,
            connections: Connections::default(),
        }))
    }

    /// The ways to a repository, the best first: each mirror and then the registry itself, with
    /// each credential that matches there, or none. Another host than the one that
    /// the reference names gets only what is meant for it. For
    /// pushing, the registry alone.
    pub(crate) async fn sessions(
        &self,
        reference: &Reference,
        keyring: &Keyring,
        access: Access,
        progress: &Progress,
    ) -> Result<Vec<Session>, RegistryError> {
        let mut sessions = Vec::new();
        let endpoints = self.0.hosts.endpoints(reference.registry())?;
        for endpoint in endpoints {
            if !endpoint.is_for(access) {
                continue;
            }
            let name = match endpoint.is_named {
                true => reference.name(),
                false => format!("{}/{}", endpoint.target.authority(), reference.repository()),
            };
            let mut auths: Vec<_> = keyring.find(&name).await?.into_iter().map(Some).collect();
            if auths.is_empty() {
                auths.push(None);
            }
            sessions.extend(auths.into_iter().map(|auth| {
                let client = self.clone();
                let (endpoint, progress) = (endpoint.clone(), progress.clone());
                Session::new(client, endpoint, reference, auth, access, progress)
            }));
        }
        if sessions.is_empty() {
            return Err(RegistryError::NotCapable);
        }
        Ok(sessions)
    }

    fn connections(&self) -> &Connections {
        &self.0.connections
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("hosts", &self.0.hosts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
