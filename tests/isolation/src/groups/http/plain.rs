//! hyper without anything around it, in a process of its own: what an answer costs at least.
//!
//! One thread, as hyper is at its best for each second of CPU. It answers what the component
//! answers for a first request.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::table::progress;

/// What is said once it listens.
pub(super) const UP: &str = "plain hyper listens";

/// Serves until it is killed.
///
/// # Errors
/// When the address is not to be had.
pub(crate) fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen at {address}"))?;
        progress(UP)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(hello));
            // A client that breaks off is its own affair.
            tokio::spawn(async move { drop(connection.await) });
        }
    })
}

async fn hello<B: Send>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let id = request.headers().get("x-id");
    let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
    Ok(Response::new(Full::from(format!("hello 1 {id}\n"))))
}
