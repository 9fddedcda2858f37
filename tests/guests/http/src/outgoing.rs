//! Requests to others, and how they fare.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

/// Asks for a URL: the status and the body, or the name of the error. Within so many milliseconds,
/// where that is said.
pub(crate) fn get(url: &str, patience: Option<u64>) -> Result<(u16, String), String> {
    let answer = send(request(url, Fields::new())?, None, patience).map_err(name)?;
    read(&answer).map_err(name)
}

/// Sends a request, with a body where there is one.
pub(crate) fn send(
    request: OutgoingRequest,
    body: Option<&[u8]>,
    patience: Option<u64>,
) -> Result<IncomingResponse, ErrorCode> {
    let options = patience.map(|milliseconds| {
        let options = RequestOptions::new();
        let nanoseconds = Some(milliseconds * 1_000_000);
        options.set_connect_timeout(nanoseconds).expect("a time");
        options.set_first_byte_timeout(nanoseconds).expect("a time");
        options
            .set_between_bytes_timeout(nanoseconds)
            .expect("a time");
        options
    });
    let outgoing = request.body().expect("the body, once");
    let answer = handle(request, options)?;
    if let Some(bytes) = body {
        let stream = outgoing.write().expect("the stream, once");
        for piece in bytes.chunks(4096) {
            if stream.blocking_write_and_flush(piece).is_err() {
                break;
            }
        }
    }
    OutgoingBody::finish(outgoing, None)?;
    answer.subscribe().block();
    answer.get().expect("ready").expect("once")
}

/// A GET; with its fields and body it may become another.
pub(crate) fn request(url: &str, fields: Fields) -> Result<OutgoingRequest, String> {
    let (scheme, rest) = url.split_once("://").ok_or("a URL has a scheme")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let request = OutgoingRequest::new(fields);
    let set = request
        .set_scheme(Some(&scheme))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    set.map_err(|()| format!("no such URL: {url}"))?;
    Ok(request)
}

/// The status and the body of an answer.
pub(crate) fn read(answer: &IncomingResponse) -> Result<(u16, String), ErrorCode> {
    let body = answer.consume().expect("the body, once");
    let stream = body.stream().expect("the stream, once");
    let mut whole = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(piece) => whole.extend(piece),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasip2::http::types::http_error_code(&error);
                return Err(code.unwrap_or(ErrorCode::InternalError(None)));
            }
        }
    }
    drop(stream);
    drop(IncomingBody::finish(body));
    Ok((
        answer.status(),
        String::from_utf8_lossy(&whole).into_owned(),
    ))
}

/// The name of an error, without what it holds.
pub(crate) fn name(code: ErrorCode) -> String {
    let told = format!("{code:?}");
    let end = told.find(|c: char| !c.is_alphanumeric() && c != '-' && c != ':');
    let name = told.get(..end.unwrap_or(told.len())).unwrap_or_default();
    name.rsplit("::").next().unwrap_or_default().to_owned()
}
