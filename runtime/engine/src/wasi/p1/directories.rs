//! Open directories: `fd_readdir` and the names of the preopened ones.
//!
//! A cookie is an index: 0 is ".", 1 is "..", then the entries in the order in which the listing
//! has them. Beginning again at 0 reads the directory anew.

use volume::{DirEntry, FsError, Listing, Node};
use wasmtime::{Caller, Linker};

use super::MODULE;
use super::abi::{FileType, PreopenType, pack_dirent, pack_prestat};
use super::descriptors::{Descriptor, PREOPEN};
use super::errno::Errno;
use super::memory::{Call, answer};
use crate::guest::Guest;

/// Bytes of entries that the host holds at once; a guest's buffer may be larger.
const CHUNK: usize = 64 << 10;

/// Where reading a directory stands.
struct Reading {
    node: Node,
    /// Opened at the first entry beyond "..".
    listing: Option<Listing>,
    /// The next entry.
    cookie: u64,
    /// Whether there is no further one.
    ended: bool,
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker
        .func_wrap_async(
            MODULE,
            "fd_readdir",
            |caller, (fd, buffer, length, cookie, out): (u32, u32, u32, u64, u32)| {
                Box::new(async move {
                    answer(
                        fd_readdir(&mut Call::new(caller)?, fd, (buffer, length), cookie, out)
                            .await,
                    )
                })
            },
        )?
        .func_wrap(
            MODULE,
            "fd_prestat_get",
            |caller: Caller<'_, Guest>, fd: u32, out: u32| {
                answer(fd_prestat_get(&mut Call::new(caller)?, fd, out))
            },
        )?
        .func_wrap(
            MODULE,
            "fd_prestat_dir_name",
            |caller: Caller<'_, Guest>, fd: u32, out: u32, length: u32| {
                answer(fd_prestat_dir_name(
                    &mut Call::new(caller)?,
                    fd,
                    out,
                    length,
                ))
            },
        )?;
    Ok(())
}

fn fd_prestat_get(call: &mut Call<'_>, fd: u32, out: u32) -> Result<(), Errno> {
    let (kind, name) = preopen(call, fd)?;
    let length = u32::try_from(name.len()).map_err(|_| Errno::Overflow)?;
    call.write(out, &pack_prestat(kind, length))
}

fn fd_prestat_dir_name(call: &mut Call<'_>, fd: u32, out: u32, length: u32) -> Result<(), Errno> {
    let (_, name) = preopen(call, fd)?;
    if usize::try_from(length).is_ok_and(|length| length < name.len()) {
        return Err(Errno::Nametoolong);
    }
    call.write(out, name.as_bytes())
}

/// What is open from the start, and its name. Language runtimes ask for each number from 3 on, take
/// a bad descriptor for the end, and leave out what is not a directory.
fn preopen(call: &mut Call<'_>, fd: u32) -> Result<(PreopenType, &'static str), Errno> {
    match call.table().get(fd)? {
        Descriptor::Directory(directory) if directory.preopened => {
            Ok((PreopenType::Directory, PREOPEN))
        }
        Descriptor::Listener(_) => Ok((PreopenType::Listener, "")),
        _ => Err(Errno::Badf),
    }
}

/// Fills the buffer to its end, unless the directory ends first: that is how a guest can tell.
async fn fd_readdir(
    call: &mut Call<'_>,
    fd: u32,
    (buffer, length): (u32, u32),
    cookie: u64,
    out: u32,
) -> Result<(), Errno> {
    call.check(out, 4)?;
    call.check(buffer, length)?;
    let directory = call.table().directory(fd)?;
    let listing = directory.listing.take().filter(|_| cookie > 0);
    let mut reading = Reading {
        node: directory.node.clone(),
        listing,
        cookie,
        ended: false,
    };
    let mut used = 0;
    while used < length && !reading.ended {
        let room = usize::try_from(length - used).map_err(|_| Errno::Overflow)?;
        let (packed, after) = call.blocking(move || reading.pack(room)).await?;
        reading = after;
        call.write(buffer.saturating_add(used), &packed)?;
        used = used.saturating_add(u32::try_from(packed.len()).map_err(|_| Errno::Overflow)?);
    }
    if !reading.ended {
        call.table().directory(fd)?.listing = reading.listing;
    }
    call.write(out, &used.to_le_bytes())
}

// === impl Reading ===

impl Reading {
    /// The next entries: about a chunk, or as many as there is room for, the last one cut.
    fn pack(mut self, room: usize) -> Result<(Vec<u8>, Self), FsError> {
        let mut packed = Vec::new();
        while packed.len() < room.min(CHUNK) {
            let Some((entry, file_type)) = self.next()? else {
                self.ended = true;
                break;
            };
            self.cookie += 1;
            packed.extend_from_slice(&pack_dirent(
                self.cookie,
                entry.inode,
                &entry.name,
                file_type,
            ));
            packed.extend_from_slice(entry.name.as_bytes());
        }
        packed.truncate(room);
        Ok((packed, self))
    }

    fn next(&mut self) -> Result<Option<(DirEntry, FileType)>, FsError> {
        let Some(index) = self.cookie.checked_sub(2) else {
            let name = if self.cookie == 0 { "." } else { ".." };
            let stat = self.node.stat()?;
            // What ".." is lies outside of what this descriptor can tell.
            let entry = DirEntry {
                name: name.to_owned(),
                kind: stat.kind,
                inode: stat.identity.lower,
            };
            return Ok(Some((entry, FileType::Directory)));
        };
        if self.listing.is_none() {
            self.listing = Some(self.node.read_dir()?);
        }
        let entry = match &mut self.listing {
            Some(listing) => listing.entry(index)?,
            None => None,
        };
        Ok(entry.map(|entry| {
            let file_type = entry.kind.into();
            (entry, file_type)
        }))
    }
}
