//! A request to another server, and its answer line by line.

use futures::SinkExt as _;
use futures::channel::mpsc::Sender;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::wit_future;
use wit_bindgen::{FutureReader, StreamReader, StreamResult};

/// Bytes that are read at once at the most.
const PIECE: usize = 4 << 10;

/// The body of an answer.
struct Lines {
    body: StreamReader<u8>,
    /// How the body ended, once it has.
    end: FutureReader<Result<Option<Fields>, ErrorCode>>,
    /// What was read and is no whole line yet.
    rest: Vec<u8>,
}

/// Asks a server for a path, and hands on each line of its answer when it is there. What went wrong
/// is a line too.
pub(crate) async fn hand_on(authority: String, path: String, mut sender: Sender<String>) {
    let mut lines = match ask(&authority, &path).await {
        Ok(answer) => Lines::of(answer),
        Err(code) => {
            let _ = sender
                .send(format!("{authority} does not answer: {code}"))
                .await;
            return;
        }
    };
    while let Some(line) = lines.next().await {
        if sender.send(line).await.is_err() {
            // Nobody listens any more. What is dropped here ends the request.
            return;
        }
    }
    if let Err(code) = lines.end.await {
        let _ = sender.send(format!("{authority} broke off: {code}")).await;
    }
}

/// Sends a GET: its answer is there with its head, whatever of the body is still to come.
async fn ask(authority: &str, path: &str) -> Result<Response, ErrorCode> {
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, trailers, None);
    let set = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    set.map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    client::send(request).await
}

// === impl Lines ===

impl Lines {
    fn of(answer: Response) -> Self {
        // That it was read well is nothing that the server would want to know.
        let (_, read) = wit_future::new(|| Ok(()));
        let (body, end) = Response::consume_body(answer, read);
        Self {
            body,
            end,
            rest: Vec::new(),
        }
    }

    /// The next line, without its end; none at the end of the body.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            let (result, piece) = self.body.read(Vec::with_capacity(PIECE)).await;
            self.rest.extend(piece);
            if !matches!(result, StreamResult::Complete(_)) {
                let last = std::mem::take(&mut self.rest);
                return (!last.is_empty()).then(|| String::from_utf8_lossy(&last).into_owned());
            }
        }
    }
}
