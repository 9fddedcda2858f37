//! nc: sends its input to a port and writes what comes back.
//!
//! One direction after the other: a guest has one thread, and std cannot wait for input and a
//! socket at once. So it sends all its input, says that this was all, and then reads the answer.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::Duration;

use crate::call::{Call, Failure, Options, Outcome};
use crate::command::sleep::length;

/// How long an answer to a datagram is waited for where `-w` does not say.
const ANSWER_TIME: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// The most that a datagram carries over IPv4.
const DATAGRAM: usize = 65_507;

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("l z u w: p: v n N")?;
    let time = options.value("w").map(length).transpose()?;
    if options.has("l") {
        return listen(call, &options);
    }
    let [host, port] = options.operands.as_slice() else {
        return Err(Failure::usage("name a host and a port"));
    };
    let port = port
        .parse()
        .map_err(|_| Failure::usage(format!("{port}: not a port")))?;
    let shown = format!("{host} port {port}");
    let outcome = match options.has("u") {
        true => datagrams(call, host, port, time.unwrap_or(ANSWER_TIME)),
        false => connect(call, host, port, time, &options),
    };
    outcome.map_err(|error| Failure::at(shown, &error))?;
    Ok(0)
}

fn connect(
    call: &Call<'_>,
    host: &str,
    port: u16,
    time: Option<Duration>,
    options: &Options,
) -> io::Result<()> {
    let stream = open(host, port, time)?;
    if options.has("v") {
        call.warn(format!("connected to {}", stream.peer_addr()?));
    }
    if options.has("z") {
        return Ok(());
    }
    let (mut input, mut out) = (&call.streams.input, &call.streams.out);
    io::copy(&mut input, &mut &stream)?;
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut &stream, &mut out)?;
    Ok(())
}

/// Connects to the first address that answers.
fn open(host: &str, port: u16, time: Option<Duration>) -> io::Result<TcpStream> {
    let Some(time) = time else {
        return TcpStream::connect((host, port));
    };
    let mut last = io::ErrorKind::NotFound.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, time) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Takes one connection: writes what it sends, then answers with the input.
fn listen(call: &Call<'_>, options: &Options) -> Outcome {
    let port = options.value("p").unwrap_or(options.one("")?);
    let port: u16 = port
        .parse()
        .map_err(|_| Failure::usage("name a port to listen on"))?;
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    let (stream, _) = listener.accept()?;
    let (mut input, mut out) = (&call.streams.input, &call.streams.out);
    io::copy(&mut &stream, &mut out)?;
    io::copy(&mut input, &mut &stream)?;
    Ok(0)
}

/// Sends the input as one datagram and writes the answers that come in time.
fn datagrams(call: &Call<'_>, host: &str, port: u16, time: Duration) -> io::Result<()> {
    let address = (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or(io::ErrorKind::NotFound)?;
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any)?;
    socket.send_to(&call.streams.input.all()?, address)?;
    socket.set_nonblocking(true)?;
    let end = std::time::Instant::now() + time;
    let mut buffer = vec![0; DATAGRAM];
    while std::time::Instant::now() < end {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                (&call.streams.out).write_all(buffer.get(..length).unwrap_or_default())?
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use crate::command::testing::Room;

    #[test]
    fn input_is_sent_and_the_answer_written() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let server = std::thread::spawn(move || {
            let (mut probe, _) = listener.accept().unwrap();
            probe.read_to_end(&mut Vec::new()).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            stream.write_all(text.to_uppercase().as_bytes()).unwrap();
        });
        let room = Room::new();
        assert_eq!(
            room.run(&["nc", "-z", "-w", "5", "127.0.0.1", &port]).code,
            0
        );
        let ran = room.run_with(&["nc", "127.0.0.1", &port], "hello");
        assert_eq!((ran.code, ran.out.as_str()), (0, "HELLO"));
        server.join().unwrap();
        let ran = room.run(&["nc", "-z", "127.0.0.1", &port]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("refused"), "{}", ran.err);
    }
}
