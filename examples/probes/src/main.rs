//! A server that takes a moment to start, is ready after that, and one day hangs: its first life
//! fails its liveness probe after a few questions, its second does not.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// Both outlive the container's restart, as an emptyDir does.
const LIVED_BEFORE: &str = "/work/lived-before";
/// The readiness probe looks for this file.
const READY: &str = "/work/ready";

const START_TAKES: Duration = Duration::from_millis(500);

/// In its first life, the liveness probe is answered well this often.
const HEALTHY_ANSWERS: u32 = 2;

fn main() -> io::Result<()> {
    let first_life = !Path::new(LIVED_BEFORE).exists();
    println!(
        "{} life: starting",
        if first_life { "first" } else { "second" }
    );
    fs::write(LIVED_BEFORE, "")?;
    sleep(START_TAKES);
    let listener = TcpListener::bind("0.0.0.0:8080")?;
    fs::write(READY, "")?;
    let mut answers = 0;
    loop {
        let (stream, _) = listener.accept()?;
        answers += 1;
        let healthy = !first_life || answers <= HEALTHY_ANSWERS;
        if let Err(error) = answer(&stream, healthy) {
            eprintln!("a visitor left: {error}");
        }
        println!(
            "answer {answers}: {}",
            if healthy { "healthy" } else { "not healthy" }
        );
    }
}

/// Answers any request with 200 or 503.
fn answer(mut stream: &TcpStream, healthy: bool) -> io::Result<()> {
    for line in BufReader::new(stream).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let status = if healthy {
        "200 OK"
    } else {
        "503 Service Unavailable"
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}
