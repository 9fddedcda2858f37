//! `wasmpod:pod`: what a guest may know and do beyond WASI. Its form for guests of WASI 0.3 stands
//! with theirs.

use std::sync::Arc;

use tokio::sync::watch;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::guest::Guest;
use bindings::wasmpod::pod::{identity, lifecycle};

/// The longest message of `set-health`, in bytes.
const HEALTH_MESSAGE: usize = 1024;

pub(super) mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "wasmpod:pod/pod",
        with: { "wasi:io/poll": wasmtime_wasi_io::bindings::wasi::io::poll },
        imports: { default: trappable },
        require_store_data_send: true,
    });
}

/// Ready from the moment the container is asked to stop.
struct StopRequested(watch::Receiver<bool>);

/// Adds both interfaces.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    lifecycle::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    identity::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)
}

impl lifecycle::Host for Guest {
    fn stop_requested(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let requested = self.table.push(StopRequested(self.stop.listen()))?;
        subscribe(&mut self.table, requested)
    }

    fn grace_period(&mut self) -> wasmtime::Result<lifecycle::Duration> {
        Ok(self.grace_left())
    }

    fn set_health(&mut self, ready: bool, message: String) -> wasmtime::Result<()> {
        self.tell_health(ready, message);
        Ok(())
    }
}

impl Guest {
    /// How long it may go on, in nanoseconds.
    pub(super) fn grace_left(&self) -> u64 {
        u64::try_from(self.stop.grace_left().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Tells whether it calls itself ready, and why.
    pub(super) fn tell_health(&self, ready: bool, mut message: String) {
        message.truncate(message.floor_char_boundary(HEALTH_MESSAGE));
        self.health.tell(ready, message);
    }
}

impl identity::Host for Guest {
    fn get_pod(&mut self) -> wasmtime::Result<identity::Pod> {
        let who = Arc::clone(&self.program.identity);
        let pairs = |map: &std::collections::BTreeMap<String, String>| {
            map.iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        Ok(identity::Pod {
            name: who.name.clone(),
            namespace: who.namespace.clone(),
            uid: who.uid.clone(),
            node: who.node.clone(),
            labels: pairs(&who.labels),
            annotations: pairs(&who.annotations),
            addresses: self
                .net
                .addresses()
                .iter()
                .map(ToString::to_string)
                .collect(),
        })
    }

    fn get_container(&mut self) -> wasmtime::Result<String> {
        Ok(self.program.container.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for StopRequested {
    async fn ready(&mut self) {
        // The sender lives as long as the instance: an error cannot happen before its end.
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}
