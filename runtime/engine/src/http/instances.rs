//! The instances of one server: made for a request, and kept for further ones where the pod wants it.
//!
//! ```text
//! fresh ──request──> done ──┬─ served as often as it may, or trapped ──> dropped
//!            ^              └─ kept ──┬─ within KEPT ──┐
//!            └────────────────────────│────────────────┘
//!                                     └─ later ──> dropped
//! ```

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::Request;
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::types::HostResponseOutparam;

use super::deadline::Upload;
use super::limits;
use super::patience::PatientBody;
use crate::guest::Guest;
use crate::tiers::Slot;

/// How many requests an instance serves, one after another: a pod's annotation.
const REUSE: &str = "wasmpod.dev/http-reuse";

/// An instance of a server.
pub(super) struct Serving {
    store: Store<Guest>,
    proxy: Proxy,
    served: u32,
    _slot: Slot,
}

/// Instances that wait for a request.
pub(super) struct Instances {
    /// Requests that one may serve.
    most: u32,
    /// The longest kept first.
    kept: Mutex<Vec<(Instant, Serving)>>,
    /// There is one.
    some: Notify,
}

/// Where the head of an answer goes.
pub(super) type Out = HostResponseOutparam;

// === impl Serving ===

impl Serving {
    pub(super) fn new(store: Store<Guest>, proxy: Proxy, slot: Slot) -> Self {
        Self {
            store,
            proxy,
            served: 0,
            _slot: slot,
        }
    }

    /// Has it answer a request.
    ///
    /// # Errors
    /// A trap, or a defect of ours; it serves no other request then.
    pub(super) async fn handle(
        &mut self,
        request: Request<Upload<PatientBody<Incoming>>>,
        out: Out,
    ) -> wasmtime::Result<()> {
        self.served = self.served.saturating_add(1);
        let guest = self.store.data_mut();
        let request = guest.http().new_incoming_request(Scheme::Http, request)?;
        let out = guest.table.push(out)?;
        self.proxy
            .wasi_http_incoming_handler()
            .call_handle(&mut self.store, request, out)
            .await
    }
}

// === impl Instances ===

impl Instances {
    /// As the annotations of a pod want it; one request each where they say nothing.
    pub(super) fn new(annotations: &std::collections::BTreeMap<String, String>) -> Self {
        let most = annotations.get(REUSE).and_then(|most| most.parse().ok());
        Self {
            most: most.unwrap_or(1),
            kept: Mutex::default(),
            some: Notify::new(),
        }
    }

    /// The one that was used last, which is the warmest.
    pub(super) fn take(&self) -> Option<Serving> {
        if self.most <= 1 {
            return None;
        }
        self.kept().pop().map(|(_, instance)| instance)
    }

    /// Keeps one that is done, if it may serve another request.
    pub(super) fn give_back(&self, instance: Serving) {
        if instance.served >= self.most {
            return;
        }
        let mut kept = self.kept();
        kept.push((Instant::now(), instance));
        let is_first = kept.len() == 1;
        drop(kept);
        if is_first {
            self.some.notify_one();
        }
    }

    /// Drops what is kept for too long, for ever.
    pub(super) async fn keep_short(&self) -> Infallible {
        loop {
            let oldest = self.kept().first().map(|(since, _)| *since);
            match oldest {
                None => self.some.notified().await,
                Some(since) => {
                    tokio::time::sleep_until(since + limits::KEPT).await;
                    drop(self.take_old());
                }
            }
        }
    }

    fn take_old(&self) -> Vec<(Instant, Serving)> {
        let mut kept = self.kept();
        let now = Instant::now();
        let young = kept.partition_point(|(since, _)| now - *since >= limits::KEPT);
        kept.drain(..young).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(Instant, Serving)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
