//! Reading and writing: `fd_read`, `fd_write`, `fd_pread`, `fd_pwrite`, on every kind of descriptor.
//!
//! The host holds one chunk of a transfer at a time, however much the guest asks for; sockets
//! read and write the guest's memory in place.

use bytes::Bytes;
use volume::Node;
use wasmtime::Linker;

use super::MODULE;
use super::descriptors::{Descriptor, File};
use super::errno::Errno;
use super::memory::{Buffers, Call, Iovecs, answer};
use super::sockets::{self, Receive};
use super::stdio::CHUNK;
use crate::guest::Guest;

/// Where in a file to read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// At the descriptor's own offset, which moves on.
    Current,
    /// Here; the descriptor's offset stays.
    At(u64),
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker
        .func_wrap_async(
            MODULE,
            "fd_read",
            |caller, (fd, iovs, count, out): (u32, u32, u32, u32)| {
                Box::new(async move {
                    answer(fd_read(&mut Call::new(caller)?, fd, (iovs, count), out).await)
                })
            },
        )?
        .func_wrap_async(
            MODULE,
            "fd_write",
            |caller, (fd, iovs, count, out): (u32, u32, u32, u32)| {
                Box::new(async move {
                    answer(fd_write(&mut Call::new(caller)?, fd, (iovs, count), out).await)
                })
            },
        )?
        .func_wrap_async(
            MODULE,
            "fd_pread",
            |caller, (fd, iovs, count, offset, out): (u32, u32, u32, u64, u32)| {
                Box::new(async move {
                    answer(fd_pread(&mut Call::new(caller)?, fd, (iovs, count), offset, out).await)
                })
            },
        )?
        .func_wrap_async(
            MODULE,
            "fd_pwrite",
            |caller, (fd, iovs, count, offset, out): (u32, u32, u32, u64, u32)| {
                Box::new(async move {
                    answer(fd_pwrite(&mut Call::new(caller)?, fd, (iovs, count), offset, out).await)
                })
            },
        )?;
    Ok(())
}

async fn fd_read(call: &mut Call<'_>, fd: u32, iovs: Iovecs, out: u32) -> Result<(), Errno> {
    call.check(out, 4)?;
    let buffers = call.buffers(iovs)?;
    let read = match call.table().get_mut(fd)? {
        Descriptor::Input(_) => read_input(call, fd, buffers).await?,
        Descriptor::File(_) => read_file(call, fd, buffers, Position::Current).await?,
        Descriptor::Connection(connection) => {
            let connection = connection.clone();
            sockets::receive(call, &connection, buffers, Receive::default()).await?
        }
        Descriptor::Output(_) => return Err(Errno::Badf),
        Descriptor::Directory(_) => return Err(Errno::Isdir),
        Descriptor::Listener(_) => return Err(Errno::Notconn),
    };
    call.write_size(out, read)
}

async fn fd_write(call: &mut Call<'_>, fd: u32, iovs: Iovecs, out: u32) -> Result<(), Errno> {
    call.check(out, 4)?;
    let buffers = call.buffers(iovs)?;
    let written = match call.table().get_mut(fd)? {
        Descriptor::Output(_) => write_output(call, fd, buffers).await?,
        Descriptor::File(_) => write_file(call, fd, buffers, Position::Current).await?,
        Descriptor::Connection(connection) => {
            let connection = connection.clone();
            sockets::send(call, &connection, buffers).await?
        }
        Descriptor::Input(_) | Descriptor::Directory(_) => return Err(Errno::Badf),
        Descriptor::Listener(_) => return Err(Errno::Notconn),
    };
    call.write_size(out, written)
}

async fn fd_pread(
    call: &mut Call<'_>,
    fd: u32,
    iovs: Iovecs,
    offset: u64,
    out: u32,
) -> Result<(), Errno> {
    call.check(out, 4)?;
    let buffers = call.buffers(iovs)?;
    let read = read_file(call, fd, buffers, Position::At(offset)).await?;
    call.write_size(out, read)
}

async fn fd_pwrite(
    call: &mut Call<'_>,
    fd: u32,
    iovs: Iovecs,
    offset: u64,
    out: u32,
) -> Result<(), Errno> {
    call.check(out, 4)?;
    let buffers = call.buffers(iovs)?;
    let written = write_file(call, fd, buffers, Position::At(offset)).await?;
    call.write_size(out, written)
}

