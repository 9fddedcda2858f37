//! Many requests at once on one connection of HTTP/2.

use std::net::SocketAddr;

use anyhow::ensure;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};

use super::{server, start, stop};
use crate::harness::Run;

/// More than run at once, and than a connection may have open.
const REQUESTS: usize = 300;

pub(super) type Sender = SendRequest<Empty<Bytes>>;

#[test]
fn requests_on_one_connection_have_instances_of_their_own() -> anyhow::Result<()> {
    let (running, address) = start(Run::of(server(Value::Null))?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(ask_all(address))?;
    stop(running)
}

/// A connection, and the task that ends with it.
pub(super) async fn connect(
    address: SocketAddr,
) -> anyhow::Result<(Sender, JoinHandle<hyper::Result<()>>)> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await?;
    Ok((sender, tokio::spawn(connection)))
}

async fn ask_all(address: SocketAddr) -> anyhow::Result<()> {
    let (sender, driving) = connect(address).await?;
    let mut asking = JoinSet::new();
    for number in 0..REQUESTS {
        asking.spawn(ask(sender.clone(), address, number));
    }
    drop(sender);
    while let Some(asked) = asking.join_next().await {
        asked??;
    }
    Ok(driving.await??)
}

/// Asks for `/hello`, with a number that comes back.
pub(super) async fn ask(
    mut sender: Sender,
    address: SocketAddr,
    number: usize,
) -> anyhow::Result<()> {
    sender.ready().await?;
    let request = Request::get(format!("http://{address}/hello"))
        .header("x-id", number)
        .body(Empty::new())?;
    let answer = sender.send_request(request).await?.into_body();
    let body = answer.collect().await?.to_bytes();
    let wanted = format!("hello 1 {number}\n");
    ensure!(body == wanted.as_bytes(), "{number}: {body:?}");
    Ok(())
}
