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
//! Over http, except on this machine, everybody on the way can read what is sent. Credentials go there
//! only where both the settings and the credentials name that very host and port.
//!
//! Not here: what is done with manifests and blobs (`pull`, `push`).

mod auth;
mod certificate;
mod challenge;
mod connect;
mod error;
mod hosts;
mod plain;
mod session;
mod settings;
mod target;
mod transfer;
mod trust;

use std::sync::Arc;

pub use error::RegistryError;
pub use hosts::{Endpoint, Hosts};
pub(crate) use session::{Fetched, Session};

use crate::aside::aside;
use crate::credentials::{Auth, Keyring};
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

/// What a session has to prove who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// Nothing.
    None,
    /// This.
    Shown(Auth),
    /// There is something, but not for a way on which everybody could read it.
    Withheld,
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
        let (hosts, registry) = (self.0.hosts.clone(), reference.registry().to_owned());
        let endpoints = aside(move || hosts.endpoints(&registry)).await?;
        for endpoint in endpoints {
            if !endpoint.is_for(access) {
                continue;
            }
            for secret in secrets(&endpoint, reference, keyring).await? {
                let client = self.clone();
                let (endpoint, progress) = (endpoint.clone(), progress.clone());
                sessions.push(Session::new(
                    client, endpoint, reference, secret, access, progress,
                ));
            }
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

/// What may be tried at an endpoint, the best first; one at the least.
async fn secrets(
    endpoint: &Endpoint,
    reference: &Reference,
    keyring: &Keyring,
) -> Result<Vec<Secret>, RegistryError> {
    let name = endpoint.name(reference);
    let open = endpoint.open_name(reference);
    let found = keyring.find(open.as_deref().unwrap_or(&name)).await?;
    if !found.is_empty() {
        return Ok(found.into_iter().map(Secret::Shown).collect());
    }
    let is_withheld = open.is_some() && !keyring.find(&name).await?.is_empty();
    Ok(vec![if is_withheld {
        Secret::Withheld
    } else {
        Secret::None
    }])
}

// === impl Secret ===

impl Secret {
    fn auth(&self) -> Option<&Auth> {
        match self {
            Self::Shown(auth) => Some(auth),
            Self::None | Self::Withheld => None,
        }
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
