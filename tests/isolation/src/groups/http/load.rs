//! Clients that ask one after another on connections that stay open, and look at every answer.
//!
//! All of them are tasks of one thread, on a processor of its own that it keeps awake: a server that
//! had to wake its client for every answer would pay for that, many times what the answer costs on a
//! virtual machine, and wait for its next request.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::cores::{self, Side};

/// The longest that all of it may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The longest body that is an answer.
const BODY: u64 = 4096;

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) connections: usize,
    /// On each of them.
    pub(super) requests: usize,
    /// The highest count that an instance may show.
    pub(super) most: u32,
}

type Answers = BufReader<OwnedReadHalf>;

// === impl Load ===

impl Load {
    /// Requests in all.
    pub(super) fn total(self) -> f64 {
        let total = self.connections * self.requests;
        u32::try_from(total).map_or(f64::MAX, f64::from)
    }

    /// Asks all of it.
    ///
    /// # Errors
    /// When there is no answer, or a wrong one.
    pub(super) fn put_on(self, server: SocketAddr) -> anyhow::Result<()> {
        cores::on(Side::Asks, || self.ask(server))
    }

    fn ask(self, server: SocketAddr) -> anyhow::Result<()> {
        let thread = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread.block_on(async {
            let awake = tokio::spawn(async {
                loop {
                    yield_now().await;
                }
            });
            let mut clients = JoinSet::new();
            for client in 0..self.connections {
                clients.spawn(self.client(server, client));
            }
            let all = async {
                while let Some(client) = clients.join_next().await {
                    client??;
                }
                Ok(())
            };
            let asked = timeout(PATIENCE, all).await;
            awake.abort();
            asked.context("no answer in time")?
        })
    }

    async fn client(self, server: SocketAddr, client: usize) -> anyhow::Result<()> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (answers, mut stream) = stream.into_split();
        let mut answers = BufReader::new(answers);
        for number in 0..self.requests {
            let id = format!("{client}-{number}");
            let request = format!("GET /hello HTTP/1.1\r\nHost: bench\r\nx-id: {id}\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let body = answer(&mut answers).await?;
            self.check(&body, &id)?;
        }
        Ok(())
    }

    /// Whether an answer is `hello COUNT ID`, with a count that its instance may show.
    fn check(self, body: &str, id: &str) -> anyhow::Result<()> {
        let mut words = body.split_whitespace();
        let (hello, count, back) = (words.next(), words.next(), words.next());
        let count = count.and_then(|count| count.parse::<u32>().ok());
        let is_right = hello == Some("hello")
            && back == Some(id)
            && count.is_some_and(|count| (1..=self.most).contains(&count));
        ensure!(is_right, "{id} was answered {body:?}");
        Ok(())
    }
}

/// The body of the next answer, which has status 200.
async fn answer(answers: &mut Answers) -> anyhow::Result<String> {
    let status = line(answers).await?;
    ensure!(status.contains(" 200"), "{status}");
    let mut length = None;
    loop {
        let field = line(answers).await?.to_ascii_lowercase();
        match field.split_once(':') {
            _ if field.is_empty() => break,
            Some(("content-length", value)) => length = Some(value.trim().parse()?),
            _ => {}
        }
    }
    match length {
        Some(length) => exactly(answers, length).await,
        None => chunks(answers).await,
    }
}

async fn chunks(answers: &mut Answers) -> anyhow::Result<String> {
    let mut body = String::new();
    loop {
        let size =
            u64::from_str_radix(&line(answers).await?, 16).context("a chunk without a size")?;
        body += &exactly(answers, size).await?;
        line(answers).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}

async fn exactly(answers: &mut Answers, length: u64) -> anyhow::Result<String> {
    ensure!(length <= BODY, "a body of {length} bytes");
    let mut body = String::new();
    let read = answers.take(length).read_to_string(&mut body).await?;
    if u64::try_from(read)? < length {
        bail!("the connection ended");
    }
    Ok(body)
}

async fn line(answers: &mut Answers) -> anyhow::Result<String> {
    let mut line = String::new();
    let read = answers.take(BODY).read_line(&mut line).await?;
    ensure!(read > 0, "the connection ended");
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn every_answer_is_looked_at() -> anyhow::Result<()> {
        let load = Load {
            connections: 1,
            requests: 2,
            most: 2,
        };
        for (first, is_right) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello 1 0-0\n",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n6\r\n1 0-0\n\r\n0\r\n\r\n",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello 3 0-0\n",
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello 1 0-7\n",
                false,
            ),
            ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            let server = thread::spawn(move || -> anyhow::Result<()> {
                let (mut stream, _) = listener.accept()?;
                let second = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello 2 0-1\n";
                stream.write_all(first.as_bytes())?;
                stream.write_all(second.as_bytes())?;
                // Until the client has left.
                drop(stream.read_to_end(&mut Vec::new()));
                Ok(())
            });
            assert_eq!(load.put_on(address).is_ok(), is_right, "{first}");
            assert!(server.join().is_ok_and(|served| served.is_ok()));
        }
        Ok(())
    }
}
