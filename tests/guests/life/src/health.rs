//! Health: as a server that is asked, and as a guest that tells.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use case::Args;

use crate::bindings::wasmpod::pod::{identity as pod_identity, lifecycle};

/// How often a file is looked for: WASI has no way to be told of changes.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) fn healthz(args: &Args) -> io::Result<()> {
    let healthy_answers = args.number(1, u64::MAX)?;
    let start = Duration::from_millis(args.number(2, 0)?);
    sleep(start);
    let mut answers = 0;
    serve(args.text(0)?, || {
        answers += 1;
        answers <= healthy_answers
    })
}

pub(crate) fn healthz_file(args: &Args) -> io::Result<()> {
    let path = args.text(1)?;
    serve(args.text(0)?, || Path::new(path).exists())
}

/// Answers /healthz with 200 or 503, every other path with 200.
fn serve(address: &str, mut is_healthy: impl FnMut() -> bool) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("listening {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept()?;
        if let Err(error) = answer(&stream, &mut is_healthy) {
            println!("left {}", case::kind(&error));
        }
    }
}

fn answer(mut stream: &TcpStream, is_healthy: &mut impl FnMut() -> bool) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let is_probe = request.starts_with("GET /healthz ");
    let status = if is_probe && !is_healthy() {
        "503 Service Unavailable"
    } else {
        "200 OK"
    };
    println!("{} {status}", request.trim_end());
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

pub(crate) fn unready(args: &Args) -> io::Result<()> {
    let path = args.text(0)?;
    lifecycle::set_health(false, "waiting for a file");
    println!("not ready");
    while !Path::new(path).exists() {
        sleep(PAUSE);
    }
    lifecycle::set_health(true, "");
    println!("ready");
    case::sleep_forever()
}

pub(crate) fn identity(_: &Args) -> io::Result<()> {
    let pod = pod_identity::get_pod();
    println!("name {}", pod.name);
    println!("namespace {}", pod.namespace);
    println!("uid {}", pod.uid);
    println!("node {}", pod.node);
    println!("container {}", pod_identity::get_container());
    for (key, value) in pod.labels {
        println!("label {key}={value}");
    }
    for (key, value) in pod.annotations {
        println!("annotation {key}={value}");
    }
    for address in pod.addresses {
        println!("address {address}");
    }
    Ok(())
}
