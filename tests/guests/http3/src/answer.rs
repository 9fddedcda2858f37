//! Answers, written piece by piece.

use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_future, wit_stream};
use wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult, StreamWriter};

/// What comes after a body.
type Trailers = Result<Option<Fields>, ErrorCode>;

/// An answer whose body is written.
pub(crate) struct Answer {
    pub(crate) stream: StreamWriter<u8>,
    pub(crate) trailers: FutureWriter<Trailers>,
    /// Whether it was sent.
    pub(crate) sent: FutureReader<Result<(), ErrorCode>>,
}

// === impl Answer ===

impl Answer {
    pub(crate) fn begin(status: u16, fields: &[(&str, &str)]) -> (Self, Response) {
        let (stream, body) = wit_stream::new();
        let (trailers, after) = wit_future::new(|| Ok(None));
        let (response, sent) = Response::new(headers(fields), Some(body), after);
        response.set_status_code(status).expect("a status");
        let answer = Self {
            stream,
            trailers,
            sent,
        };
        (answer, response)
    }

    /// False once the client has left.
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> bool {
        self.stream.write_all(bytes).await.is_empty()
    }

    pub(crate) async fn finish(self, trailers: Option<Fields>) {
        drop(self.stream);
        // Nobody may take them.
        drop(self.trailers.write(Ok(trailers)).await);
    }
}

fn headers(fields: &[(&str, &str)]) -> Fields {
    let headers = Fields::new();
    for (name, value) in fields {
        headers.append(name, value.as_bytes()).expect("a field");
    }
    headers
}

/// A whole answer.
pub(crate) fn text(status: u16, text: &str) -> Response {
    let (mut answer, response) = Answer::begin(status, &[("content-type", "text/plain")]);
    let bytes = text.as_bytes().to_vec();
    wit_bindgen::spawn_local(async move {
        if answer.write(bytes).await {
            answer.finish(None).await;
        }
    });
    response
}

/// The body of a request, and what comes after it.
fn body(request: Request) -> (StreamReader<u8>, FutureReader<Trailers>) {
    let (done, result) = wit_future::new(|| Ok(()));
    drop(done);
    Request::consume_body(request, result)
}

/// Reads a body to its end: how many bytes it had.
pub(crate) async fn count(request: Request) -> usize {
    let (mut stream, trailers) = body(request);
    let mut count = 0;
    loop {
        let (result, piece) = stream.read(Vec::with_capacity(64 << 10)).await;
        count += piece.len();
        if !matches!(result, StreamResult::Complete(_)) {
            break;
        }
    }
    drop(trailers.await);
    count
}

/// Gives back what comes, as it comes, and the trailers at the end.
pub(crate) fn echo(request: Request) -> Response {
    let (mut stream, trailers) = body(request);
    let (mut answer, response) = Answer::begin(200, &[("trailer", "x-sum")]);
    wit_bindgen::spawn_local(async move {
        loop {
            let (result, piece) = stream.read(Vec::with_capacity(64 << 10)).await;
            if !piece.is_empty() && !answer.write(piece).await {
                return;
            }
            if !matches!(result, StreamResult::Complete(_)) {
                break;
            }
        }
        match trailers.await {
            Ok(trailers) => answer.finish(trailers).await,
            Err(code) => println!("the body broke off: {code:?}"),
        }
    });
    response
}

/// Hands the body of a request on as that of the answer.
pub(crate) fn forward(request: Request) -> Response {
    let (stream, trailers) = body(request);
    let fields = headers(&[("trailer", "x-sum")]);
    let (response, _sent) = Response::new(fields, Some(stream), trailers);
    response
}

/// Hands on what the host reads of a file.
pub(crate) async fn file(path: &str) -> Result<Response, ErrorCode> {
    let failed = |what: &str| ErrorCode::InternalError(Some(what.to_owned()));
    let root = get_directories().into_iter().find(|(_, path)| path == "/");
    let (root, _) = root.ok_or_else(|| failed("no root"))?;
    let (open, access) = (OpenFlags::empty(), DescriptorFlags::READ);
    let file = root.open_at(PathFlags::empty(), path.to_owned(), open, access);
    let file = file.await.map_err(|_| failed("no such file"))?;
    let (stream, _read) = file.read_via_stream(0);
    let (trailers, after) = wit_future::new(|| Ok(None));
    drop(trailers);
    let (response, _sent) = Response::new(Fields::new(), Some(stream), after);
    Ok(response)
}
