//! `wasi:http` 0.3: `handler` of servers, `client` of those who call out.
//!
//! An instance has one request at a time, as one of 0.2 has: a trap is then one request's, and no
//! request sees what another left half done. That an instance could take several is not used.

mod texts;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use http::Request;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use wasmtime::Store;
use wasmtime::component::{Access, Accessor, Linker, LinkerInstance, Resource};
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::p3::bindings::http::types::{ErrorCode, HeaderError, HostRequest as _};
use wasmtime_wasi_http::p3::{self, Response};
use wasmtime_wasi_http::{Error, FieldMapError, WasiBody, WasiHttpView as _};

use super::answer::Out;
use super::pace::Pace;
use super::targets::add_setter;
use super::transmission::{Gone, Transmitted, told};
use super::{error, fields, limits};
use crate::account::{Held, OutOfMemory};
use crate::guest::Guest;

const TYPES: &str = "wasi:http/types@0.3.0";
const CLIENT: &str = "wasi:http/client@0.3.0";

/// Adds what both import, with `send` and what belongs to it in our way.
///
/// # Errors
/// When two definitions clash, which is a defect of ours.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    p3::add_to_linker(linker)?;
    fields::add_to(linker, TYPES, |error| Ok(named(error)))?;
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    add_setters(&mut types)?;
    texts::add_to(&mut types)?;
    linker.instance(CLIENT)?.func_wrap_concurrent(
        "send",
        |accessor: &Accessor<Guest>, (request,): (Resource<p3::Request>,)| {
            Box::pin(async move { Ok((send(accessor, request).await?,)) })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn add_setters(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    add_setter(
        types,
        "[method]request.set-method",
        |http, request, method| http.set_method(request, method),
    )?;
    add_setter(
        types,
        "[method]request.set-scheme",
        |http, request, scheme| http.set_scheme(request, scheme),
    )?;
    add_setter(
        types,
        "[method]request.set-authority",
        |http, request, authority| http.set_authority(request, authority),
    )?;
    add_setter(
        types,
        "[method]request.set-path-with-query",
        |http, request, path| Ok(set_path(http.table.get_mut(&request)?, path)),
    )
}

/// Gives a guest a request.
///
/// # Errors
/// A defect of ours.
pub(super) fn give<B>(
    guest: &mut Guest,
    request: Request<B>,
) -> wasmtime::Result<Resource<p3::Request>>
where
    B: Body<Data = bytes::Bytes, Error = Error> + Send + 'static,
{
    let hooks = guest.http().hooks;
    // What the guest says of having read it is of no use to the client.
    let (request, _) = p3::Request::from_http(hooks, with_target(request));
    Ok(guest.table.push(request)?)
}

/// Has a server answer a request. Ends once nothing of its guest is under way, and its body needs
/// the guest no more: it is whole, or sent. It may be a stream of the host's, which goes on by itself.
///
/// # Errors
/// A trap, a body of which nothing more comes, or a defect of ours.
pub(super) async fn handle(
    store: &mut Store<Guest>,
    server: &Service,
    request: Resource<p3::Request>,
    out: Out,
    pace: &Pace,
) -> wasmtime::Result<()> {
    // So called it traps once nothing is left that could wake the guest; `run_concurrent` waits.
    let handler = server.wasi_http_handler().func_handle();
    let (answered,) = handler.call_async(&mut *store, (request,)).await?;
    let answer: Unsent = match answered {
        Ok(answer) => {
            let answer = store.data_mut().table.delete(answer)?;
            Ok(whole(&mut *store, answer)?)
        }
        Err(code) => Err(Error::from(error::shortened_p3(code))),
    };
    let Some(gone) = go_on(&mut *store, answer, out).await? else {
        return Ok(());
    };
    let ended = store.run_concurrent(async |_: &Accessor<Guest>| until_sent(gone, pace).await);
    ended.await?
}

/// An answer that is not sent yet.
type Unsent = Result<(http::Response<Transmitted<WasiBody>>, Gone), Error>;

/// Has a guest go on until no task of it is left, and gives out its answer: once it has come as far
/// as it does at once, which whoever takes the answer waits for in any case. Gives the end of the
/// body, unless it is whole by then.
///
/// # Errors
/// A trap.
async fn go_on(
    store: &mut Store<Guest>,
    answer: Unsent,
    out: Out,
) -> wasmtime::Result<Option<Gone>> {
    let mut ending = pin!(store.run_concurrent(async |accessor: &Accessor<Guest>| {
        poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
    }));
    let first = poll_fn(|cx| Poll::Ready(ending.as_mut().poll(cx))).await;
    match first {
        Poll::Ready(ended) => {
            ended?;
            Ok(hand_out(answer, out, true))
        }
        Poll::Pending => {
            let gone = hand_out(answer, out, false);
            ending.await?;
            Ok(gone)
        }
    }
}

/// Gives out an answer. Gives the end of its body, unless it `may_be_whole` and is: then an answer
/// without a body, or with a short one, needs its guest no more.
fn hand_out(answer: Unsent, out: Out, may_be_whole: bool) -> Option<Gone> {
    let (head, gone) = match answer {
        Ok((mut answer, gone)) => {
            let is_whole = may_be_whole && answer.body_mut().take_early();
            let answer = answer.map(|body| body.boxed_unsync());
            (Ok(answer), (!is_whole).then_some(gone))
        }
        Err(error) => (Err(error), None),
    };
    // Nobody waits for it any more where the client has left.
    drop(out.send(head));
    gone
}

/// Waits until a body is sent, of whose guest no task is left.
///
/// # Errors
/// When it is given up: whoever could go on with it is gone.
async fn until_sent(gone: Gone, pace: &Pace) -> wasmtime::Result<()> {
    pace.note_unattended();
    tokio::select! {
        biased;
        () = gone.wait() => Ok(()),
        () = pace.given_up() => wasmtime::bail!(
            "nothing more came of its answer, and no task of it is left that could write to it"
        ),
    }
}

/// An answer as it is sent, and its end; its guest is told whether it was.
fn whole(
    store: &mut Store<Guest>,
    answer: Response,
) -> wasmtime::Result<(http::Response<Transmitted<WasiBody>>, Gone)> {
    let (teller, sent) = told();
    let (head, body) = answer.into_http(&mut *store, sent)?.into_parts();
    let chunks = chunks(store.data(), &body)?;
    let (body, gone) = Transmitted::of_answer(body, teller, chunks);
    Ok((http::Response::from_parts(head, body), gone))
}

/// What the host holds of a body, charged.
fn chunks(guest: &Guest, body: &WasiBody) -> Result<Held, OutOfMemory> {
    let chunks = if body.is_end_stream() { 0 } else { 2 };
    let bytes = chunks * u64::from(limits::STREAM_CHUNK);
    Held::of(&guest.http.account, bytes)
}

/// A request whose target is whole, as WASI wants it: over HTTP/1.1 half of it stands in a field.
fn with_target<B>(mut request: Request<B>) -> Request<B> {
    let host = request.headers().get(HOST);
    let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.authority = parts.authority.or(host);
    if parts.authority.is_some() {
        parts.scheme.get_or_insert(Scheme::HTTP);
        let root = || PathAndQuery::from_static("/");
        parts.path_and_query.get_or_insert_with(root);
    }
    // They are all there.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    request
}

/// Sends a request to outside, and gives the answer once its head is there.
///
/// # Errors
/// A defect of ours.
async fn send(
    accessor: &Accessor<Guest>,
    request: Resource<p3::Request>,
) -> wasmtime::Result<Result<Resource<Response>, ErrorCode>> {
    let begun = accessor.with(|store| begin(store, request))?;
    let answer = match begun {
        Ok(answer) => answer.await,
        Err(code) => return Ok(Err(code)),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error::as_p3(&error))),
    };
    accessor.with(|mut store| {
        let guest = store.get();
        // Whether the guest could use it is nothing to tell the server.
        let (answer, _) = Response::from_http(guest.http().hooks, answer);
        Ok(Ok(guest.table.push(answer)?))
    })
}

