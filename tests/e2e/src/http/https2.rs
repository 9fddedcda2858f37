//! Requests to outside over https, to a server that says which version of HTTP it was asked in.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::header::HOST;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::https::{client, has_openssl, make_certificate};
use crate::harness::{PLACEMENTS, Run, skip};

/// A server on a runtime of its own, which ends with it.
struct Server {
    port: u16,
    _runtime: tokio::runtime::Runtime,
}

/// A body that breaks off.
#[derive(Default)]
struct Half {
    is_sent: bool,
}

type Body = BoxBody<Bytes, io::Error>;

/// What the server agrees to speak, what it is asked, and what the guest is told.
const CASES: [(&[&str], &[&str], &str); 7] = [
    (&["h2"], &["get", "/hello"], "200 HTTP/2.0 localhost:PORT 0"),
    (
        &["h2", "http/1.1"],
        &["get", "/hello"],
        "200 HTTP/2.0 localhost:PORT 0",
    ),
    (
        &["http/1.1"],
        &["get", "/hello"],
        "200 HTTP/1.1 localhost:PORT 0",
    ),
    // Without ALPN as without TLS.
    (&[], &["get", "/hello"], "200 HTTP/1.1 localhost:PORT 0"),
    // More than the windows of a stream and of a connection hold.
    (
        &["h2"],
        &["post", "/hello", "3000000"],
        "200 HTTP/2.0 localhost:PORT 3000000",
    ),
    // The stream is reset in the middle of its body; whether its head was read before tells the name.
    (&["h2"], &["get", "/cut"], "error "),
    (&["smtp"], &["get", "/hello"], "error TlsAlertReceived"),
];

#[test]
fn https_speaks_http2_where_the_server_does() -> anyhow::Result<()> {
    if !has_openssl() {
        return skip("there is no openssl");
    }
    let home = tempfile::TempDir::with_prefix("wasmpod-e2e-")?;
    make_certificate(home.path())?;
    let certificate = home.path().join("certificate.pem");
    for (at, (speaks, asked, wanted)) in CASES.iter().enumerate() {
        let server = Server::start(home.path(), speaks)?;
        let (how, rest) = asked.split_first().context("a verb")?;
        let (path, rest) = rest.split_first().context("a path")?;
        let url = format!("https://localhost:{}{path}", server.port);
        let mut args = vec![*how, &*url];
        args.extend(rest);
        let placement = PLACEMENTS[at % PLACEMENTS.len()];
        let run = Run::of(client(&args))?.placed(placement);
        let ended = run.variable("SSL_CERT_FILE", &certificate).finish()?;
        let logs = ended.said.logs("p", "c");
        let wanted = wanted.replace("PORT", &server.port.to_string());
        let is_told = logs.first().is_some_and(|line| line.starts_with(&wanted));
        ensure!(
            is_told,
            "{speaks:?} {asked:?}: {logs:?}\n{}",
            ended.said.transcript()
        );
    }
    Ok(())
}

// === impl Server ===

impl Server {
    /// Listens before it returns.
    fn start(home: &Path, speaks: &[&str]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let acceptor = TlsAcceptor::from(Arc::new(config(home, speaks)?));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        runtime.spawn(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                return;
            };
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // Who cannot agree is gone.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let serving =
                        builder.serve_connection(TokioIo::new(stream), service_fn(answer));
                    drop(serving.await);
                });
            }
        });
        Ok(Self {
            port,
            _runtime: runtime,
        })
    }
}

fn config(home: &Path, speaks: &[&str]) -> anyhow::Result<ServerConfig> {
    let certificate = CertificateDer::from_pem_file(home.join("certificate.pem"))?;
    let key = PrivateKeyDer::from_pem_file(home.join("key.pem"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = speaks.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(config)
}

/// The version, the authority as that version has it, and the length of the body.
async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let version = request.version();
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str());
    // Of HTTP/2 a Host field beside the authority would be one too many.
    let host = match (host, authority) {
        (Some(host), None) => host.to_owned(),
        (None, Some(authority)) => authority.to_owned(),
        both => format!("{both:?}"),
    };
    if request.uri().path() == "/cut" {
        return Ok(Response::new(Half::default().boxed()));
    }
    let length = match request.into_body().collect().await {
        Ok(body) => body.to_bytes().len().to_string(),
        Err(error) => error.to_string(),
    };
    let told = format!("{version:?} {host} {length}");
    let body = Full::from(told).map_err(|never| match never {});
    Ok(Response::new(body.boxed()))
}

// === impl Half ===

impl hyper::body::Body for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if std::mem::replace(&mut self.is_sent, true) {
            return Poll::Ready(Some(Err(io::Error::other("as asked"))));
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"half of it")))))
    }
}
