//! An http server of `wasi:http/service`, WASI 0.3: it answers the paths of `http` in the same words,
//! so that one test asks both. Those that it has alone:
//!
//! | path | answer |
//! |---|---|
//! | `/forward` | the request's own body, handed on |
//! | `/stream/PATH` | the file as the host reads it, while the guest is done |
//! | `/stuck` | none: it waits for what can never come |
//! | `/sent` | nothing yet; its log tells whether it was sent |
//! | `/silent/NAME` | a head, and nothing more; its log tells by that name whether it was sent |
//! | `/both` | `x-url` asked twice at once |

mod answer;
mod misdeeds;
mod outgoing;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::http::types::{ErrorCode, Request, Response};

use answer::{Answer, text};

struct Server;

wasip3::http::service::export!(Server);

/// How often this instance was asked.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// What `handle` returns.
type Answered = Result<Response, ErrorCode>;

impl wasip3::exports::http::handler::Guest for Server {
    async fn handle(request: Request) -> Answered {
        let asked = ASKED.fetch_add(1, Ordering::Relaxed) + 1;
        let path = request.get_path_with_query().unwrap_or_default();
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
            "hello" => Ok(hello(&request, asked)),
            "echo" => Ok(answer::echo(request)),
            "forward" => Ok(answer::forward(request)),
            "stream" => answer::file(&rest).await,
            "count" => {
                let count = answer::count(request).await;
                Ok(text(200, &format!("{count}\n")))
            }
            "big" => Ok(big(number(0))),
            "silent" => Ok(silent(&rest)),
            "pieces" => Ok(pieces(number(0), number(1))),
            "slow" | "pause" => {
                if what == "slow" {
                    println!("slow begins");
                }
                pause(number(0)).await;
                Ok(text(200, "slow\n"))
            }
            "file" => Ok(match std::fs::read_to_string(format!("/{rest}")) {
                Ok(content) => text(200, &content),
                Err(error) => text(404, &format!("{error}\n")),
            }),
            "env" => Ok(text(200, &std::env::var(&rest).unwrap_or_default())),
            "head" => Ok(head(&request)),
            "call" => Ok(call(&request).await),
            "both" => Ok(both(&request).await),
            "after" => {
                let answer = text(200, "after\n");
                let busy = Duration::from_millis(number(0));
                wit_bindgen::spawn_local(async move {
                    let begun = Instant::now();
                    while begun.elapsed() < busy {}
                });
                Ok(answer)
            }
            _ => misdeeds::answer(&what).await,
        }
    }
}

async fn pause(milliseconds: u64) {
    wait_for(milliseconds * 1_000_000).await;
}

/// The first value of a field of the request.
fn field(request: &Request, name: &str) -> String {
    let values = request.get_headers().get(name);
    let value = values.into_iter().next().unwrap_or_default();
    String::from_utf8_lossy(&value).into_owned()
}

fn hello(request: &Request, asked: u32) -> Response {
    text(200, &format!("hello {asked} {}\n", field(request, "x-id")))
}

fn big(bytes: u64) -> Response {
    let (mut answer, response) = Answer::begin(200, &[]);
    wit_bindgen::spawn_local(async move {
        let mut left = bytes;
        while left > 0 {
            let length = left.min(4096);
            let piece = vec![b'x'; usize::try_from(length).unwrap_or_default()];
            if !answer.write(piece).await {
                return;
            }
            left -= length;
        }
        answer.finish(None).await;
    });
    response
}

fn silent(name: &str) -> Response {
    let name = name.to_owned();
    let (answer, response) = Answer::begin(200, &[]);
    wit_bindgen::spawn_local(async move {
        let Answer {
            stream,
            trailers,
            sent,
        } = answer;
        println!("{name} sent {:?}", sent.await.is_ok());
        drop((stream, trailers));
    });
    response
}

fn pieces(number: u64, milliseconds: u64) -> Response {
    let (mut answer, response) = Answer::begin(200, &[]);
    wit_bindgen::spawn_local(async move {
        for n in 1..=number {
            pause(milliseconds).await;
            if !answer.write(format!("piece {n}\n").into_bytes()).await {
                println!("the client has left at piece {n}");
                return;
            }
        }
        answer.finish(None).await;
    });
    response
}

fn head(request: &Request) -> Response {
    let mut seen = format!(
        "path {}\nauthority {}\n",
        request.get_path_with_query().unwrap_or_default(),
        request.get_authority().unwrap_or_default()
    );
    for (name, value) in request.get_headers().copy_all() {
        seen += &format!("{name}: {}\n", String::from_utf8_lossy(&value));
    }
    text(200, &seen)
}

async fn call(request: &Request) -> Response {
    match outgoing::get(&field(request, "x-url")).await {
        Ok((status, body)) => text(200, &format!("{status} {body}")),
        Err(why) => text(502, &format!("error {why}\n")),
    }
}

async fn both(request: &Request) -> Response {
    let url = field(request, "x-url");
    let begun = Instant::now();
    let (one, two) = outgoing::both(outgoing::get(&url), outgoing::get(&url)).await;
    let are_answered = one.is_ok() && two.is_ok();
    let took = begun.elapsed().as_millis();
    text(200, &format!("{are_answered} {took}\n"))
}
