//! Descriptors from the parent to a child, each with a number that tells what it is for.
//!
//! They go down only. A child could otherwise hand the parent, or through it another child, what
//! the other may not open; it has no system call to send one with.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::sync::{Mutex, PoisonError};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// The parent's end.
#[derive(Debug)]
pub(crate) struct Sender {
    socket: UnixDatagram,
}

/// The child's end.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: OwnedFd,
    /// Arrived, and not asked for yet.
    waiting: Mutex<HashMap<u64, OwnedFd>>,
}

/// Packets in order with an end, unlike datagrams: such a socket has one peer for good, where one
/// of datagrams could be pointed at other programs of the machine.
///
/// # Errors
/// When the system has no sockets left.
pub(crate) fn packet_pair() -> io::Result<(UnixDatagram, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (near, far) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    Ok((UnixDatagram::from_std(StdDatagram::from(near))?, far))
}

// === impl Sender ===

impl Sender {
    /// Both ends.
    ///
    /// # Errors
    /// When the system has no sockets left.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (socket, far) = packet_pair()?;
        // Nobody reads here: what a child sends is refused by the kernel and piles up nowhere.
        rustix::net::shutdown(&socket, Shutdown::Read)?;
        Ok((Self { socket }, far))
    }

    /// Sends a descriptor under this number, as soon as there is room.
    ///
    /// # Errors
    /// When the child is gone.
    pub(crate) async fn send(&self, number: u64, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.socket
            .async_io(Interest::WRITABLE, || {
                send_now(self.socket.as_fd(), number, fd)
            })
            .await
    }

    /// Sends one to a child that has been sent few yet.
    ///
    /// # Errors
    /// When there is no room, or the child is gone.
    pub(crate) fn send_first(&self, number: u64, fd: BorrowedFd<'_>) -> io::Result<()> {
        send_now(self.socket.as_fd(), number, fd)
    }
}

// === impl Receiver ===

impl Receiver {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        let waiting = Mutex::default();
        Self { socket, waiting }
    }

    /// The descriptor with this number. It was sent before whatever named the number, so this
    /// waits for nothing; others that come before it are kept.
    ///
    /// # Errors
    /// When it was not sent, or the parent is gone.
    pub(crate) fn take(&self, number: u64) -> io::Result<OwnedFd> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(fd) = waiting.remove(&number) {
                return Ok(fd);
            }
            let (arrived, fd) = receive_now(self.socket.as_fd())?;
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
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
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
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn descriptors_are_found_by_their_numbers_and_go_one_way() {
        let (sender, far) = Sender::pair().expect("a pair");
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        sender.send(7, reader.as_fd()).await.expect("sent");
        sender.send_first(9, writer.as_fd()).expect("sent");
        drop((reader, writer));
        let receiver = Receiver::new(far);
        let writer = receiver.take(9).expect("the second");
        rustix::io::write(&writer, b"x").expect("the writing end");
        let reader = receiver.take(7).expect("the first");
        assert_eq!(rustix::io::read(&reader, &mut [0; 2]).expect("read"), 1);
        let absent = receiver.take(8).expect_err("never sent");
        assert_eq!(absent.kind(), io::ErrorKind::WouldBlock);
        let back = send_now(receiver.socket.as_fd(), 1, reader.as_fd());
        assert_eq!(
            back.expect_err("a child sends none").kind(),
            io::ErrorKind::BrokenPipe
        );
        drop(sender);
        let ended = receiver.take(8).expect_err("the end");
        assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
    }
}
