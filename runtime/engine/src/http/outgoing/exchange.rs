//! One request to outside: a connection, its head, and the driving of both bodies.
//!
//! ```text
//! place ── name ── TCP ── TLS ──┬── HTTP/1.1 ──┐
//!  └──────── connect time ──────┴── HTTP/2  ───┴── head ── told ── bodies to their ends
//!                                              └ first byte ┘   └ between bytes ┘
//! ```

use std::pin::pin;
use std::sync::Arc;

use http::header::HOST;
use http::uri::{PathAndQuery, Uri};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioIo, TokioTimer};
use net::PodNet;
use tokio::sync::oneshot;
use tokio::time::Instant;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::reach::Target;
use super::tls::{self, Tls};
use crate::account::Account;
use crate::http::fields::{self, ChargedBody};
use crate::http::limits;
use crate::http::line::Line;
use crate::http::patience::{Patient, PatientBody};
use crate::http::tasks::{Beside, TasksOwner};

/// What a request needs.
pub(super) struct Exchange {
    pub(super) net: PodNet,
    /// Who holds the head of the answer.
    pub(super) account: Arc<Account>,
    pub(super) tls: Tls,
    /// Requests that are under way at once.
    pub(super) line: Arc<Line>,
    /// What runs beside its connection.
    pub(super) tasks: TasksOwner,
    pub(super) options: RequestOptions,
}

/// An answer whose body may take so long between two pieces.
pub(super) type Answer = Response<AnswerBody>;

pub(super) type AnswerBody = ChargedBody<PatientBody<Incoming>>;

/// Who waits for it.
type Told = oneshot::Sender<Result<Answer, Error>>;

/// The connection of an exchange, still of either sort.
enum Connected {
    Plain(net::TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<net::TcpStream>>),
}

// === impl Exchange ===

impl Exchange {
    /// Carries the request out. Ends once the answer's body has been read.
    pub(super) async fn run(self, request: Request<WasiBody>, told: Told) {
        let begun = Instant::now();
        let connect = self.options.connect_timeout.unwrap_or(limits::CONNECT);
        // Who waits for a place could be who is to leave one, a server that calls itself: but not for
        // ever.
        let Ok(_place) = self.line.place(connect).await else {
            return drop(told.send(Err(Error::ConnectionLimitReached)));
        };
        let left = connect.saturating_sub(begun.elapsed());
        let connected = tokio::time::timeout(left, self.connect(request.uri())).await;
        match connected.unwrap_or(Err(Error::ConnectionTimeout)) {
            Err(error) => drop(told.send(Err(error))),
            Ok(Connected::Plain(stream)) => self.over_http1(stream, request, told).await,
            Ok(Connected::Tls(stream)) if tls::is_http2(&stream) => {
                self.over_http2(*stream, request, told).await;
            }
            Ok(Connected::Tls(stream)) => self.over_http1(*stream, request, told).await,
        }
    }

    async fn connect(&self, uri: &Uri) -> Result<Connected, Error> {
        let target = Target::of(uri)?;
        let stream = target.connect(&self.net).await?;
        if !target.is_tls {
            return Ok(Connected::Plain(stream));
        }
        let stream = self.tls.connect(&target.host, stream).await?;
        Ok(Connected::Tls(Box::new(stream)))
    }

    async fn over_http1<S>(self, stream: S, mut request: Request<WasiBody>, told: Told)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        // The authority stands in the Host field.
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        let begun = http1::Builder::new()
            .max_buf_size(limits::HEAD)
            .max_headers(limits::FIELDS_IN_HEAD)
            .handshake(self.io(stream))
            .await;
        let ask = |mut sender: http1::SendRequest<WasiBody>| async move {
            sender.send_request(request).await
        };
        self.drive(begun, ask, told).await;
    }

    async fn over_http2<S>(self, stream: S, mut request: Request<WasiBody>, told: Told)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        request.headers_mut().remove(HOST);
        let begun = http2::Builder::new(Beside(Arc::clone(&self.tasks.0)))
            .timer(TokioTimer::new())
            .max_header_list_size(limits::HEAD_LIST)
            .initial_stream_window_size(limits::STREAM_WINDOW)
            .initial_connection_window_size(limits::CONNECTION_WINDOW)
            .max_send_buf_size(limits::CHUNK)
            .keep_alive_interval(limits::PING)
            .keep_alive_timeout(limits::PING)
            .handshake(self.io(stream))
            .await;
        let ask = |mut sender: http2::SendRequest<WasiBody>| async move {
            sender.send_request(request).await
        };
        self.drive(begun, ask, told).await;
    }

    fn io<S>(&self, stream: S) -> impl Read + Write + Unpin + Send + use<S>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        TokioIo::new(Patient::new(stream, self.between_bytes()))
    }

    /// Asks over a connection that is begun, drives it until the head of the answer is there, tells
    /// it, and drives on.
    async fn drive<Sender, Asked>(
        &self,
        begun: hyper::Result<(Sender, impl Future<Output = hyper::Result<()>>)>,
        ask: impl FnOnce(Sender) -> Asked,
        told: Told,
    ) where
        Asked: Future<Output = hyper::Result<Response<Incoming>>>,
    {
        let (sender, connection) = match begun {
            Ok(begun) => begun,
            Err(error) => return drop(told.send(Err(error.into()))),
        };
        let sending = ask(sender);
        let mut connection = pin!(connection);
        let mut is_over = false;
        let head = {
            let first_byte = self.options.first_byte_timeout;
            let mut late = pin!(tokio::time::sleep(first_byte.unwrap_or(limits::FIRST_BYTE)));
            let mut sending = pin!(sending);
            loop {
                tokio::select! {
                    biased;
                    head = &mut sending => break head.map_err(Error::from),
                    // The sending tells why.
                    _ = &mut connection, if !is_over => is_over = true,
                    () = &mut late => break Err(Error::HttpResponseTimeout),
                }
            }
        };
        let is_answered = head.is_ok();
        let head = head.and_then(|head| self.charged(head));
        let is_awaited = told.send(head).is_ok();
        if !is_answered || !is_awaited {
            return;
        }
        // What goes wrong from now on, the bodies tell.
        if !is_over {
            let _ = connection.await;
        }
        // Of HTTP/2 that was only who takes requests: another task drives the bodies.
        self.tasks.0.all_ended().await;
    }

    /// An answer as its container holds it.
    fn charged(&self, mut head: Response<Incoming>) -> Result<Answer, Error> {
        if let Err(error) = fields::charge(&self.account, head.headers_mut(), 0) {
            // As everywhere: the whole container ends, and this with it.
            self.account.end_all(&error.exit());
            return Err(Error::HttpResponseHeaderSectionSize(None));
        }
        Ok(head.map(|body| {
            let body = PatientBody::new(body, self.between_bytes());
            ChargedBody::new(body, Arc::clone(&self.account))
        }))
    }

    fn between_bytes(&self) -> std::time::Duration {
        let between = self.options.between_bytes_timeout;
        between.unwrap_or(limits::BETWEEN_BYTES)
    }
}
