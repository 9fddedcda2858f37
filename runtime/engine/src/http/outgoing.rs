//! Requests of guests to others: `wasi:http/outgoing-handler`.
//!
//! Each is a task on the guests' threads, at its container's cost, and ends when nobody holds its
//! answer any more. Where it may go is the switch's to decide, as for a socket of the guest's; what
//! is in this host is reached in memory.

mod exchange;
mod reach;
mod tls;

use std::pin::Pin;
use std::sync::Arc;

use http::HeaderName;
use http_body_util::BodyExt;
use net::PodNet;
use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpHooks,
};

use self::exchange::Exchange;
pub(crate) use self::tls::Tls;
use super::{error, limits};
use crate::account::Account;
use crate::executor::TaskHandle;
use crate::instance::Engine;

/// How a guest calls out.
pub(crate) struct Outgoing {
    engine: Engine,
    account: Arc<Account>,
    net: PodNet,
}

/// What wasmtime-wasi-http asks us; nobody calls out where nothing is set.
#[derive(Default)]
pub(super) struct Hooks {
    outgoing: Option<Outgoing>,
}

/// Ends a task when it is dropped.
struct Owned(TaskHandle);

/// Runs what hyper wants to have run beside a connection; it ends with that.
#[derive(Clone)]
pub(super) struct Beside {
    engine: Engine,
    account: Arc<Account>,
}

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
    pub(crate) fn new(engine: Engine, account: Arc<Account>, net: PodNet) -> Self {
        Self {
            engine,
            account,
            net,
        }
    }

    fn beside(&self) -> Beside {
        Beside {
            engine: self.engine.clone(),
            account: Arc::clone(&self.account),
        }
    }

    /// Begins a request. The future tells its answer, from whichever thread.
    fn send(
        &self,
        request: http::Request<WasiBody>,
        options: RequestOptions,
    ) -> impl Future<Output = Sent> + Send + use<> {
        let (told, answer) = oneshot::channel();
        let exchange = Exchange {
            net: self.net.clone(),
            tls: self.engine.tls().clone(),
            beside: self.beside(),
            options,
        };
        let account = Arc::clone(&self.account);
        let task = exchange.run(request, told);
        let task = Owned(self.engine.executor().spawn(account, task, drop));
        async move {
            let answer = answer.await.unwrap_or(Err(Error::ConnectionTerminated))?;
            let held: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async move {
                let _task = task;
                std::future::pending().await
            });
            Ok((answer.map(BodyExt::boxed_unsync), held))
        }
    }
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
            Some(outgoing) => Box::new(outgoing.send(request, options.unwrap_or_default())),
            None => Box::new(std::future::ready(Err(Error::HttpRequestDenied))),
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

// === impl Beside ===

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Beside {
    fn execute(&self, future: F) {
        let future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(future);
        let account = Arc::clone(&self.account);
        self.engine.executor().spawn(account, future, drop);
    }
}
