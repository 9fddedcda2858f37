//! The other half of the pair: asks the server over localhost, again and again, and keeps a diary
//! of the answers in the volume that both mount. Not a benchmark: it sleeps between questions.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// localhost is the pod's own: the server's port is here because both are in one pod.
const SERVER: &str = "127.0.0.1:8080";
const DIARY: &str = "/shared/diary.txt";
const DRAFT: &str = "/shared/diary.draft";
const PAUSE: Duration = Duration::from_secs(1);

/// Two containers of a pod start side by side, so the first questions may come too early.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

fn main() -> io::Result<()> {
    let mut fastest = Duration::MAX;
    for question in 1_u64.. {
        let start = Instant::now();
        let count = loop {
            match ask() {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    sleep(FIRST_PAUSE)
                }
                Err(error) => return Err(error),
            }
        };
        let took = start.elapsed();
        fastest = fastest.min(took);
        note(question, count, fastest)?;
        println!("question {question}: the server at {SERVER} has answered {count} (in {took:?})");
        sleep(PAUSE);
    }
    Ok(())
}

/// Writes the diary. Under another name first, so that the server never reads half of it.
fn note(question: u64, count: u64, fastest: Duration) -> io::Result<()> {
    let text = format!(
        "asked {SERVER} {question} times\nthe last answer was {count}, the fastest took {fastest:?}\n"
    );
    fs::write(DRAFT, text)?;
    fs::rename(DRAFT, DIARY)
}

/// Asks how many questions the server has answered.
fn ask() -> io::Result<u64> {
    let mut stream = TcpStream::connect(SERVER)?;
    write!(
        stream,
        "GET /count HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    body.trim()
        .parse()
        .map_err(|_| io::Error::other(format!("not a count: {answer:?}")))
}
