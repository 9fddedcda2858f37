//! Greets whoever is named by the path. With an UPSTREAM it asks that first, as a sidecar would.
//!
//! No socket and no loop: `handle` is called for each request, in a fresh instance of the component
//! each time, so that what one visitor leaves in memory no other one finds.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam, Scheme,
};

struct Greeter;

wasip2::http::proxy::export!(Greeter);

static VISITORS: AtomicU32 = AtomicU32::new(0);

impl wasip2::exports::http::incoming_handler::Guest for Greeter {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        println!("asked for {path}");
        match greeting(&path) {
            Ok(greeting) => answer(out, &greeting),
            Err(code) => ResponseOutparam::set(out, Err(code)),
        }
    }
}

fn greeting(path: &str) -> Result<String, ErrorCode> {
    if let Ok(upstream) = std::env::var("UPSTREAM") {
        return Ok(format!(
            "{}brought to you by the porter\n",
            ask(&upstream, path)?
        ));
    }
    let visitors = VISITORS.fetch_add(1, Ordering::Relaxed) + 1;
    let name = path.trim_start_matches('/');
    Ok(format!(
        "Hello, {name}! Visitors of this instance: {visitors}\n"
    ))
}

/// What another server answers.
fn ask(authority: &str, path: &str) -> Result<String, ErrorCode> {
    let request = OutgoingRequest::new(Fields::new());
    let set = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    set.map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let coming = outgoing_handler::handle(request, None)?;
    coming.subscribe().block();
    let answer = coming
        .get()
        .expect("it is ready")
        .expect("it is the first call")?;
    let body = answer.consume().expect("it is the first call");
    let mut text = String::new();
    let read = body
        .stream()
        .expect("it is the first call")
        .read_to_string(&mut text);
    read.map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
    Ok(text)
}

fn answer(out: ResponseOutparam, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("it is the first call");
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().expect("it is the first call");
    // An error means that the visitor has left.
    let _ = stream.write_all(text.as_bytes());
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
