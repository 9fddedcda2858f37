//! Answers, written piece by piece.

use std::io::Write as _;

use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::{OutputStream, StreamError};

/// An answer whose head is set.
pub(crate) struct Answer {
    // Dropped before the body that it is a child of.
    stream: OutputStream,
    body: OutgoingBody,
}

// === impl Answer ===

impl Answer {
    pub(crate) fn begin(out: ResponseOutparam, status: u16, fields: &[(&str, &str)]) -> Self {
        let headers = Fields::new();
        for (name, value) in fields {
            headers.append(name, value.as_bytes()).expect("a field");
        }
        let response = OutgoingResponse::new(headers);
        response.set_status_code(status).expect("a status");
        let body = response.body().expect("the body, once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream, once");
        Self { stream, body }
    }

    /// False once the client has left.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub(crate) fn finish(self, trailers: Option<Fields>) {
        drop(self.stream);
        OutgoingBody::finish(self.body, trailers).expect("an end");
    }
}

/// A whole answer.
pub(crate) fn text(out: ResponseOutparam, status: u16, text: &str) {
    let mut answer = Answer::begin(out, status, &[("content-type", "text/plain")]);
    answer.write(text.as_bytes());
    answer.finish(None);
}

/// Reads a body to its end: how many bytes it had.
pub(crate) fn count(request: &IncomingRequest) -> usize {
    let incoming = request.consume().expect("the body, once");
    let stream = incoming.stream().expect("the stream, once");
    let mut count = 0;
    while let Ok(piece) = stream.blocking_read(64 << 10) {
        count += piece.len();
    }
    count
}

/// Gives back what comes, as it comes, and the trailers at the end.
pub(crate) fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the body, once");
    let mut answer = Answer::begin(out, 200, &[("trailer", "x-sum")]);
    let stream = incoming.stream().expect("the stream, once");
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(piece) => {
                if !answer.write(&piece) {
                    return;
                }
            }
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                println!("the body broke off: {}", error.to_debug_string());
                return;
            }
        }
    }
    drop(stream);
    let trailers = IncomingBody::finish(incoming);
    trailers.subscribe().block();
    let trailers = trailers.get().expect("ready").expect("once");
    let back = trailers.expect("trailers").map(|trailers| {
        let fields = Fields::new();
        for (name, value) in trailers.entries() {
            fields.append(&name, &value).expect("a field");
        }
        fields
    });
    answer.finish(back);
}
