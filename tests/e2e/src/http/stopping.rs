//! The end of a server: nobody who was accepted goes without an answer.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::curl::{Curl, has_curl};
use super::multiplexed::{Sender, ask, connect};
use super::{SERVERS, server_of, start};
use crate::harness::{PATIENCE, Run, is_refused, skip};

/// An idle connection of HTTP/2: its server ends it as soon as it drains.
struct Told {
    runtime: Runtime,
    ends: JoinHandle<hyper::Result<()>>,
    _sender: Sender,
}

#[test]
fn a_server_that_is_asked_to_stop_answers_everybody_first() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for guest in SERVERS {
        let (mut running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        // Idle, and held open by nobody's request.
        let mut idle = TcpStream::connect(address)?;
        idle.set_read_timeout(Some(PATIENCE))?;
        let slow = Curl::new().spawn(address, "/slow/4500")?;
        running.wait_log("p", "c", "slow begins")?;
        let before = Curl::new().get(address, "/hello")?;
        ensure!(
            !before.head.to_lowercase().contains("connection: close"),
            "{before:?}"
        );
        let told = Told::by(address)?;
        running.signal(Signal::INT)?;
        // For a while it still accepts, and says that it will not for long.
        told.wait()?;
        let late = Curl::new().get(address, "/hello")?;
        ensure!(late.body == "hello 1 \n", "{late:?}");
        ensure!(
            late.head.to_lowercase().contains("connection: close"),
            "{late:?}"
        );
        let late = Curl::new()
            .args(["--http2-prior-knowledge"])
            .get(address, "/hello")?;
        ensure!(late.body == "hello 1 \n", "{late:?}");
        let slow = slow.answer()?;
        ensure!(slow.status == 200 && slow.body == "slow\n", "{slow:?}");
        // Nothing more comes on the idle one, which was closed with the listener.
        ensure!(idle.read(&mut [0; 16])? == 0);
        ensure!(is_refused(address)?);
        let ended = running.finish()?;
        let transcript = ended.said.transcript();
        let end = ended.said.terminated("p", "c");
        ensure!(
            end["exitCode"] == 0 && end["reason"] == "Completed",
            "{transcript}"
        );
    }
    Ok(())
}

#[test]
fn a_request_that_outlasts_the_grace_period_is_cut_with_it() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for guest in SERVERS {
        let (mut running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        let slow = Curl::new().spawn(address, "/slow/60000")?;
        running.wait_log("p", "c", "slow begins")?;
        running.signal(Signal::INT)?;
        let ended = running.finish()?;
        ensure!(slow.answer().is_err(), "it was answered");
        let end = ended.said.terminated("p", "c");
        ensure!(end["exitCode"] == 137, "{}", ended.said.transcript());
    }
    Ok(())
}

// === impl Told ===

impl Told {
    fn by(address: SocketAddr) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (sender, ends) = runtime.block_on(async {
            let (sender, ends) = connect(address).await?;
            ask(sender.clone(), address, 0).await?;
            anyhow::Ok((sender, ends))
        })?;
        Ok(Self {
            runtime,
            ends,
            _sender: sender,
        })
    }

    fn wait(self) -> anyhow::Result<()> {
        let ended = async { tokio::time::timeout(PATIENCE, self.ends).await };
        let ended = self.runtime.block_on(ended);
        Ok(ended.context("the server does not drain")???)
    }
}
