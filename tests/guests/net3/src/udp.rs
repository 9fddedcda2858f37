//! Datagrams.

use futures::future::{Either, join_all, select};
use std::net::SocketAddr;
use std::pin::pin;
use wasip3::sockets::types::{IpAddressFamily, IpSocketAddress, UdpSocket};

use crate::address::{addresses, family, literal, of_wasi, outcome, shown, told, word};
use crate::client::{PATIENCE, pause};
use crate::{Args, Outcome};

const LOCALHOST: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// One byte more than a datagram over IPv4 carries.
const TOO_MUCH: usize = 65_508;

fn bound(address: IpSocketAddress) -> Result<UdpSocket, String> {
    let socket = UdpSocket::create(family(address)).map_err(told("a socket"))?;
    let text = shown(address).to_string();
    socket.bind(address).map_err(told(&text))?;
    Ok(socket)
}

/// A socket at some port of localhost, and its address.
fn local() -> Result<(UdpSocket, IpSocketAddress), String> {
    let socket = bound(of_wasi(SocketAddr::from(LOCALHOST)))?;
    let address = socket.get_local_address().map_err(told("local"))?;
    Ok((socket, address))
}

pub(crate) async fn echo(args: Args) -> Outcome {
    let socket = bound(literal(args.text(0)?)?)?;
    let local = socket.get_local_address().map_err(told("local"))?;
    println!("listening {}", shown(local));
    for _ in 0..args.number(1, usize::MAX)? {
        let (data, sender) = socket.receive().await.map_err(told("receive"))?;
        println!("heard {} from {}", data.len(), shown(sender));
        socket
            .send(data, Some(sender))
            .await
            .map_err(told("send"))?;
    }
    Ok(())
}

pub(crate) async fn ask(args: Args) -> Outcome {
    let (socket, address) = open(&args).await?;
    let text = args.text(1)?;
    let mut answer = pin!(socket.receive());
    for _ in 0..PATIENCE {
        // Nobody may listen yet; that can show here.
        let _ = socket.send(text.into(), Some(address)).await;
        match select(answer, pin!(pause())).await {
            Either::Left((answer, _)) => {
                let (data, sender) = answer.map_err(told("receive"))?;
                let text = String::from_utf8_lossy(&data);
                println!("answer {text} from {}", shown(sender));
                return Ok(());
            }
            Either::Right((_, waits)) => answer = waits,
        }
    }
    println!("answer none");
    Ok(())
}

pub(crate) async fn send(args: Args) -> Outcome {
    let (socket, address) = open(&args).await?;
    match socket.send(args.text(1)?.into(), Some(address)).await {
        Ok(()) => println!("sent to {}", shown(address)),
        Err(code) => println!("send {} {}", shown(address), word(&code)),
    }
    Ok(())
}

/// A socket bound to the third argument, or to any address of the family of the first.
async fn open(args: &Args) -> Result<(UdpSocket, IpSocketAddress), String> {
    let address = addresses(args.text(0)?).await?.into_iter().next();
    let address = address.ok_or("no address")?;
    let any = match family(address) {
        IpAddressFamily::Ipv4 => "0.0.0.0:0",
        IpAddressFamily::Ipv6 => "[::]:0",
    };
    let from = literal(args.text(2).unwrap_or(any))?;
    Ok((bound(from)?, address))
}

pub(crate) async fn peer() -> Outcome {
    let (socket, own) = local()?;
    let (friend, theirs) = local()?;
    let (stranger, strange) = local()?;
    println!("disconnect {}", outcome(&socket.disconnect()));
    println!("send {}", outcome(&socket.send(vec![1], None).await));
    println!(
        "large {}",
        outcome(&socket.send(vec![0; TOO_MUCH], Some(theirs)).await)
    );
    println!("connect {}", outcome(&socket.connect(theirs)));
    for (sender, byte) in [(&stranger, 1), (&friend, 2)] {
        sender
            .send(vec![byte], Some(own))
            .await
            .map_err(told("send"))?;
    }
    let (data, _) = socket.receive().await.map_err(told("receive"))?;
    println!("received {data:?}");
    println!(
        "to a stranger {}",
        outcome(&socket.send(vec![1], Some(strange)).await)
    );
    println!("to the peer {}", outcome(&socket.send(vec![1], None).await));
    println!("again {}", outcome(&socket.connect(strange)));
    stranger
        .send(vec![3], Some(own))
        .await
        .map_err(told("send"))?;
    let (data, _) = socket.receive().await.map_err(told("receive"))?;
    println!("received {data:?}");
    println!("disconnect {}", outcome(&socket.disconnect()));
    println!("peer {}", outcome(&socket.get_remote_address()));
    Ok(())
}

pub(crate) async fn crowd(args: Args) -> Outcome {
    let count = args.number(0, 100_usize)?;
    let (socket, own) = local()?;
    let (sender, _) = local()?;
    let receives = join_all((0..count).map(|_| socket.receive()));
    let sends = async {
        for number in 0..count {
            sender.send(vec![number as u8], Some(own)).await?;
        }
        Ok(())
    };
    let (received, sent) = futures::join!(receives, sends);
    sent.map_err(told("send"))?;
    let received = received.into_iter().enumerate();
    let in_order = received
        .filter(|(number, received)| matches!(received, Ok((data, _)) if data == &[*number as u8]));
    println!("received in order {}", in_order.count());
    Ok(())
}
