//! Counts who comes by the path, and greets with the words of its configuration.
//!
//! It knows neither files nor variables: what it keeps is in a bucket, what it is told comes from
//! `wasi:config`, and what it has to say goes to `wasi:logging`. Who provides them is not its concern.

mod bindings;

use std::io::Write as _;

use bindings::wasi::config::store as config;
use bindings::wasi::keyvalue::{atomics, store};
use bindings::wasi::logging::logging::{Level, log};
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Visits;

wasip2::http::proxy::export!(Visits);

/// What its messages are about.
const CONTEXT: &str = "visits";

impl wasip2::exports::http::incoming_handler::Guest for Visits {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let name = path.trim_start_matches('/');
        if name.is_empty() {
            log(Level::Debug, CONTEXT, "asked for nobody");
            return answer(out, 200, "ready\n");
        }
        match count(name) {
            Ok(count) => {
                log(
                    Level::Info,
                    CONTEXT,
                    &format!("{name} came, {count} in all"),
                );
                answer(
                    out,
                    200,
                    &format!("{}, {name}: visit {count}\n", greeting()),
                );
            }
            Err(error) => {
                log(
                    Level::Error,
                    CONTEXT,
                    &format!("{name} was not counted: {error:?}"),
                );
                answer(out, 500, "not counted\n");
            }
        }
    }
}

/// How often somebody has come, this time included.
fn count(name: &str) -> Result<u64, store::Error> {
    let bucket = store::open("visits")?;
    atomics::increment(&bucket, name, 1)
}

fn greeting() -> String {
    let configured = config::get("greeting").ok().flatten();
    configured.unwrap_or_else(|| "Hello".to_owned())
}

fn answer(out: ResponseOutparam, status: u16, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("it is a status");
    let body = response.body().expect("it is the first call");
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().expect("it is the first call");
    // An error means that the visitor has left.
    let _ = stream.write_all(text.as_bytes());
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
