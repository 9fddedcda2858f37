//! Requests of guests to others: `wasi:http/outgoing-handler` of 0.2, `wasi:http/client` of 0.3.
//!
//! Each is a task on the guests' threads, at its container's cost, and ends when nobody holds its
//! answer any more; what hyper runs beside it ends with it. The container ends once all have. Where
//! it may go is the switch's to decide, as for a socket of the guest's; what is in this host is
//! reached in memory.

mod exchange;
mod reach;
mod tls;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderName;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use net::PodNet;
use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p3::bindings::http::types as p3;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpHooks,
};

use self::exchange::Exchange;
pub(crate) use self::tls::Tls;
use super::line::Line;
use super::tasks::{Tasks, TasksOwner};
use super::{error, limits};
use crate::account::{Account, Held};
use crate::executor::TaskHandle;
use crate::instance::{Engine, Farewell, Program};

/// Bytes that a request takes before it has a connection: its task and its channels.
const EXCHANGE: usize = 4 << 10;

/// How guests call out, with one limit together.
pub(crate) struct Outgoing {
    engine: Engine,
    account: Arc<Account>,
    net: PodNet,
    /// Requests that are under way at once.
    line: Arc<Line>,
    /// Told once the last request is gone: each holds this.
    farewell: Arc<Farewell>,
}

/// What wasmtime-wasi-http asks us; nobody calls out where nothing is set.
#[derive(Default)]
pub(super) struct Hooks {
    outgoing: Option<Arc<Outgoing>>,
}

/// Ends a task when it is dropped.
struct Owned(TaskHandle);

/// The body of an answer, which is under way as long as somebody holds it.
struct Answered {
    body: exchange::AnswerBody,
    _task: Owned,
}

/// The result of a request, as the hook tells it: the answer, and what to hold while it is read.
type Sent = Result<(http::Response<WasiBody>, Driver), Error>;

/// What is driven beside an answer.
type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;

// === impl Outgoing ===

impl Outgoing {
    pub(crate) fn new(engine: Engine, program: &Program, farewell: Arc<Farewell>) -> Self {
        Self {
            engine,
            account: Arc::clone(&program.account),
            net: program.net.clone(),
            line: Arc::new(Line::new(limits::EXCHANGES, limits::EXCHANGES_WAITING)),
            farewell,
        }
    }

    /// Begins a request. The future tells its answer, from whichever thread. It ends once nobody
    /// holds the future or the answer's body any more.
    pub(super) fn send(
        &self,
        request: http::Request<WasiBody>,
        options: RequestOptions,
    ) -> impl Future<Output = Result<http::Response<WasiBody>, Error>> + Send + use<> {
        let (told, answer) = oneshot::channel();
        let exchange = self.exchange(options);
        let held = (self.held(&request), Arc::clone(&self.farewell));
        let task = async move {
            let _held = held;
            exchange.run(request, told).await;
        };
        let account = Arc::clone(&self.account);
        let task = Owned(self.engine.executor().spawn(account, task, drop));
        async move {
            let answer = answer.await.unwrap_or(Err(Error::ConnectionTerminated))?;
            Ok(answer.map(|body| Answered { body, _task: task }.boxed_unsync()))
        }
    }

    /// What a request takes beside its fields and its body, which carry their own charges. Where it is
    /// too much, the container ends.
    fn held(&self, request: &http::Request<WasiBody>) -> Held {
        let uri = request.uri();
        let named = request.method().as_str().len()
            + uri.scheme_str().map_or(0, str::len)
            + uri
                .authority()
                .map_or(0, |authority| authority.as_str().len())
            + uri.path_and_query().map_or(0, |path| path.as_str().len());
        let mut held = Held::new(Arc::clone(&self.account));
        let bytes = u64::try_from(EXCHANGE + named).unwrap_or(u64::MAX);
        if let Err(error) = held.set(bytes) {
            self.account.end_all(&error.exit());
        }
        held
    }

    fn exchange(&self, options: RequestOptions) -> Exchange {
        let (account, farewell) = (Arc::clone(&self.account), Arc::clone(&self.farewell));
        let tasks = Tasks::new(self.engine.clone(), account, farewell);
        Exchange {
            net: self.net.clone(),
            account: Arc::clone(&self.account),
            tls: self.engine.tls().clone(),
            line: Arc::clone(&self.line),
            tasks: TasksOwner(Arc::new(tasks)),
            options,
        }
    }
}

// === impl Hooks ===

impl Hooks {
    pub(super) fn of(outgoing: Arc<Outgoing>) -> Self {
        Self {
            outgoing: Some(outgoing),
        }
    }

    /// How the guest calls out.
    ///
    /// # Errors
    /// Where it may not.
    pub(super) fn outgoing(&self) -> Result<&Outgoing, Error> {
        self.outgoing.as_deref().ok_or(Error::HttpRequestDenied)
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
        _: Driver,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let begun = self.outgoing().map(|outgoing| {
            let options = options.unwrap_or_default();
            outgoing.send(request, options)
        });
        Box::new(async move {
            let answer = begun?.await?;
            // Its body holds what it needs.
            let driver = Box::new(std::future::ready(Ok(())));
            Ok((answer, driver as Driver))
        })
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        limits::STREAM_CHUNK as usize
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        limits::CHUNK
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> p2::ErrorCode {
        error::as_p2(&error::of_hyper(error))
    }

    fn p3_error_from_hyper(&mut self, error: &hyper::Error) -> p3::ErrorCode {
        error::as_p3(&error::of_hyper(error))
    }
}

// === impl Answered ===

impl Body for Answered {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Owned ===

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.kill();
    }
}
