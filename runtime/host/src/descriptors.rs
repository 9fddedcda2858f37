//! Descriptors over a socket, each with a number that tells what it is for.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::Mutex;

/// One end of the second socket.
#[derive(Debug)]
pub(crate) struct Descriptors {
    socket: UnixDatagram,
    /// Arrived, and not asked for yet.
    waiting: Mutex<HashMap<u64, OwnedFd>>,
}

// === impl Descriptors ===

impl Descriptors {
    pub(crate) fn new(socket: UnixDatagram) -> Self {
        Self {
            socket,
            waiting: Mutex::default(),
        }
    }

    /// Sends a descriptor for this number.
    pub(crate) async fn send(&self, number: u64, fd: &OwnedFd) -> io::Result<()> {
        self.socket
            .async_io(Interest::WRITABLE, || {
                send_now(self.socket.as_fd(), number, fd.as_fd())
            })
            .await
    }

    /// The descriptor for this number; others that arrive before it are kept.
    pub(crate) async fn receive(&self, number: u64) -> io::Result<OwnedFd> {
        let mut waiting = self.waiting.lock().await;
        loop {
            if let Some(fd) = waiting.remove(&number) {
                return Ok(fd);
            }
            let arrived = self
                .socket
                .async_io(Interest::READABLE, || receive_now(self.socket.as_fd()))
                .await;
            let (arrived, fd) = arrived?;
            waiting.insert(arrived, fd);
        }
    }
}

fn send_now(socket: BorrowedFd<'_>, number: u64, fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    sendmsg(
        socket,
        &[IoSlice::new(&number.to_le_bytes())],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

fn receive_now(socket: BorrowedFd<'_>) -> io::Result<(u64, OwnedFd)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut number = [0; 8];
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut number)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let fds = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fd = fds
        .flatten()
        .next()
        .ok_or_else(|| io::Error::other("a message without its descriptor"))?;
    Ok((u64::from_le_bytes(number), fd))
}