/// An answer that is under way.
type Answer = Pin<Box<dyn Future<Output = Result<http::Response<WasiBody>, Error>> + Send>>;

fn begin(
    mut store: Access<'_, Guest>,
    request: Resource<p3::Request>,
) -> wasmtime::Result<Result<Answer, ErrorCode>> {
    let mut request = store.get().table.delete(request)?;
    request.path_with_query = Some(sendable(request.path_with_query.take()));
    let (teller, sent) = told();
    let request = request.into_http(&mut store, sent);
    let (request, options) = match request {
        Ok(made) => made,
        Err(error) => return refusal(error.downcast()).map(Err),
    };
    let (head, body) = request.into_parts();
    let chunks = chunks(store.get(), &body)?;
    let (body, unasked) = Transmitted::of_request(body, teller, chunks);
    let request = Request::from_parts(head, body.boxed_unsync());
    let options = options.as_deref().copied().unwrap_or_default();
    let begun = match store.get().http.outgoing() {
        Ok(outgoing) => outgoing.send(request, options),
        Err(error) => return Ok(Err(error::as_p3(&error))),
    };
    Ok(Ok(Box::pin(async move {
        let answer = begun.await;
        if answer.is_ok() {
            unasked.answered();
        }
        answer
    })))
}

/// Why a request cannot be made. That the Host field has no room left beside a guest's own fields is
/// the guest's mistake as well, and no trap.
fn refusal(told: wasmtime::Result<ErrorCode>) -> wasmtime::Result<ErrorCode> {
    match told {
        Err(trap) if trap.is::<FieldMapError>() => {
            Ok(ErrorCode::HttpRequestHeaderSectionSize(None))
        }
        told => told,
    }
}

