//! Connections: HTTP/1.1 over TCP or TLS, kept while they are of use.
//!
//! A connection that answers is busy until its body was read; whoever needs one meanwhile opens
//! another. The tasks that drive them end with the client.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::error::SPEAKS_TLS;
use super::plain::{Begins, Plain};
use super::target::{Key, Target, Trust};
use super::{RegistryError, certificate, trust};
use crate::limits;

/// What we call ourselves.
const AGENT: &str = concat!("wasmpod/", env!("CARGO_PKG_VERSION"));

/// The most connections that are kept for one server.
const KEPT: usize = 8;

/// What a request carries.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Open connections.
#[derive(Default)]
pub(super) struct Connections {
    open: Mutex<HashMap<Key, Vec<Open>>>,
    /// Whom we believe, by what settings say of it.
    trust: Mutex<HashMap<Trust, Arc<ClientConfig>>>,
}

struct Open {
    sender: SendRequest<Body>,
    /// Of one without TLS; else of nothing.
    begins: Begins,
    /// Drives it.
    _task: AbortOnDropHandle<()>,
}

// === impl Connections ===

impl Connections {
    /// Sends a request, and answers when the head of its answer is here.
    ///
    /// # Errors
    /// When the server cannot be reached, or the connection breaks.
    pub(super) async fn send(
        &self,
        target: &Target,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, RegistryError> {
        let host = HeaderValue::try_from(target.authority())
            .map_err(|_| unreachable(target, "no host name"))?;
        request.headers_mut().insert(HOST, host);
        request
            .headers_mut()
            .insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(mut open) = self.idle(target) {
            match open.sender.try_send_request(request).await {
                Ok(response) => {
                    self.keep(target, open);
                    return Ok(response);
                }
                // It was closed while nobody looked: nothing was sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(open.broken(target, &error.into_error())),
                },
            }
        }
        let mut open = self.connect(target).await?;
        let response = match open.sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => return Err(open.broken(target, &error)),
        };
        self.keep(target, open);
        Ok(response)
    }

    async fn connect(&self, target: &Target) -> Result<Open, RegistryError> {
        let connecting = async {
            let address = (target.host.as_str(), target.port);
            let stream = TcpStream::connect(address)
                .await
                .map_err(|error| unreachable(target, &error.to_string()))?;
            // Nothing is lost but time where it cannot be set.
            let _ = stream.set_nodelay(true);
            let begins = Begins::default();
            if !target.tls {
                return open(target, Plain::new(stream, &begins), begins).await;
            }
            let trust = self.trust(target).await?;
            let name = ServerName::try_from(target.host.clone())
                .map_err(|_| unreachable(target, "that is no name that a certificate can have"))?;
            let stream = TlsConnector::from(trust)
                .connect(name, stream)
                .await
                .map_err(|error| unreachable(target, &tls(&error, target)))?;
            open(target, stream, begins).await
        };
        match tokio::time::timeout(limits::CONNECT, connecting).await {
            Ok(opened) => opened,
            Err(_) => {
                let why = format!("no connection within {} s", limits::CONNECT.as_secs());
                Err(unreachable(target, &why))
            }
        }
    }

    fn idle(&self, target: &Target) -> Option<Open> {
        let mut all = lock(&self.open);
        let open = all.get_mut(&target.key())?;
        open.retain(|open| !open.sender.is_closed());
        let ready = open.iter().position(|open| open.sender.is_ready())?;
        Some(open.swap_remove(ready))
    }

    fn keep(&self, target: &Target, open: Open) {
        let mut all = lock(&self.open);
        let kept = all.entry(target.key()).or_default();
        kept.retain(|open| !open.sender.is_closed());
        if kept.len() >= KEPT {
            // One that is idle goes; those that answer are in use.
            if let Some(idle) = kept.iter().position(|open| open.sender.is_ready()) {
                kept.swap_remove(idle);
            }
        }
        kept.push(open);
    }

    /// Whom we believe: the system's authorities, and what settings say. Files are read once.
    async fn trust(&self, target: &Target) -> Result<Arc<ClientConfig>, RegistryError> {
        if let Some(known) = lock(&self.trust).get(&target.trust) {
            return Ok(Arc::clone(known));
        }
        let settings = target.trust.clone();
        let reading = tokio::task::spawn_blocking(move || trust::read(&settings));
        let read = reading.await.unwrap_or_else(|error| Err(error.to_string()));
        let trust = read.map_err(|why| unreachable(target, &why))?;
        lock(&self.trust).insert(target.trust.clone(), Arc::clone(&trust));
        Ok(trust)
    }
}

// === impl Open ===

impl Open {
    /// Why there is no answer.
    fn broken(&self, target: &Target, error: &hyper::Error) -> RegistryError {
        let why = causes(error);
        match self.begins.with_alert() {
            true => unreachable(target, &format!("{why}: {SPEAKS_TLS}")),
            false => RegistryError::Broken {
                url: target.authority(),
                why,
            },
        }
    }
}

async fn open<S>(target: &Target, stream: S, begins: Begins) -> Result<Open, RegistryError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shaken = handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| unreachable(target, &causes(&error)))?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a registry ended");
        }
    });
    Ok(Open {
        sender,
        begins,
        _task: AbortOnDropHandle::new(task),
    })
}

fn unreachable(target: &Target, why: &str) -> RegistryError {
    RegistryError::Unreachable {
        host: target.authority(),
        why: why.to_owned(),
    }
}

/// What TLS says, with the remedy where a server speaks none, or its certificate is not believed.
fn tls(error: &io::Error, target: &Target) -> String {
    let cause = error.get_ref();
    let cause = cause.and_then(|it| it.downcast_ref::<rustls::Error>());
    if let Some(text) = cause.and_then(|it| certificate::told(it, target)) {
        return text;
    }
    let text = error.to_string();
    match text.contains("InvalidContentType") || text.contains("corrupt message") {
        true => format!(
            "{text}: it seems to speak plain http, for which hosts.toml has to name it with http://"
        ),
        false => text,
    }
}

/// An error and what is behind it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
