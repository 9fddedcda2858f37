//! Listeners and connections: `sock_accept`, `sock_recv`, `sock_send`, `sock_shutdown`.
//!
//! Preview 1 cannot make a socket. A module that imports `sock_accept` gets one listener for each
//! TCP port that its container declares, numbered after the preopened directory and told by
//! LISTEN_FDS and LISTEN_FDNAMES as systemd does. A listener is bound when it is first used, so a
//! port that is declared and never served stays free.

use std::future::poll_fn;
use std::net::Shutdown;
use std::sync::Arc;

use net::{NetError, PodNet, TcpStream};
use wasmtime::{Caller, Linker};

use super::MODULE;
use super::abi::fdflags;
use super::descriptors::{Descriptor, Descriptors};
use super::errno::Errno;
use super::memory::{Buffers, Call, Iovecs, answer};
use crate::guest::Guest;
use crate::listening::Listening;

/// `riflags`: leave the bytes there.
const RECV_PEEK: u32 = 1;
/// `riflags`: wait until the buffers are full.
const RECV_WAITALL: u32 = 1 << 1;
/// `sdflags`: no more reading.
const SHUT_RD: u32 = 1;
/// `sdflags`: no more writing.
const SHUT_WR: u32 = 1 << 1;

/// A declared port.
pub(super) struct Listener {
    port: u16,
    /// Once it is used.
    listening: Option<Arc<Listening>>,
    pub(super) nonblocking: bool,
}

/// An accepted connection.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) nonblocking: bool,
}

/// How to receive.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Receive {
    /// Leave the bytes there. Looks at the first buffer only.
    peek: bool,
    /// Wait until every buffer is full.
    all: bool,
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker
        .func_wrap_async(
            MODULE,
            "sock_accept",
            |caller, (fd, flags, out): (u32, u32, u32)| {
                Box::new(async move {
                    answer(sock_accept(&mut Call::new(caller)?, fd, flags, out).await)
                })
            },
        )?
        .func_wrap_async(
            MODULE,
            "sock_recv",
            |caller, (fd, iovs, count, flags, out, out_flags): (u32, u32, u32, u32, u32, u32)| {
                Box::new(async move {
                    let call = &mut Call::new(caller)?;
                    answer(sock_recv(call, fd, (iovs, count), flags, (out, out_flags)).await)
                })
            },
        )?
        .func_wrap_async(
            MODULE,
            "sock_send",
            |caller, (fd, iovs, count, flags, out): (u32, u32, u32, u32, u32)| {
                Box::new(async move {
                    answer(sock_send(&mut Call::new(caller)?, fd, (iovs, count), flags, out).await)
                })
            },
        )?
        .func_wrap(
            MODULE,
            "sock_shutdown",
            |caller: Caller<'_, Guest>, fd: u32, how: u32| {
                answer(sock_shutdown(&mut Call::new(caller)?, fd, how))
            },
        )?;
    Ok(())
}

async fn sock_accept(call: &mut Call<'_>, fd: u32, flags: u32, out: u32) -> Result<(), Errno> {
    if flags & !u32::from(fdflags::NONBLOCK) != 0 {
        return Err(Errno::Inval);
    }
    call.check(out, 4)?;
    call.table().check_room()?;
    let net = call.guest().net.clone();
    let (listening, waits) = match socket(call.table(), fd)? {
        Descriptor::Listener(listener) => (listener.open(&net).await?, !listener.nonblocking),
        _ => return Err(Errno::Inval),
    };
    let stream = accept(&listening, waits).await?;
    let connection = Connection {
        stream,
        nonblocking: flags != 0,
    };
    let new = call.table().insert(Descriptor::Connection(connection))?;
    call.write(out, &new.to_le_bytes())
}

async fn sock_recv(
    call: &mut Call<'_>,
    fd: u32,
    iovs: Iovecs,
    flags: u32,
    (out, out_flags): (u32, u32),
) -> Result<(), Errno> {
    if flags & !(RECV_PEEK | RECV_WAITALL) != 0 {
        return Err(Errno::Inval);
    }
    call.check(out, 4)?;
    call.check(out_flags, 2)?;
    let how = Receive {
        peek: flags & RECV_PEEK != 0,
        all: flags & RECV_WAITALL != 0,
    };
    let connection = connection(call.table(), fd)?;
    let buffers = call.buffers(iovs)?;
    let received = receive(call, &connection, buffers, how).await?;
    // A stream has no message that could have been cut: no flag is ever set.
    call.write(out_flags, &[0; 2])?;
    call.write_size(out, received)
}

