//! Requests of guests to others: `wasi:http/outgoing-handler`.
//!
//! Each is a task on the guests' threads, at its container's cost, and ends when nobody holds its
//! answer any more; what hyper runs beside it ends with it. The container ends once all have. Where it may go is the switch's to decide, as for a socket of the guest's; what
//! is in this host is reached in memory.

mod exchange;
mod reach;
mod tls;

use std::sync::Arc;

use http::HeaderName;
use http_body_util::BodyExt;
use net::PodNet;
use tokio::sync::{Semaphore, oneshot};
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpHooks,
};

use self::exchange::Exchange;
pub(crate) use self::tls::Tls;
use super::tasks::{Tasks, TasksOwner};
use super::{error, limits};
use crate::account::Account;
use crate::executor::TaskHandle;
use crate::instance::{Engine, Farewell, Program};

/// How guests call out. Clones have one limit together.
#[derive(Clone)]
pub(crate) struct Outgoing {
    engine: Engine,
    account: Arc<Account>,
    net: PodNet,
    /// Places for requests that are under way at once.
    places: Arc<Semaphore>,
    /// Told once the last request is gone: each holds this.
    farewell: Arc<Farewell>,
}

/// What wasmtime-wasi-http asks us; nobody calls out where nothing is set.
#[derive(Default)]
pub(super) struct Hooks {
    outgoing: Option<Outgoing>,
}

/// Ends a task when it is dropped.
struct Owned(TaskHandle);

/// The result of a request, as the hook tells it: the answer, and what to hold while it is read.
type Sent = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

// === impl Outgoing ===

impl Outgoing {
    pub(crate) fn new(engine: Engine, program: &Program, farewell: Arc<Farewell>) -> Self {
        Self {
            engine,
            account: Arc::clone(&program.account),
            net: program.net.clone(),
            places: Arc::new(Semaphore::new(limits::EXCHANGES)),
            farewell,
        }
    }

    /// Begins a request. The future tells its answer, from whichever thread.
    fn send(
        &self,
        request: http::Request<WasiBody>,
        options: RequestOptions,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        // Who waited for a place could be who is to leave one: a server that calls itself.
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return refused(Error::ConnectionLimitReached);
        };
        let (told, answer) = oneshot::channel();
        let exchange = self.exchange(options);
        let farewell = Arc::clone(&self.farewell);
        let task = async move {
            let _held = (place, farewell);
            exchange.run(request, told).await;
        };
        let account = Arc::clone(&self.account);
        let task = Owned(self.engine.executor().spawn(account, task, drop));
        Box::new(async move {
            let answer = answer.await.unwrap_or(Err(Error::ConnectionTerminated))?;
            let held: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async move {
                let _task = task;
                std::future::pending().await
            });
            Ok((answer.map(BodyExt::boxed_unsync), held))
        })
    }

    fn exchange(&self, options: RequestOptions) -> Exchange {
        let (account, farewell) = (Arc::clone(&self.account), Arc::clone(&self.farewell));
        let tasks = Tasks::new(self.engine.clone(), account, farewell);
        Exchange {
            net: self.net.clone(),
            tls: self.engine.tls().clone(),
            tasks: TasksOwner(Arc::new(tasks)),
            options,
        }
    }
}

/// A request that is not begun.
fn refused(why: Error) -> Box<dyn Future<Output = Sent> + Send> {
    Box::new(std::future::ready(Err(why)))
}

// === impl Hooks ===

impl Hooks {
    pub(super) fn of(outgoing: Outgoing) -> Self {
        Self {
            outgoing: Some(outgoing),
        }
    }
}

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        match &self.outgoing {
            Some(outgoing) => outgoing.send(request, options.unwrap_or_default()),
            None => refused(Error::HttpRequestDenied),
        }
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        limits::CHUNK
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        error::of_hyper(error)
    }
}

// === impl Owned ===

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.kill();
    }
}
