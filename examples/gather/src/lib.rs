//! Asks every server named by UPSTREAMS at once, and hands on each line of their answers as it
//! comes. Without UPSTREAMS it is such a server, which says three lines and pauses before each.
//!
//! `handle` of WASI 0.3 is an async function: what it waits for holds up nobody, and its answer's
//! body is written while the head is already on its way.

mod upstream;

use std::env;

use futures::channel::mpsc::{self, Receiver, Sender};
use futures::{SinkExt as _, StreamExt as _};
use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_future, wit_stream};
use wit_bindgen::{StreamWriter, spawn_local};

struct Gatherer;

wasip3::http::service::export!(Gatherer);

/// How many lines a server says that asks nobody.
const LINES: u32 = 3;

impl wasip3::exports::http::handler::Guest for Gatherer {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let (body, response) = answer();
        // Whoever says a line waits until it is taken: nothing piles up for a slow client.
        let (sender, lines) = mpsc::channel(0);
        match env::var("UPSTREAMS") {
            _ if path == "/" => spawn_local(ready(sender)),
            Ok(upstreams) => {
                for upstream in upstreams.split_whitespace() {
                    let (upstream, path) = (upstream.to_owned(), path.clone());
                    spawn_local(upstream::hand_on(upstream, path, sender.clone()));
                }
            }
            Err(_) => spawn_local(tell(sender)),
        }
        // It lives on when the answer has been returned, until it has written all of it.
        spawn_local(async move {
            let count = write(body, lines).await;
            println!("lines of {path}: {count}");
        });
        Ok(response)
    }
}

/// An answer, and the body that is still to be written.
fn answer() -> (StreamWriter<u8>, Response) {
    let (writer, body) = wit_stream::new();
    // Nothing comes after the body: the value of a future that nobody writes.
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    (writer, response)
}

/// Writes lines until there are no more, or the client has left: how many it took. Those who say
/// them notice that nobody listens any longer.
async fn write(mut body: StreamWriter<u8>, mut lines: Receiver<String>) -> usize {
    let mut count = 0;
    while let Some(line) = lines.next().await {
        let left = body.write_all(format!("{line}\n").into_bytes()).await;
        if !left.is_empty() {
            break;
        }
        count += 1;
    }
    count
}

async fn ready(mut sender: Sender<String>) {
    // An error means here and below that the client has left.
    let _ = sender.send("ready".to_owned()).await;
}

/// Says the lines of a server that asks nobody.
async fn tell(mut sender: Sender<String>) {
    let name = env::var("NAME").unwrap_or_else(|_| "somebody".to_owned());
    let pause = env::var("PAUSE_MILLISECONDS").ok();
    let pause: u64 = pause.and_then(|pause| pause.parse().ok()).unwrap_or(100);
    for number in 1..=LINES {
        wait_for(pause * 1_000_000).await;
        let line = format!("{name} says {number} of {LINES}");
        if sender.send(line).await.is_err() {
            return;
        }
    }
}
