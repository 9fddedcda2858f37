//! `wasi:http` 0.2: `incoming-handler` of servers, `outgoing-handler` of those who call out.

use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use wasmtime::Store;
use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::types::HostResponseOutparam;
use wasmtime_wasi_http::p2::{HeaderError, add_only_http_to_linker_async};
use wasmtime_wasi_http::{Error, WasiHttpView as _};

use super::answer::Out;
use super::fields;
use crate::guest::Guest;

/// Adds what both import.
///
/// # Errors
/// When two definitions clash, which is a defect of ours.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    add_only_http_to_linker_async(linker)?;
    fields::add_to(linker, "wasi:http/types@0.2.12", |error| {
        HeaderError::from(error).downcast()
    })
}

/// Has a server answer a request. Ends once its guest is done.
///
/// # Errors
/// A trap, or a defect of ours.
pub(super) async fn handle<B>(
    store: &mut Store<Guest>,
    server: &Proxy,
    request: Request<B>,
    out: Out,
) -> wasmtime::Result<()>
where
    B: Body<Data = bytes::Bytes, Error = Error> + Send + 'static,
{
    let out = HostResponseOutparam {
        send: Box::new(|head| {
            let head = head.map(|head| head.map(|body| body.map_err(Error::from).boxed_unsync()));
            // Nobody waits for it any more where the client has left.
            drop(out.send(head.map_err(Error::from)));
        }),
    };
    let guest = store.data_mut();
    let request = guest.http().new_incoming_request(Scheme::Http, request)?;
    let out = guest.table.push(out)?;
    let handler = server.wasi_http_incoming_handler();
    handler.call_handle(store, request, out).await
}