/// A path as it stands in a request: with neither path nor query, or a query alone, it is the root's.
fn sendable(path: Option<PathAndQuery>) -> PathAndQuery {
    let Some(path) = path else {
        return PathAndQuery::from_static("/");
    };
    // OPTIONS has a target that is no path.
    if path.as_str().starts_with('/') || path.as_str() == "*" {
        return path;
    }
    // Its characters are valid ones, and a slash is too.
    let rooted = format!("/{}", path.as_str());
    PathAndQuery::try_from(rooted).unwrap_or(path)
}

/// Gives a request a path. (A relative one has no place in a URI as the http crate has them.)
fn set_path(request: &mut p3::Request, path: Option<String>) -> Result<(), ()> {
    let path = match path {
        // As it is sent.
        Some(path) if path.is_empty() => Some(PathAndQuery::from_static("/")),
        Some(path) => Some(PathAndQuery::try_from(path).map_err(|_| ())?),
        None => None,
    };
    request.path_with_query = path;
    Ok(())
}

fn named(error: FieldMapError) -> HeaderError {
    match error {
        FieldMapError::Immutable => HeaderError::Immutable,
        FieldMapError::InvalidHeaderName | FieldMapError::InvalidHeaderValue => {
            HeaderError::InvalidSyntax
        }
        FieldMapError::TooManyFields | FieldMapError::TotalSizeTooBig => HeaderError::SizeExceeded,
        FieldMapError::Forbidden => HeaderError::Forbidden,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::Empty;
    use model::runtime::Limits;

    use super::*;
    use crate::account::Account;

    #[tokio::test(start_paused = true)]
    async fn a_body_with_which_nobody_can_go_on_is_given_up() {
        for is_sent in [true, false] {
            let account = Arc::new(Account::new(Limits {
                cpu_weight: 500,
                cpu_limit: None,
                memory: None,
                storage: None,
            }));
            let (teller, _) = told();
            let body = Empty::<bytes::Bytes>::new();
            let (body, gone) = Transmitted::of_answer(body, teller, Held::new(account));
            let mut body = Some(body);
            let pace = Pace::default();
            pace.given();
            pace.awaited();
            let time = async {
                tokio::time::advance(limits::BETWEEN_BYTES).await;
                if is_sent {
                    body = None;
                } else {
                    pace.look();
                }
            };
            let (ended, ()) = tokio::join!(until_sent(gone, &pace), time);
            assert_eq!(ended.is_ok(), is_sent);
            drop(body);
        }
    }

    #[test]
    fn a_request_has_its_whole_target() {
        for (uri, host, authority, path) in [
            ("/a?b", Some("web:80"), "web:80", "/a?b"),
            ("/", Some("[::1]"), "[::1]", "/"),
            ("http://web/a", None, "web", "/a"),
            ("http://web/a", Some("other"), "web", "/a"),
            ("*", Some("web"), "web", "*"),
            ("web:443", None, "web:443", "/"),
        ] {
            let mut request = Request::builder().uri(uri);
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            let parts = with_target(request.body(()).unwrap())
                .uri()
                .clone()
                .into_parts();
            assert_eq!(parts.scheme, Some(Scheme::HTTP), "{uri} {host:?}");
            assert_eq!(parts.authority.unwrap(), authority, "{uri} {host:?}");
            assert_eq!(parts.path_and_query.unwrap(), path, "{uri} {host:?}");
        }
    }

    #[test]
    fn a_head_too_large_is_no_trap() {
        let full = refusal(Err(FieldMapError::TotalSizeTooBig.into()));
        let code = ErrorCode::HttpRequestHeaderSectionSize(None);
        assert_eq!(format!("{:?}", full.unwrap()), format!("{code:?}"));
        let code = ErrorCode::HttpProtocolError;
        let named = refusal(Ok(code.clone()));
        assert_eq!(format!("{:?}", named.unwrap()), format!("{code:?}"));
        assert!(refusal(Err(wasmtime::Error::msg("a defect"))).is_err());
    }

    #[test]
    fn every_path_can_be_sent() {
        for (path, wanted) in [
            (None, "/"),
            (Some("/a"), "/a"),
            (Some("?a"), "/?a"),
            (Some("*"), "*"),
        ] {
            let path = path.map(|path| PathAndQuery::try_from(path).unwrap());
            assert_eq!(sendable(path).as_str(), wanted);
        }
    }
}
