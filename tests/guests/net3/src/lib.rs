//! TCP, UDP and names of WASI 0.3, as a guest uses and misuses them.
//!
//! Its cases are named as those of `net`, its counterpart for WASI 0.2, and say the same where they
//! do the same; a code of WASI stands where `net` has the name of a `std::io::ErrorKind`.

mod address;
mod bind;
mod client;
mod hostile;
mod measure;
mod serve;
mod shares;
mod stream;
mod udp;

use std::future::Future;
use std::pin::Pin;

use wasip3::cli::environment::get_arguments;
use wasip3::exports::cli::run::Guest;

/// What came of a case: an error is told and ends the program with code 1.
type Outcome = Result<(), String>;

/// The arguments after the name of the case.
struct Args(Vec<String>);

struct Program;

wasip3::cli::command::export!(Program);

impl Guest for Program {
    async fn run() -> Result<(), ()> {
        let mut arguments = get_arguments().into_iter().skip(1);
        let wanted = arguments.next().unwrap_or_default();
        let outcome = match case(&wanted, Args(arguments.collect())) {
            Some(case) => case.await,
            None => Err(format!("no case `{wanted}`")),
        };
        if let Err(error) = outcome {
            eprintln!("error {error}");
            return Err(());
        }
        Ok(())
    }
}

/// What it can do.
#[rustfmt::skip]
fn case(name: &str, args: Args) -> Option<Pin<Box<dyn Future<Output = Outcome>>>> {
    Some(match name {
        // ADDR [CONNECTIONS]: gives back what it gets, all connections at once
        "echo" => Box::pin(serve::echo(args)),
        // ADDR [CONNECTIONS]: the same, by handing each stream of bytes to its own socket
        "mirror" => Box::pin(serve::mirror(args)),
        // ADDR TEXT [COUNT]: answers HTTP requests with TEXT and both addresses
        "page" => Box::pin(serve::page(args)),
        // ADDR [BACKLOG]: listens and never accepts
        "hold" => Box::pin(serve::hold(args)),
        // ADDR: accepts one connection and never reads
        "stall" => Box::pin(serve::stall(args)),
        // ADDR: reads one connection to its end, then answers how much came
        "half-serve" => Box::pin(serve::half(args)),
        // ADDR COUNT: holds COUNT connections, then answers a byte on each
        "many-serve" => Box::pin(serve::many(args)),
        // ADDR...: prints for each address what came of connecting to it
        "connect" => Box::pin(client::connect(args)),
        // ADDR [PATH]: prints the answer to an HTTP request
        "get" => Box::pin(client::get(args)),
        // ADDR BYTES: sends, closes that direction, prints what comes back
        "half" => Box::pin(client::half(args)),
        // ADDR COUNT: opens COUNT connections at once and uses each
        "many" => Box::pin(client::many(args)),
        // ADDR COUNT: opens connections one after the other until one is refused
        "crowd" => Box::pin(client::crowd(args)),
        // ADDR: sends until nothing more is taken
        "push" => Box::pin(client::push(args)),
        // ADDR: sets and reads socket options
        "options" => Box::pin(client::options(args)),
        // NAME...: prints the addresses of each name
        "resolve" => Box::pin(client::resolve(args)),
        // ADDR...: listens on all at once, in order
        "bind" => Box::pin(bind::tcp(args)),
        // ADDR: listens, stops listening, and listens again
        "rebind" => Box::pin(bind::again(args)),
        // ADDR...: binds datagram sockets to all at once, in order
        "udp-bind" => Box::pin(bind::udp(args)),
        // [COUNT]: makes sockets until none is given
        "sockets" => Box::pin(bind::sockets(args)),
        // ADDR [COUNT]: gives back datagrams
        "udp-echo" => Box::pin(udp::echo(args)),
        // ADDR TEXT [FROM]: sends until an answer comes, prints it
        "udp-ask" => Box::pin(udp::ask(args)),
        // ADDR TEXT [FROM]: sends once, prints what came of it
        "udp-send" => Box::pin(udp::send(args)),
        // : prints what a socket with a peer does, and without
        "udp-peer" => Box::pin(udp::peer()),
        // COUNT: waits so many times at one socket, and is sent as many datagrams
        "udp-crowd" => Box::pin(udp::crowd(args)),
        // : what each call says in states that do not allow it
        "states" => Box::pin(shares::states()),
        // : what is left of sockets whose handles or streams are dropped
        "shares" => Box::pin(shares::shares()),
        // : drops streams in the middle of a connection
        "dropped" => Box::pin(shares::dropped()),
        // ADDR [COUNT] [SIZE]: round trips in ns against `echo`
        "rtt" => Box::pin(measure::round_trips(args)),
        // ADDR [MIB] [CHUNK_KIB]: sends to `sink`, prints a sum of what it sent
        "source" => Box::pin(measure::source(args)),
        // ADDR: reads one connection to its end, prints its sum and MiB/s
        "sink" => Box::pin(measure::sink(args)),
        // : has streams of sockets made until it is stopped
        "receives" => Box::pin(hostile::receives()),
        _ => return None,
    })
}

// === impl Args ===

impl Args {
    fn text(&self, index: usize) -> Result<&str, String> {
        let text = self.0.get(index).map(String::as_str);
        text.ok_or_else(|| format!("argument {} is missing", index + 1))
    }

    /// A number, or what stands for one that is not given.
    fn number<T: std::str::FromStr>(&self, index: usize, default: T) -> Result<T, String> {
        match self.text(index) {
            Ok(text) => text.parse().map_err(|_| format!("`{text}` is no number")),
            Err(_) => Ok(default),
        }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}
