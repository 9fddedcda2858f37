//! Servers, which serve all their connections at once.

use std::future::Future;

use futures::StreamExt as _;
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;
use std::pin::pin;
use wasip3::sockets::types::TcpSocket;
use wit_bindgen::rt::async_support::StreamReader;

use crate::address::{family, literal, outcome, shown, told, word};
use crate::client::sleep_forever;
use crate::stream::Connection;
use crate::{Args, Outcome};

/// A listening socket and its connections.
pub(crate) struct Listener {
    pub(crate) socket: TcpSocket,
    pub(crate) incoming: StreamReader<TcpSocket>,
}

/// Listens, and says so.
pub(crate) fn listen(text: &str) -> Result<Listener, String> {
    listen_with(text, None)
}

fn listen_with(text: &str, backlog: Option<u64>) -> Result<Listener, String> {
    let address = literal(text)?;
    let socket = TcpSocket::create(family(address)).map_err(told(text))?;
    if let Some(backlog) = backlog {
        let set = socket.set_listen_backlog_size(backlog);
        set.map_err(told("set-listen-backlog-size"))?;
    }
    socket.bind(address).map_err(told(text))?;
    let incoming = socket.listen().map_err(told(text))?;
    let local = socket.get_local_address().map_err(told(text))?;
    println!("listening {}", shown(local));
    Ok(Listener { socket, incoming })
}

// === impl Listener ===

impl Listener {
    pub(crate) async fn accept(&mut self) -> Result<TcpSocket, String> {
        let accepted = self.incoming.next().await;
        accepted.ok_or_else(|| "there are no more connections".to_owned())
    }

    /// Serves so many connections, each as soon as it is there.
    async fn serve<F: Future<Output = ()>>(
        mut self,
        count: usize,
        serve: impl Fn(TcpSocket) -> F,
    ) -> Outcome {
        let mut served = FuturesUnordered::new();
        for _ in 0..count {
            let mut accepted = pin!(self.accept());
            let socket = loop {
                if served.is_empty() {
                    break accepted.await?;
                }
                match select(accepted, served.next()).await {
                    Either::Left((socket, _)) => break socket?,
                    Either::Right((_, waits)) => accepted = waits,
                }
            };
            served.push(serve(socket));
        }
        while served.next().await.is_some() {}
        Ok(())
    }
}

pub(crate) async fn echo(args: Args) -> Outcome {
    let listener = listen(args.text(0)?)?;
    let count = args.number(1, usize::MAX)?;
    listener.serve(count, echo_one).await
}

async fn echo_one(socket: TcpSocket) {
    let mut connection = Connection::of(socket);
    while let Some(bytes) = connection.read().await {
        if !connection.write(bytes).await {
            break;
        }
    }
    // A client that goes away is not the end of the server.
    if let Err(code) = connection.finish().await {
        println!("left {}", word(&code));
    }
}

pub(crate) async fn mirror(args: Args) -> Outcome {
    let listener = listen(args.text(0)?)?;
    let count = args.number(1, usize::MAX)?;
    let reflect = |socket: TcpSocket| async move {
        let (input, received) = socket.receive();
        let sent = socket.send(input).await;
        println!("mirrored {} {}", outcome(&received.await), outcome(&sent));
    };
    listener.serve(count, reflect).await
}

pub(crate) async fn page(args: Args) -> Outcome {
    let listener = listen(args.text(0)?)?;
    let text = args.text(1)?;
    let count = args.number(2, usize::MAX)?;
    let answer = |socket| async move {
        if let Err(error) = answer(socket, text).await {
            println!("left {error}");
        }
    };
    listener.serve(count, answer).await
}

async fn answer(socket: TcpSocket, text: &str) -> Outcome {
    let mut connection = Connection::of(socket);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.extend(connection.read().await.ok_or("no request")?);
    }
    let peer = connection.socket.get_remote_address();
    let local = connection.socket.get_local_address();
    let page = format!(
        "{text}\npeer {}\nlocal {}\n",
        shown(peer.map_err(told("peer"))?),
        shown(local.map_err(told("local"))?),
    );
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ";
    let answer = format!("{head}{}\r\n\r\n{page}", page.len());
    connection.write(answer.into_bytes()).await;
    connection.finish().await.map_err(told("answer"))
}

pub(crate) async fn hold(args: Args) -> Outcome {
    let backlog = args.number(1, 0)?;
    let _listener = listen_with(args.text(0)?, (backlog > 0).then_some(backlog))?;
    sleep_forever().await
}

pub(crate) async fn stall(args: Args) -> Outcome {
    let mut listener = listen(args.text(0)?)?;
    let connection = Connection::of(listener.accept().await?);
    println!("accepted");
    sleep_forever().await?;
    connection.finish().await.map_err(told("stall"))
}

pub(crate) async fn half(args: Args) -> Outcome {
    let mut listener = listen(args.text(0)?)?;
    let mut connection = Connection::of(listener.accept().await?);
    let length = connection.read_to_end().await.len();
    println!("received {length}");
    let answer = format!("received {length}\n");
    connection.write(answer.into_bytes()).await;
    connection.finish().await.map_err(told("answer"))
}

pub(crate) async fn many(args: Args) -> Outcome {
    let mut listener = listen(args.text(0)?)?;
    let count = args.number(1, 0_usize)?;
    let mut connections = Vec::new();
    while connections.len() < count {
        connections.push(Connection::of(listener.accept().await?));
    }
    println!("accepted {count}");
    for mut connection in connections {
        let byte = connection.read_exact(1).await;
        connection.write(byte).await;
        connection.finish().await.map_err(told("answer"))?;
    }
    println!("served {count}");
    Ok(())
}