async fn sock_send(
    call: &mut Call<'_>,
    fd: u32,
    iovs: Iovecs,
    flags: u32,
    out: u32,
) -> Result<(), Errno> {
    if flags != 0 {
        return Err(Errno::Inval);
    }
    call.check(out, 4)?;
    let connection = connection(call.table(), fd)?;
    let buffers = call.buffers(iovs)?;
    let sent = send(call, &connection, buffers).await?;
    call.write_size(out, sent)
}

fn sock_shutdown(call: &mut Call<'_>, fd: u32, how: u32) -> Result<(), Errno> {
    let connection = connection(call.table(), fd)?;
    connection.stream.shutdown(match how {
        SHUT_RD => Shutdown::Read,
        SHUT_WR => Shutdown::Write,
        both if both == SHUT_RD | SHUT_WR => Shutdown::Both,
        _ => return Err(Errno::Inval),
    });
    Ok(())
}

/// Receives into buffers and tells how many bytes; 0 at the end.
pub(super) async fn receive(
    call: &mut Call<'_>,
    connection: &Connection,
    mut buffers: Buffers,
    how: Receive,
) -> Result<usize, Errno> {
    let stream = &connection.stream;
    let mut received = 0;
    while buffers.left() > 0 {
        let part = call.part_mut(buffers.front())?;
        let length = part.len();
        let got = if how.peek {
            stream.try_peek(part)
        } else {
            stream.try_read(part)
        };
        match got {
            Ok(bytes) => {
                received += bytes;
                buffers.advance(bytes);
                // Having looked at bytes, one would see the same ones again.
                if bytes == 0 || how.peek || (bytes < length && !how.all) {
                    break;
                }
            }
            Err(NetError::WouldBlock) if connection.nonblocking || (received > 0 && !how.all) => {
                return if received > 0 {
                    Ok(received)
                } else {
                    Err(Errno::Again)
                };
            }
            Err(NetError::WouldBlock) => poll_fn(|cx| stream.poll_read_ready(cx)).await,
            Err(_) if received > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(received)
}

/// Sends buffers and tells how many bytes were taken: all of them where it may wait.
pub(super) async fn send(
    call: &mut Call<'_>,
    connection: &Connection,
    mut buffers: Buffers,
) -> Result<usize, Errno> {
    let stream = &connection.stream;
    let mut sent = 0;
    while buffers.left() > 0 {
        match stream.try_write(call.part(buffers.front())?) {
            Ok(bytes) => {
                sent += bytes;
                buffers.advance(bytes);
            }
            Err(NetError::WouldBlock) if connection.nonblocking => {
                return if sent > 0 {
                    Ok(sent)
                } else {
                    Err(Errno::Again)
                };
            }
            Err(NetError::WouldBlock) => poll_fn(|cx| stream.poll_write_ready(cx)).await,
            Err(_) if sent > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sent)
}

async fn accept(listening: &Listening, waits: bool) -> Result<TcpStream, Errno> {
    loop {
        match listening.try_accept() {
            Err(NetError::WouldBlock) if waits => {
                poll_fn(|cx| listening.poll_acceptable(cx)).await;
            }
            accepted => return Ok(accepted?),
        }
    }
}

/// A socket. Errors: bad descriptor for directories, not a socket for the rest; the conformance
/// tests ask for that difference.
fn socket(table: &mut Descriptors, fd: u32) -> Result<&mut Descriptor, Errno> {
    match table.get_mut(fd)? {
        Descriptor::Directory(_) => Err(Errno::Badf),
        Descriptor::Input(_) | Descriptor::Output(_) | Descriptor::File(_) => Err(Errno::Notsock),
        socket @ (Descriptor::Listener(_) | Descriptor::Connection(_)) => Ok(socket),
    }
}

fn connection(table: &mut Descriptors, fd: u32) -> Result<Connection, Errno> {
    match socket(table, fd)? {
        Descriptor::Connection(connection) => Ok(connection.clone()),
        _ => Err(Errno::Notconn),
    }
}

// === impl Listener ===

impl Listener {
    /// A declared port, not bound yet.
    pub(super) fn new(port: u16) -> Self {
        Self {
            port,
            listening: None,
            nonblocking: false,
        }
    }

    /// Listens, unless it does. Tried anew each time, so that a port which another container of the
    /// pod gives up can be had.
    pub(super) async fn open(&mut self, net: &PodNet) -> Result<Arc<Listening>, NetError> {
        if let Some(listening) = &self.listening {
            return Ok(Arc::clone(listening));
        }
        let listening = Arc::new(Listening::open(net, self.port, None).await?);
        self.listening = Some(Arc::clone(&listening));
        Ok(listening)
    }

    /// What accepts, once it is open.
    pub(super) fn listening(&self) -> Option<Arc<Listening>> {
        self.listening.clone()
    }
}
