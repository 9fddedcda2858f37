//! An http server of `wasi:http/proxy`: what it does, the path says.
//!
//! | path | answer |
//! |---|---|
//! | `/hello` | how often this instance was asked, and the request's `x-id` |
//! | `/echo` | the request's body, piece by piece, and its trailers |
//! | `/count` | how many bytes the request's body has |
//! | `/big/BYTES` | so many bytes |
//! | `/pieces/N/MS` | N lines, each after so many milliseconds |
//! | `/slow/MS` | `slow`, after so many milliseconds; its log tells when it begins |
//! | `/pause/MS` | the same, and nothing in the log |
//! | `/file/PATH` | the content of a file |
//! | `/env/NAME` | a variable |
//! | `/head` | the request as it is seen: method, path, authority, scheme, fields |
//! | `/call` | what the URL in `x-url` answers |
//! | `/nothing`, `/error`, `/trap`, `/cut`, `/spin`, `/hoard`, `/exit` | none, or half of one |
//! | `/long` | more than the four bytes that it declares |
//! | `/after/MS` | `after`; and then it goes on for so long |

mod answer;
mod misdeeds;
#[path = "outgoing.rs"]
mod outgoing;

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use answer::{Answer, text};

struct Server;

wasip2::http::proxy::export!(Server);

/// How often this instance was asked.
static ASKED: AtomicU32 = AtomicU32::new(0);

impl wasip2::exports::http::incoming_handler::Guest for Server {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let asked = ASKED.fetch_add(1, Ordering::Relaxed) + 1;
        let path = request.path_with_query().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let (what, rest) = match path.trim_start_matches('/').split_once('/') {
            Some((what, rest)) => (what.to_owned(), rest.to_owned()),
            None => (path.trim_start_matches('/').to_owned(), String::new()),
        };
        let number = |at: usize| {
            let part = rest.split('/').nth(at).unwrap_or_default();
            part.parse::<u64>().unwrap_or_default()
        };
        match &*what {
            "hello" => hello(&request, out, asked),
            "echo" => answer::echo(&request, out),
            "count" => {
                let count = answer::count(&request);
                text(out, 200, &format!("{count}\n"));
            }
            "big" => big(out, number(0)),
            "pieces" => pieces(out, number(0), number(1)),
            "slow" | "pause" => {
                if what == "slow" {
                    println!("slow begins");
                }
                sleep(Duration::from_millis(number(0)));
                text(out, 200, "slow\n");
            }
            "file" => match std::fs::read_to_string(format!("/{rest}")) {
                Ok(content) => text(out, 200, &content),
                Err(error) => text(out, 404, &format!("{error}\n")),
            },
            "env" => text(out, 200, &std::env::var(&rest).unwrap_or_default()),
            "head" => head(&request, out),
            "call" => call(&request, out),
            "after" => {
                text(out, 200, "after\n");
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(number(0)) {}
            }
            _ => misdeeds::answer(&what, out),
        }
    }
}

fn hello(request: &IncomingRequest, out: ResponseOutparam, asked: u32) {
    let id = request.headers().get("x-id").pop().unwrap_or_default();
    let id = String::from_utf8_lossy(&id).into_owned();
    text(out, 200, &format!("hello {asked} {id}\n"));
}

fn big(out: ResponseOutparam, bytes: u64) {
    let mut answer = Answer::begin(out, 200, &[]);
    let piece = [b'x'; 4096];
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        if !answer.write(&piece[..length]) {
            return;
        }
        left -= length as u64;
    }
    answer.finish(None);
}

fn pieces(out: ResponseOutparam, number: u64, pause: u64) {
    let mut answer = Answer::begin(out, 200, &[]);
    for n in 1..=number {
        sleep(Duration::from_millis(pause));
        if !answer.write(format!("piece {n}\n").as_bytes()) {
            println!("the client has left at piece {n}");
            return;
        }
    }
    answer.finish(None);
}

fn head(request: &IncomingRequest, out: ResponseOutparam) {
    let mut seen = format!(
        "path {}\nauthority {}\n",
        request.path_with_query().unwrap_or_default(),
        request.authority().unwrap_or_default()
    );
    for (name, value) in request.headers().entries() {
        seen += &format!("{name}: {}\n", String::from_utf8_lossy(&value));
    }
    text(out, 200, &seen);
}

fn call(request: &IncomingRequest, out: ResponseOutparam) {
    let url = request.headers().get("x-url").pop().unwrap_or_default();
    let url = String::from_utf8_lossy(&url).into_owned();
    match outgoing::get(&url, None) {
        Ok((status, body)) => text(out, 200, &format!("{status} {body}")),
        Err(why) => text(out, 502, &format!("error {why}\n")),
    }
}
