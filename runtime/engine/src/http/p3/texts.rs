//! Futures in which a guest tells how its body, or its reading of one, ended: the host keeps what they
//! say until somebody wants to know, so that their texts have a limit.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Access, FutureConsumer, FutureReader, Lift, LinkerInstance, Lower, Resource, Source,
    StreamReader,
};
use wasmtime_wasi_http::p3::bindings::http::types::{
    ErrorCode, HostRequestWithStore, HostResponseWithStore, RequestOptions,
};
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{FieldMap, WasiHttp, WasiHttpView};

use crate::guest::Guest;
use crate::http::error::shortened_p3;

/// What comes after a body.
type Trailers = FutureReader<Result<Option<Resource<FieldMap>>, ErrorCode>>;

/// How the reading of a body ended.
type Read = FutureReader<Result<(), ErrorCode>>;

type Fields = Resource<FieldMap>;
type Body = Option<StreamReader<u8>>;
type Options = Option<Resource<RequestOptions>>;
type Store<'a> = StoreContextMut<'a, Guest>;

/// Takes what a guest tells.
struct Shortening<T> {
    short: Option<oneshot::Sender<Result<T, ErrorCode>>>,
}

/// Puts ours in place of those functions of `wasi:http/types` that take such futures.
///
/// # Errors
/// When there are none, which is a defect of ours.
pub(super) fn add_to(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types.func_wrap(
        "[static]request.new",
        |mut store: Store<'_>,
         (head, body, trailers, options): (Fields, Body, Trailers, Options)| {
            let trailers = shortened(&mut store, trailers)?;
            let store = access(store);
            Ok((<WasiHttp as HostRequestWithStore<Guest>>::new(
                store, head, body, trailers, options,
            )?,))
        },
    )?;
    types.func_wrap(
        "[static]response.new",
        |mut store: Store<'_>, (head, body, trailers): (Fields, Body, Trailers)| {
            let trailers = shortened(&mut store, trailers)?;
            let store = access(store);
            Ok((<WasiHttp as HostResponseWithStore<Guest>>::new(
                store, head, body, trailers,
            )?,))
        },
    )?;
    types.func_wrap(
        "[static]request.consume-body",
        |mut store: Store<'_>, (request, read): (Resource<Request>, Read)| {
            let read = shortened(&mut store, read)?;
            let store = access(store);
            Ok((<WasiHttp as HostRequestWithStore<Guest>>::consume_body(
                store, request, read,
            )?,))
        },
    )?;
    types.func_wrap(
        "[static]response.consume-body",
        |mut store: Store<'_>, (response, read): (Resource<Response>, Read)| {
            let read = shortened(&mut store, read)?;
            let store = access(store);
            Ok((<WasiHttp as HostResponseWithStore<Guest>>::consume_body(
                store, response, read,
            )?,))
        },
    )
}

fn access(store: Store<'_>) -> Access<'_, Guest, WasiHttp> {
    Access::<Guest, WasiHttp>::new(store, |guest| guest.http())
}

/// The same future, whose error has short texts.
fn shortened<T>(
    store: &mut Store<'_>,
    told: FutureReader<Result<T, ErrorCode>>,
) -> wasmtime::Result<FutureReader<Result<T, ErrorCode>>>
where
    T: Send + Sync + 'static,
    Result<T, ErrorCode>: Lift + Lower + Send + Sync,
{
    let (short, shortened) = oneshot::channel();
    told.pipe(&mut *store, Shortening { short: Some(short) })?;
    FutureReader::new(store, shortened)
}

// === impl Shortening ===

impl<T> FutureConsumer<Guest> for Shortening<T>
where
    T: Send + 'static,
    Result<T, ErrorCode>: Lift,
{
    type Item = Result<T, ErrorCode>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut store: Store<'_>,
        mut source: Source<'_, Self::Item>,
        _: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut told = None;
        source.read(&mut store, &mut told)?;
        if let (Some(told), Some(short)) = (told, self.short.take()) {
            // Nobody may want to know.
            let _ = short.send(told.map_err(shortened_p3));
        }
        Poll::Ready(Ok(()))
    }
}
