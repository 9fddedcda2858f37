//! The instances of one server: made for a request, and kept for further ones where the pod wants it.
//!
//! ```text
//! fresh ──request──> done ──┬─ served as often as it may, or trapped ──> dropped
//!            ^              └─ kept ──┬─ within KEPT ──┐
//!            └────────────────────────│────────────────┘
//!                                     └─ later ──> dropped
//! ```

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Request;
use tokio::sync::Notify;
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p3::bindings::Service;

use super::answer::Out;
use super::deadline::Upload;
use super::fields::{self, ChargedBody};
use super::pace::Pace;
use super::patience::PatientBody;
use super::watched::RequestBody;
use super::{limits, p2, p3};
use crate::guest::Guest;
use crate::tiers::Slot;

/// How many requests an instance serves, one after another: a pod's annotation.
const REUSE: &str = "wasmpod.dev/http-reuse";

/// A request, and how long a client may take over its body.
pub(super) type Asked = Request<Upload<PatientBody<RequestBody>>>;

/// An instance of a server.
pub(super) struct Serving {
    store: Store<Guest>,
    handler: Handler,
    served: u32,
    _slot: Slot,
}

/// What is called for a request.
pub(super) enum Handler {
    P2(Proxy),
    P3(Service),
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

// === impl Serving ===

impl Serving {
    pub(super) fn new(store: Store<Guest>, handler: Handler, slot: Slot) -> Self {
        Self {
            store,
            handler,
            served: 0,
            _slot: slot,
        }
    }

    /// Bytes of its memories and tables.
    pub(super) fn memory(&self) -> u64 {
        self.store.data().limiter.taken()
    }

    /// Has it answer a request, whose answer is taken at this pace.
    ///
    /// # Errors
    /// A trap, or a defect of ours; it serves no other request then.
    pub(super) async fn handle(
        &mut self,
        mut request: Box<Asked>,
        out: Out,
        pace: &Pace,
    ) -> wasmtime::Result<()> {
        self.served = self.served.saturating_add(1);
        let account = Arc::clone(&self.store.data().http.account);
        let target = request.uri().path_and_query();
        let target = target.map_or(0, |target| target.as_str().len());
        // As long as it is asked, where no field of it can hold that.
        let _head = fields::charge(&account, request.headers_mut(), target)?;
        let request = request.map(|body| ChargedBody::new(body, account));
        // The guest's before anything is waited for, so that what waits does not hold it.
        let guest = self.store.data_mut();
        match &self.handler {
            Handler::P2(server) => {
                let asked = p2::give(guest, request, out)?;
                p2::handle(&mut self.store, server, asked).await
            }
            Handler::P3(server) => {
                let request = p3::give(guest, request)?;
                p3::handle(&mut self.store, server, request, out, pace).await
            }
        }
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

    /// How many wait for a request.
    pub(super) fn waiting(&self) -> usize {
        self.kept().len()
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

    /// Drops what is kept for too long, for ever, and tells each time that it has.
    pub(super) async fn keep_short(&self, dropped: impl Fn()) -> Infallible {
        loop {
            let oldest = self.kept().first().map(|(since, _)| *since);
            match oldest {
                None => self.some.notified().await,
                Some(since) => {
                    tokio::time::sleep_until(since + limits::KEPT).await;
                    drop(self.take_old());
                    dropped();
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
