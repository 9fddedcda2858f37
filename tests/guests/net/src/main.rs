//! TCP, UDP and names, as a guest uses and misuses them. Plain std::net throughout.

mod bind;
mod measure;
mod serve;
mod tcp;
mod udp;

use std::process::ExitCode;

/// What it can do.
#[rustfmt::skip]
const CASES: &[case::Case] = &[
    ("echo", "ADDR [CONNECTIONS]: gives back what it gets, one connection after the other", serve::echo),
    ("page", "ADDR TEXT [COUNT]: answers HTTP requests with TEXT and both addresses", serve::page),
    ("peers", "ADDR [COUNT]: prints both addresses of every connection", serve::peers),
    ("hold", "ADDR [PORTS]: listens on so many ports from there and never accepts", serve::hold),
    ("stall", "ADDR: accepts one connection and never reads", serve::stall),
    ("half-serve", "ADDR: reads one connection to its end, then answers how much came", serve::half),
    ("many-serve", "ADDR COUNT: holds COUNT connections, then answers a byte on each", serve::many),
    ("connect", "ADDR...: prints for each address what came of connecting to it", tcp::connect),
    ("get", "ADDR [PATH]: prints the answer to an HTTP request", tcp::get),
    ("half", "ADDR BYTES: sends, closes that direction, prints what comes back", tcp::half),
    ("many", "ADDR COUNT: opens COUNT connections and uses each", tcp::many),
    ("push", "ADDR: sends without blocking until nothing more is taken", tcp::push),
    ("options", "ADDR: sets and reads socket options", tcp::options),
    ("resolve", "NAME...: prints the addresses of each name", tcp::resolve),
    ("bind", "ADDR...: listens on all at once, in order", bind::tcp),
    ("rebind", "ADDR: listens, stops listening, and listens again", bind::again),
    ("udp-bind", "ADDR...: binds datagram sockets to all at once, in order", bind::udp),
    ("sockets", "[COUNT]: makes sockets until none is given", bind::sockets),
    ("udp-echo", "ADDR [COUNT]: gives back datagrams", udp::echo),
    ("udp-ask", "ADDR TEXT [FROM]: sends until an answer comes, prints it", udp::ask),
    ("udp-send", "ADDR TEXT [FROM]: sends once, prints what came of it", udp::send),
    ("rtt", "ADDR [COUNT] [SIZE]: round trips in ns against `echo`", measure::round_trips),
    ("source", "ADDR [MIB] [CHUNK_KIB]: sends to `sink`", measure::source),
    ("sink", "ADDR: reads one connection to its end, prints MiB/s", measure::sink),
];

fn main() -> ExitCode {
    case::run(CASES)
}