/// Waits for the first bytes only.
async fn read_input(call: &mut Call<'_>, fd: u32, mut buffers: Buffers) -> Result<usize, Errno> {
    let Descriptor::Input(input) = call.table().get_mut(fd)? else {
        return Err(Errno::Badf);
    };
    let bytes = input.read(buffers.left()).await?;
    buffers.scatter(call.split().0, &bytes);
    Ok(bytes.len())
}

async fn write_output(call: &mut Call<'_>, fd: u32, mut buffers: Buffers) -> Result<usize, Errno> {
    let mut written = 0;
    while buffers.left() > 0 {
        let chunk = buffers.gather(call.split().0, CHUNK);
        let wanted = chunk.len();
        let Descriptor::Output(output) = call.table().get_mut(fd)? else {
            return Err(Errno::Badf);
        };
        let done = match output.write(Bytes::from(chunk)).await {
            Err(_) if written > 0 => return Ok(written),
            result => result?,
        };
        written += done;
        buffers.advance(done);
        if done < wanted {
            break;
        }
    }
    Ok(written)
}

/// Reads a file until the buffers are full or it ends: programs that do not expect a short read
/// before the end of a file are many.
async fn read_file(
    call: &mut Call<'_>,
    fd: u32,
    mut buffers: Buffers,
    from: Position,
) -> Result<usize, Errno> {
    let file = call.table().file(fd)?;
    if !file.node.flags().read {
        return Err(Errno::Badf);
    }
    let (node, offset) = (file.node.clone(), from.resolve(file));
    let mut read = 0;
    while buffers.left() > 0 {
        let wanted = buffers.left().min(CHUNK);
        let bytes = match read_chunk(call, &node, after(offset, read)?, wanted).await {
            Err(_) if read > 0 => break,
            result => result?,
        };
        buffers.scatter(call.split().0, &bytes);
        read += bytes.len();
        if bytes.len() < wanted {
            break;
        }
    }
    if from == Position::Current {
        call.table().file(fd)?.offset = after(offset, read)?;
    }
    Ok(read)
}

async fn read_chunk(
    call: &mut Call<'_>,
    node: &Node,
    offset: u64,
    length: usize,
) -> Result<Vec<u8>, Errno> {
    let node = node.clone();
    call.blocking(move || {
        let mut chunk = vec![0; length];
        let read = node.read_at(&mut chunk, offset)?;
        chunk.truncate(read);
        Ok(chunk)
    })
    .await
}

/// Writes all of the buffers unless the file takes less. Appending is at the end even with an
/// offset given, as on Linux; each chunk is appended whole.
async fn write_file(
    call: &mut Call<'_>,
    fd: u32,
    mut buffers: Buffers,
    to: Position,
) -> Result<usize, Errno> {
    let file = call.table().file(fd)?;
    if !file.node.flags().write {
        return Err(Errno::Badf);
    }
    let (node, offset, append) = (file.node.clone(), to.resolve(file), file.append);
    let mut written = 0;
    while buffers.left() > 0 {
        let chunk = buffers.gather(call.split().0, CHUNK);
        let (wanted, at) = (chunk.len(), after(offset, written)?);
        let node = node.clone();
        let wrote = call.blocking(move || {
            if append {
                node.append(&chunk)
            } else {
                node.write_at(&chunk, at)
            }
        });
        let done = match wrote.await {
            Err(_) if written > 0 => break,
            result => result?,
        };
        written += done;
        buffers.advance(done);
        if done < wanted {
            break;
        }
    }
    if to == Position::Current {
        let end = if append {
            call.blocking(move || node.stat()).await?.size
        } else {
            after(offset, written)?
        };
        call.table().file(fd)?.offset = end;
    }
    Ok(written)
}

// === impl Position ===

impl Position {
    fn resolve(self, file: &File) -> u64 {
        match self {
            Self::Current => file.offset,
            Self::At(offset) => offset,
        }
    }
}

/// The offset behind what was transferred.
fn after(offset: u64, transferred: usize) -> Result<u64, Errno> {
    let transferred = u64::try_from(transferred).map_err(|_| Errno::Overflow)?;
    offset.checked_add(transferred).ok_or(Errno::Overflow)
}
