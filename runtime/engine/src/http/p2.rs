//! `wasi:http` 0.2: `incoming-handler` of servers, `outgoing-handler` of those who call out.

use std::sync::Arc;

use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use wasmtime::component::{Linker, LinkerInstance, Resource};
use wasmtime::{Store, StoreContextMut};
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{self, HostOutgoingRequest as _, Scheme};
use wasmtime_wasi_http::p2::types::{HostIncomingRequest, HostResponseOutparam};
use wasmtime_wasi_http::p2::{HeaderError, add_only_http_to_linker_async};
use wasmtime_wasi_http::{Error, WasiHttpView as _};
use wasmtime_wasi_io::streams::DynOutputStream;

use super::answer::Out;
use super::pieces::ChargedStream;
use super::targets::add_setter;
use super::{error, fields};
use crate::guest::Guest;

const TYPES: &str = "wasi:http/types@0.2.12";

/// Adds what both import.
///
/// # Errors
/// When two definitions clash, which is a defect of ours.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    add_only_http_to_linker_async(linker)?;
    fields::add_to(linker, TYPES, |error| HeaderError::from(error).downcast())?;
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    add_setters(&mut types)?;
    types.func_wrap(
        "[method]outgoing-body.write",
        |mut store: StoreContextMut<'_, Guest>, (body,): (Resource<types::OutgoingBody>,)| {
            Ok((write(store.data_mut(), &body)?.ok_or(()),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn add_setters(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    add_setter(
        types,
        "[method]outgoing-request.set-method",
        |http, request, method| http.set_method(request, method),
    )?;
    add_setter(
        types,
        "[method]outgoing-request.set-scheme",
        |http, request, scheme| http.set_scheme(request, scheme),
    )?;
    add_setter(
        types,
        "[method]outgoing-request.set-authority",
        |http, request, authority| http.set_authority(request, authority),
    )?;
    add_setter(
        types,
        "[method]outgoing-request.set-path-with-query",
        |http, request, path| http.set_path_with_query(request, path),
    )
}

/// The stream of a body, once.
fn write(
    guest: &mut Guest,
    body: &Resource<types::OutgoingBody>,
) -> wasmtime::Result<Option<Resource<DynOutputStream>>> {
    let account = Arc::clone(&guest.http.account);
    let table = guest.http().table;
    let Some(stream) = table.get_mut(body)?.take_output_stream() else {
        return Ok(None);
    };
    let stream: DynOutputStream = Box::new(ChargedStream::new(stream, account));
    Ok(Some(table.push_child(stream, body)?))
}

/// A request that a guest has, and where its answer goes.
pub(super) type Asked = (
    Resource<HostIncomingRequest>,
    Resource<HostResponseOutparam>,
);

/// Gives a guest a request.
///
/// # Errors
/// A defect of ours.
pub(super) fn give<B>(guest: &mut Guest, request: Request<B>, out: Out) -> wasmtime::Result<Asked>
where
    B: Body<Data = bytes::Bytes, Error = Error> + Send + 'static,
{
    let out = HostResponseOutparam {
        send: Box::new(|head| {
            let head = head.map(|head| head.map(|body| body.map_err(Error::from).boxed_unsync()));
            // Nobody waits for it any more where the client has left.
            drop(out.send(head.map_err(|code| Error::from(error::shortened_p2(code)))));
        }),
    };
    let request = guest.http().new_incoming_request(Scheme::Http, request)?;
    let out = guest.table.push(out)?;
    Ok((request, out))
}

/// Has a server answer a request. Ends once its guest is done.
///
/// # Errors
/// A trap.
pub(super) async fn handle(
    store: &mut Store<Guest>,
    server: &Proxy,
    (request, out): Asked,
) -> wasmtime::Result<()> {
    let handler = server.wasi_http_incoming_handler();
    handler.call_handle(store, request, out).await
}
