//! One attempt of a probe or hook: ask once, judge the answer.
//!
//! When to ask and what follows from the answer is the lifecycle's to decide.

mod grpc;
mod http;
mod trust;

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use model::Runtime;
use model::container::{Container, Protocol};
use model::lifecycle::ProbeOutcome;
use model::probe::{Handler, PortRef};
use model::runtime::{PodId, RuntimeError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// How long a hook by network may take; kubelet bounds it by the grace period alone.
const HOOK: Duration = Duration::from_secs(3600);

/// Whom a probe asks.
#[derive(Clone)]
pub(crate) struct Target {
    /// Who connects.
    pub(crate) runtime: Arc<dyn Runtime>,
    /// The pod.
    pub(crate) pod: PodId,
    /// Its addresses; the first is asked where the probe names no host.
    pub(crate) addresses: Vec<IpAddr>,
    /// Whether the pod is on the node's own network.
    pub(crate) host_network: bool,
}

/// A connection to what is probed.
enum Stream {
    /// Through the pod's switch.
    Pod(UnixStream),
    /// Through the kernel.
    Kernel(TcpStream),
}

/// Asks once by network. Exec and sleep are their caller's.
pub(crate) async fn ask(
    handler: &Handler,
    container: &Container,
    target: &Target,
    timeout: Duration,
) -> ProbeOutcome {
    let asking = async {
        match handler {
            Handler::HttpGet(get) => http::ask(get, container, target, timeout).await,
            Handler::TcpSocket { host, port } => {
                let port = match number(port, container) {
                    Ok(port) => port,
                    Err(why) => return ProbeOutcome::Error(why),
                };
                match connect(target, host.as_deref(), port, timeout).await {
                    Ok(_) => ProbeOutcome::Success,
                    Err(error) => {
                        ProbeOutcome::Failure(dial_error(target, host.as_deref(), port, &error))
                    }
                }
            }
            Handler::Grpc { port, service } => grpc::ask(*port, service, target, timeout).await,
            Handler::Exec(_) | Handler::Sleep(_) => {
                ProbeOutcome::Error("not asked by network".to_owned())
            }
        }
    };
    match tokio::time::timeout(timeout, asking).await {
        Ok(outcome) => outcome,
        Err(_) => ProbeOutcome::Failure(timed_out(handler, container, target, timeout)),
    }
}

/// Runs an httpGet or tcpSocket hook: whatever is answered is good, as in kubelet.
///
/// # Errors
/// Why nobody answered.
pub(crate) async fn reach(
    handler: &Handler,
    container: &Container,
    target: &Target,
) -> Result<(), String> {
    match handler {
        Handler::HttpGet(get) => http::reach(get, container, target, HOOK).await,
        other => match ask(other, container, target, HOOK).await {
            ProbeOutcome::Success | ProbeOutcome::Warning(_) => Ok(()),
            ProbeOutcome::Failure(why) | ProbeOutcome::Error(why) => Err(why),
        },
    }
}

/// In the words of kubelet's clients.
fn timed_out(
    handler: &Handler,
    container: &Container,
    target: &Target,
    timeout: Duration,
) -> String {
    match handler {
        Handler::HttpGet(get) => format!(
            "Get {:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            http::url(get, container, target)
        ),
        Handler::TcpSocket { host, port } => {
            let port = number(port, container).unwrap_or_default();
            let address = authority(target, host.as_deref(), port);
            format!("dial tcp {address}: i/o timeout")
        }
        _ => format!(
            "timeout: health rpc did not complete within {}s",
            timeout.as_secs()
        ),
    }
}

/// Drives a connection while something is asked over it, and no longer: it needs no task.
async fn beside<T>(connection: impl Future, work: impl Future<Output = T>) -> T {
    let (mut connection, mut work) = (pin!(connection), pin!(work));
    let mut is_open = true;
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        if is_open && connection.as_mut().poll(context).is_ready() {
            is_open = false;
        }
        // What the connection has just read or why it has closed.
        work.as_mut().poll(context)
    })
    .await
}

/// The number of a port that may be named.
fn number(port: &PortRef, container: &Container) -> Result<u16, String> {
    match port {
        PortRef::Number(number) => Ok(*number),
        PortRef::Name(name) => {
            let mut ports = container
                .ports
                .iter()
                .filter(|port| port.protocol == Protocol::Tcp);
            let named = ports.find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port).ok_or_else(|| {
                format!(
                    "couldn't find port: {name:?} in container {}",
                    container.name
                )
            })
        }
    }
}

/// Connects to the pod through its switch, or to a host that the probe names through the kernel.
async fn connect(
    target: &Target,
    host: Option<&str>,
    port: u16,
    timeout: Duration,
) -> io::Result<Stream> {
    let is_own = match host {
        None => true,
        Some(host) => host
            .parse::<IpAddr>()
            .is_ok_and(|address| target.addresses.contains(&address)),
    };
    if is_own && !target.host_network {
        let connection = target
            .runtime
            .connect(target.pod, port, timeout)
            .await
            .map_err(refused)?;
        let stream = std::os::unix::net::UnixStream::from(connection.0);
        stream.set_nonblocking(true)?;
        return Ok(Stream::Pod(UnixStream::from_std(stream)?));
    }
    let stream = match host {
        Some(host) => TcpStream::connect((host, port)).await?,
        None => {
            let address = target
                .addresses
                .first()
                .copied()
                .unwrap_or(IpAddr::from([127, 0, 0, 1]));
            TcpStream::connect(SocketAddr::new(address, port)).await?
        }
    };
    Ok(Stream::Kernel(stream))
}

fn refused(error: RuntimeError) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, error)
}

/// The address as kubelet prints it.
fn authority(target: &Target, host: Option<&str>, port: u16) -> String {
    match (host, target.addresses.first()) {
        (Some(host), _) if host.contains(':') => format!("[{host}]:{port}"),
        (Some(host), _) => format!("{host}:{port}"),
        (None, Some(address)) => SocketAddr::new(*address, port).to_string(),
        (None, None) => format!("localhost:{port}"),
    }
}

fn dial_error(target: &Target, host: Option<&str>, port: u16, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        _ => error.to_string(),
    };
    format!("dial tcp {}: {why}", authority(target, host, port))
}

// === impl Stream ===

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Pod(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Kernel(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Pod(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Kernel(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Pod(stream) => Pin::new(stream).poll_flush(cx),
            Self::Kernel(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Pod(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Kernel(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
