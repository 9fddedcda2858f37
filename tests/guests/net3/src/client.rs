//! Clients.

use futures::future::join_all;
use std::pin::pin;
use std::task::Poll;
use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::sockets::ip_name_lookup::resolve_addresses;
use wasip3::sockets::types::{ErrorCode, IpSocketAddress, TcpSocket};
use wit_bindgen::StreamResult;

use crate::address::{addresses, family, ip, literal, outcome, shown, told, word};
use crate::stream::{BUFFER, Connection};
use crate::{Args, Outcome};

/// Containers of a pod start side by side: whoever wants a server tries so often, a pause between.
pub(crate) const PATIENCE: usize = 1000;
const PAUSE: u64 = 10_000_000;

pub(crate) async fn pause() {
    wait_for(PAUSE).await;
}

/// Without using the CPU.
pub(crate) async fn sleep_forever() -> Outcome {
    loop {
        wait_for(u64::MAX).await;
    }
}

pub(crate) async fn connected(address: IpSocketAddress) -> Result<TcpSocket, ErrorCode> {
    let socket = TcpSocket::create(family(address))?;
    socket.connect(address).await?;
    Ok(socket)
}

/// Connects as soon as somebody listens.
pub(crate) async fn reach(text: &str) -> Result<Connection, String> {
    let addresses = addresses(text).await?;
    for _ in 0..PATIENCE {
        for address in &addresses {
            match connected(*address).await {
                Ok(socket) => return Ok(Connection::of(socket)),
                Err(ErrorCode::ConnectionRefused) => {}
                Err(code) => return Err(told(text)(code)),
            }
        }
        pause().await;
    }
    Err(format!("nobody listens at {text}"))
}

pub(crate) async fn connect(args: Args) -> Outcome {
    for text in args.all() {
        let mut word = "no address".to_owned();
        for address in addresses(text).await? {
            word = match connected(address).await {
                Ok(socket) => {
                    let peer = socket.get_remote_address().map_err(told(text))?;
                    let local = socket.get_local_address().map_err(told(text))?;
                    format!("ok peer {} local {}", shown(peer), shown(local))
                }
                Err(code) => self::word(&code),
            };
            if word.starts_with("ok") {
                break;
            }
        }
        println!("connect {text} {word}");
    }
    Ok(())
}

pub(crate) async fn get(args: Args) -> Outcome {
    let address = args.text(0)?;
    let path = args.text(1).unwrap_or("/");
    let mut connection = reach(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write(request.into_bytes()).await;
    let answer = connection.read_to_end().await;
    print!("{}", String::from_utf8_lossy(&answer));
    Ok(())
}

pub(crate) async fn half(args: Args) -> Outcome {
    let mut connection = reach(args.text(0)?).await?;
    let bytes = vec![7; args.number(1, 1)?];
    println!("sent {}", connection.write(bytes).await);
    let Connection {
        socket,
        mut input,
        output,
        received,
        sent,
    } = connection;
    drop(output);
    println!("finished {}", outcome(&sent.await));
    let mut answer = Vec::new();
    while let Some(more) = crate::stream::read(&mut input, BUFFER).await {
        answer.extend(more);
    }
    println!("answer {}", String::from_utf8_lossy(&answer).trim());
    println!("received {}", outcome(&received.await));
    drop(socket);
    Ok(())
}

pub(crate) async fn many(args: Args) -> Outcome {
    let address = args.text(0)?;
    let count = args.number(1, 0_usize)?;
    let connections = join_all((0..count).map(|_| reach(address))).await;
    let mut all = Vec::new();
    for connection in connections {
        all.push(connection?);
    }
    let used = all
        .into_iter()
        .enumerate()
        .map(async |(index, mut connection)| {
            let sent = vec![index as u8];
            connection.write(sent.clone()).await;
            connection.read_exact(1).await == sent
        });
    match join_all(used).await.into_iter().all(|same| same) {
        true => println!("connections {count}"),
        false => return Err("a byte came back on another connection".to_owned()),
    }
    Ok(())
}

pub(crate) async fn crowd(args: Args) -> Outcome {
    let address = literal(args.text(0)?)?;
    let first = reach(args.text(0)?).await?;
    let mut sockets = vec![first.socket];
    for _ in 1..args.number(1, 1_usize)? {
        match connected(address).await {
            Ok(socket) => sockets.push(socket),
            Err(code) => {
                println!("refused after {} {}", sockets.len(), word(&code));
                return Ok(());
            }
        }
    }
    println!("connections {}", sockets.len());
    Ok(())
}

pub(crate) async fn push(args: Args) -> Outcome {
    let mut connection = reach(args.text(0)?).await?;
    let mut taken = 0;
    loop {
        let mut write = pin!(connection.output.write(vec![1; BUFFER]));
        let (result, rest) = match futures::poll!(write.as_mut()) {
            Poll::Ready(written) => written,
            Poll::Pending => write.as_mut().cancel(),
        };
        taken += BUFFER - rest.remaining();
        if !matches!(result, StreamResult::Complete(_)) {
            println!("taken {taken} {result:?}");
            return sleep_forever().await;
        }
    }
}

pub(crate) async fn options(args: Args) -> Outcome {
    let Connection { socket, .. } = reach(args.text(0)?).await?;
    println!("set hop-limit {}", outcome(&socket.set_hop_limit(42)));
    println!("hop-limit {:?}", socket.get_hop_limit().ok());
    println!(
        "set keep-alive {}",
        outcome(&socket.set_keep_alive_enabled(true))
    );
    println!("keep-alive {:?}", socket.get_keep_alive_enabled().ok());
    println!("set count {}", outcome(&socket.set_keep_alive_count(0)));
    println!(
        "set buffer {}",
        outcome(&socket.set_send_buffer_size(100_000))
    );
    println!("buffer {:?}", socket.get_send_buffer_size().ok());
    println!(
        "set backlog {}",
        outcome(&socket.set_listen_backlog_size(1))
    );
    println!("is-listening {}", socket.get_is_listening());
    Ok(())
}

pub(crate) async fn resolve(args: Args) -> Outcome {
    for name in args.all() {
        match resolve_addresses(name.to_owned()).await {
            Ok(found) => {
                let found = found.into_iter().map(|address| ip(address).to_string());
                println!("resolve {name} {}", found.collect::<Vec<_>>().join(" "));
            }
            Err(code) => println!("resolve {name} {code:?}"),
        }
    }
    Ok(())
}
