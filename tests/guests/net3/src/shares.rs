//! What a socket is worth in each of its states, and once some of what belongs to it is dropped.

use futures::join;
use wasip3::sockets::types::{IpAddressFamily, IpSocketAddress, TcpSocket};
use wasip3::wit_stream;

use crate::Outcome;
use crate::address::{literal, outcome, told};
use crate::client::connected;
use crate::serve::{Listener, listen};
use crate::stream::{Connection, read};

const ANY: &str = "127.0.0.1:0";

/// What is sent while the other side may go.
const MUCH: usize = 4 << 20;

fn socket() -> Result<TcpSocket, String> {
    TcpSocket::create(IpAddressFamily::Ipv4).map_err(told("a socket"))
}

fn address(listener: &Listener) -> Result<IpSocketAddress, String> {
    listener.socket.get_local_address().map_err(told("local"))
}

/// Both ends of a connection.
async fn pair() -> Result<(TcpSocket, TcpSocket), String> {
    let mut listener = listen(ANY)?;
    let client = connected(address(&listener)?)
        .await
        .map_err(told("connect"))?;
    Ok((client, listener.accept().await?))
}

pub(crate) async fn states() -> Outcome {
    let listener = listen(ANY)?;
    let own = address(&listener)?;
    let fresh = socket()?;
    println!("fresh local {}", outcome(&fresh.get_local_address()));
    println!("fresh remote {}", outcome(&fresh.get_remote_address()));
    println!("fresh receive {}", outcome(&fresh.receive().1.await));
    let (mut writer, reader) = wit_stream::new();
    let sent = fresh.send(reader);
    println!("fresh taken {}", writer.write_all(vec![1; 3]).await.len());
    println!("fresh send {}", outcome(&sent.await));
    println!(
        "listener connect {}",
        outcome(&listener.socket.connect(own).await)
    );
    println!("listener listen {}", outcome(&listener.socket.listen()));
    println!("listener bind {}", outcome(&listener.socket.bind(own)));
    for text in ["0.0.0.0:80", "127.0.0.1:0", "[::1]:80", "224.0.0.1:80"] {
        println!(
            "to {text} {}",
            outcome(&fresh.connect(literal(text)?).await)
        );
    }
    println!("connect {}", outcome(&fresh.connect(own).await));
    println!("connected connect {}", outcome(&fresh.connect(own).await));
    println!("connected listen {}", outcome(&fresh.listen()));
    println!(
        "connected backlog {}",
        outcome(&fresh.set_listen_backlog_size(1))
    );
    let (_first, again) = (fresh.receive(), fresh.receive());
    println!("receive again {}", outcome(&again.1.await));
    let ((_writer, reader), (_other, other)) = (wit_stream::new(), wit_stream::new());
    let (_sent, again) = (fresh.send(reader), fresh.send(other));
    println!("send again {}", outcome(&again.await));
    let refused = socket()?;
    let nobody = literal("127.0.0.1:9")?;
    println!("refused {}", outcome(&refused.connect(nobody).await));
    println!("closed connect {}", outcome(&refused.connect(own).await));
    println!("closed local {}", outcome(&refused.get_local_address()));
    Ok(())
}

/// Whether somebody listens there still.
async fn answers(at: IpSocketAddress) -> String {
    outcome(&connected(at).await)
}

pub(crate) async fn shares() -> Outcome {
    let mut listener = listen(ANY)?;
    let own = address(&listener)?;
    let Listener { socket, incoming } = listener;
    drop(incoming);
    println!("socket alone {}", answers(own).await);
    drop(socket);
    println!("neither {}", answers(own).await);
    listener = listen(ANY)?;
    let own = address(&listener)?;
    let Listener {
        socket,
        mut incoming,
    } = listener;
    drop(socket);
    let client = connected(own).await;
    println!("connections alone {}", outcome(&client));
    let accepted = incoming.next().await.ok_or("nobody came")?;
    drop(incoming);
    println!("no more {}", answers(own).await);
    // Of both ends only streams are left.
    let mut client = Connection::of(client.map_err(told("connect"))?);
    let mut server = Connection::of(accepted);
    let Connection { socket, .. } = &mut client;
    let taken = std::mem::replace(socket, self::socket()?);
    drop(taken);
    drop(std::mem::replace(&mut server.socket, self::socket()?));
    client.write(b"still there".to_vec()).await;
    println!(
        "streams alone {}",
        String::from_utf8_lossy(&server.read_exact(11).await)
    );
    // An address that was given up is free at once.
    let again = self::socket()?;
    println!("bind again {}", outcome(&again.bind(own)));
    Ok(())
}

pub(crate) async fn dropped() -> Outcome {
    // The reader goes: the writer's bytes are discarded, and the other direction lives on.
    let (client, server) = pair().await?;
    let (input, received) = client.receive();
    drop(input);
    println!("reader ended {}", outcome(&received.await));
    let mut server = Connection::of(server);
    let (mut writer, reader) = wit_stream::new();
    let sent = client.send(reader);
    let (_, rest) = join!(
        async { server.write(vec![1; 1000]).await },
        writer.write_all(b"onward".to_vec()),
    );
    println!(
        "onward {} {}",
        rest.len(),
        String::from_utf8_lossy(&server.read_exact(6).await)
    );
    drop(writer);
    println!("writer ended {}", outcome(&sent.await));
    println!("end {:?}", server.read().await);
    println!("received {}", outcome(&server.received.await));

    // All of one side goes, with bytes unread: the other hears of it, reading and writing.
    let (client, server) = pair().await?;
    let mut client = Connection::of(client);
    client.write(b"never read".to_vec()).await;
    drop(server);
    let taken = client.write(vec![2; MUCH]).await;
    println!("taken {taken} sent {}", outcome(&client.sent.await));
    println!(
        "read {:?} {}",
        read(&mut client.input, 9).await,
        outcome(&client.received.await)
    );

    // All of one side goes, with bytes on their way: they arrive.
    let (client, server) = pair().await?;
    let mut client = Connection::of(client);
    client.write(vec![3; 100_000]).await;
    let finished = client.finish().await;
    let mut server = Connection::of(server);
    println!(
        "finished {} {}",
        outcome(&finished),
        server.read_to_end().await.len()
    );

    // The listener goes with a connection that nobody accepted.
    let listener = listen(ANY)?;
    let client = connected(address(&listener)?)
        .await
        .map_err(told("connect"))?;
    drop(listener);
    let (mut input, received) = client.receive();
    println!(
        "unaccepted {:?} {}",
        read(&mut input, 9).await,
        outcome(&received.await)
    );

    // A read that is given up takes nothing.
    let (client, server) = pair().await?;
    let (mut client, mut server) = (Connection::of(client), Connection::of(server));
    {
        let mut read = std::pin::pin!(server.input.read(Vec::with_capacity(9)));
        let waits = futures::poll!(read.as_mut()).is_pending();
        let (result, bytes) = read.as_mut().cancel();
        println!("given up {waits} {result:?} {}", bytes.len());
    }
    client.write(b"in time".to_vec()).await;
    println!(
        "then {}",
        String::from_utf8_lossy(&server.read_exact(7).await)
    );
    Ok(())
}
