//! The two calls of preview 1 that std does not offer: what a descriptor is, and taking it over.

use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::FromRawFd;

/// `filetype` of a stream socket.
const SOCKET_STREAM: u8 = 6;

/// `fdstat` as preview 1 lays it out: 24 bytes, the file type first.
#[repr(C, align(8))]
struct Fdstat {
    file_type: u8,
    rest: [u8; 23],
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn fd_fdstat_get(fd: i32, stat: *mut Fdstat) -> i32;
}

/// Whether this descriptor is there and is a stream socket.
pub(crate) fn is_stream_socket(fd: i32) -> bool {
    let mut stat = MaybeUninit::<Fdstat>::uninit();
    // SAFETY: the host writes a whole Fdstat there when it answers 0, and nothing else otherwise.
    unsafe {
        fd_fdstat_get(fd, stat.as_mut_ptr()) == 0
            && stat.assume_init_ref().file_type == SOCKET_STREAM
    }
}

/// The listener that the host made. Called once for each descriptor.
pub(crate) fn listener(fd: i32) -> TcpListener {
    // SAFETY: the descriptor came from the host for this program and has no other owner.
    unsafe { TcpListener::from_raw_fd(fd) }
}
