//! Files and directories by name: everything in `path_*`.
//!
//! Names are relative to an open directory, and the mount table sees to it that none leads out.

use volume::OpenOptions;
use wasmtime::Linker;

use super::MODULE;
use super::abi::{SYMLINK_FOLLOW, fdflags, oflags, pack_stat, rights};
use super::descriptors::{Descriptor, Directory, File};
use super::errno::Errno;
use super::files::{Times, set_times};
use super::memory::{Call, answer};
use crate::guest::Guest;

/// A name below a directory: descriptor, pointer, length.
type Name = (u32, u32, u32);

/// How `path_open` opens: `oflags`, rights, `fdflags`.
type Opening = (u32, u64, u32);

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    add_open(linker)?;
    add_attributes(linker)?;
    add_entries(linker)?;
    add_links(linker)
}

fn add_open(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Params = (u32, u32, u32, u32, u32, u64, u64, u32, u32);
    linker.func_wrap_async(
        MODULE,
        "path_open",
        |caller, (fd, lookup, path, length, how, rights, _inheriting, flags, out): Params| {
            Box::new(async move {
                let (name, opening) = ((fd, path, length), (how, rights, flags));
                answer(path_open(&mut Call::new(caller)?, name, lookup, opening, out).await)
            })
        },
    )?;
    Ok(())
}

fn add_attributes(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type GetParams = (u32, u32, u32, u32, u32);
    type SetParams = (u32, u32, u32, u32, u64, u64, u32);
    linker
        .func_wrap_async(
            MODULE,
            "path_filestat_get",
            |caller, (fd, lookup, path, length, out): GetParams| {
                Box::new(async move {
                    answer(
                        path_filestat_get(&mut Call::new(caller)?, (fd, path, length), lookup, out)
                            .await,
                    )
                })
            },
        )?
        .func_wrap_async(
            MODULE,
            "path_filestat_set_times",
            |caller, (fd, lookup, path, length, accessed, modified, flags): SetParams| {
                Box::new(async move {
                    let (name, times) = ((fd, path, length), (accessed, modified, flags));
                    answer(
                        path_filestat_set_times(&mut Call::new(caller)?, name, lookup, times).await,
                    )
                })
            },
        )?;
    Ok(())
}

fn add_entries(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type RenameParams = (u32, u32, u32, u32, u32, u32);
    linker
        .func_wrap_async(MODULE, "path_create_directory", |caller, name: Name| {
            Box::new(
                async move { answer(path_create_directory(&mut Call::new(caller)?, name).await) },
            )
        })?
        .func_wrap_async(MODULE, "path_remove_directory", |caller, name: Name| {
            Box::new(
                async move { answer(path_remove_directory(&mut Call::new(caller)?, name).await) },
            )
        })?
        .func_wrap_async(MODULE, "path_unlink_file", |caller, name: Name| {
            Box::new(async move { answer(path_unlink_file(&mut Call::new(caller)?, name).await) })
        })?
        .func_wrap_async(
            MODULE,
            "path_rename",
            |caller, (fd, path, length, new_fd, new_path, new_length): RenameParams| {
                Box::new(async move {
                    let (old, new) = ((fd, path, length), (new_fd, new_path, new_length));
                    answer(path_rename(&mut Call::new(caller)?, old, new).await)
                })
            },
        )?;
    Ok(())
}

fn add_links(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type LinkParams = (u32, u32, u32, u32, u32, u32, u32);
    type ReadParams = (u32, u32, u32, u32, u32, u32);
    linker
        .func_wrap_async(
            MODULE,
            "path_link",
            |caller, (fd, lookup, path, length, new_fd, new_path, new_length): LinkParams| {
                Box::new(async move {
                    let (old, new) = ((fd, path, length), (new_fd, new_path, new_length));
                    answer(path_link(&mut Call::new(caller)?, old, lookup, new).await)
                })
            },
        )?
        .func_wrap_async(
            MODULE,
            "path_symlink",
            |caller, (target, target_length, fd, path, length): (u32, u32, u32, u32, u32)| {
                Box::new(async move {
                    let (target, name) = ((target, target_length), (fd, path, length));
                    answer(path_symlink(&mut Call::new(caller)?, target, name).await)
                })
            },
        )?
        .func_wrap_async(
            MODULE,
            "path_readlink",
            |caller, (fd, path, length, buffer, room, out): ReadParams| {
                Box::new(async move {
                    let (name, buffer) = ((fd, path, length), (buffer, room));
                    answer(path_readlink(&mut Call::new(caller)?, name, buffer, out).await)
                })
            },
        )?;
    Ok(())
}

async fn path_open(
    call: &mut Call<'_>,
    name: Name,
    lookup: u32,
    opening: Opening,
    out: u32,
) -> Result<(), Errno> {
    let (_, _, flags) = opening;
    let (follow, options) = (follows(lookup)?, open_options(opening)?);
    call.check(out, 4)?;
    call.table().check_room()?;
    let (directory, path) = named(call, name)?;
    let node = call
        .blocking(move || directory.open_at(&path, follow, &options))
        .await?;
    let opened = if node.is_directory() {
        Descriptor::Directory(Directory {
            node,
            preopened: false,
            listing: None,
        })
    } else {
        Descriptor::File(File {
            node,
            offset: 0,
            append: flags & u32::from(fdflags::APPEND) != 0,
            nonblocking: flags & u32::from(fdflags::NONBLOCK) != 0,
        })
    };
    let fd = call.table().insert(opened)?;
    call.write(out, &fd.to_le_bytes())
}

async fn path_filestat_get(
    call: &mut Call<'_>,
    name: Name,
    lookup: u32,
    out: u32,
) -> Result<(), Errno> {
    let follow = follows(lookup)?;
    let (directory, path) = named(call, name)?;
    let stat = call
        .blocking(move || directory.stat_at(&path, follow))
        .await?;
    call.write(out, &pack_stat(&stat))
}

async fn path_filestat_set_times(
    call: &mut Call<'_>,
    name: Name,
    lookup: u32,
    times: Times,
) -> Result<(), Errno> {
    let (follow, (accessed, modified)) = (follows(lookup)?, set_times(times)?);
    let (directory, path) = named(call, name)?;
    call.blocking(move || directory.set_times_at(&path, follow, accessed, modified))
        .await
}

async fn path_create_directory(call: &mut Call<'_>, name: Name) -> Result<(), Errno> {
    let (directory, path) = named(call, name)?;
    call.blocking(move || directory.create_directory_at(&path))
        .await
}

async fn path_remove_directory(call: &mut Call<'_>, name: Name) -> Result<(), Errno> {
    let (directory, path) = named(call, name)?;
    call.blocking(move || directory.remove_directory_at(&path))
        .await
}

async fn path_unlink_file(call: &mut Call<'_>, name: Name) -> Result<(), Errno> {
    let (directory, path) = named(call, name)?;
    call.blocking(move || directory.unlink_file_at(&path)).await
}

async fn path_rename(call: &mut Call<'_>, old: Name, new: Name) -> Result<(), Errno> {
    let (directory, path) = named(call, old)?;
    let (new_directory, new_path) = named(call, new)?;
    call.blocking(move || directory.rename_at(&path, &new_directory, &new_path))
        .await
}

async fn path_link(call: &mut Call<'_>, old: Name, lookup: u32, new: Name) -> Result<(), Errno> {
    let follow = follows(lookup)?;
    let (directory, path) = named(call, old)?;
    let (new_directory, new_path) = named(call, new)?;
    call.blocking(move || directory.link_at(&path, follow, &new_directory, &new_path))
        .await
}

async fn path_symlink(
    call: &mut Call<'_>,
    (at, length): (u32, u32),
    name: Name,
) -> Result<(), Errno> {
    let target = call.path(at, length)?;
    let (directory, path) = named(call, name)?;
    call.blocking(move || directory.symlink_at(&target, &path))
        .await
}

/// Cuts the target where the buffer ends, as readlink(2) does.
async fn path_readlink(
    call: &mut Call<'_>,
    name: Name,
    (buffer, room): (u32, u32),
    out: u32,
) -> Result<(), Errno> {
    call.check(out, 4)?;
    call.check(buffer, room)?;
    let (directory, path) = named(call, name)?;
    let target = call.blocking(move || directory.readlink_at(&path)).await?;
    let room = usize::try_from(room).map_err(|_| Errno::Overflow)?;
    let cut = target.as_bytes().get(..room).unwrap_or(target.as_bytes());
    call.write(buffer, cut)?;
    call.write_size(out, cut.len())
}

/// A directory and the path below it.
fn named(call: &mut Call<'_>, (fd, path, length): Name) -> Result<(volume::Node, String), Errno> {
    let directory = call.table().directory(fd)?.node.clone();
    Ok((directory, call.path(path, length)?))
}

fn follows(lookup: u32) -> Result<bool, Errno> {
    if lookup & !SYMLINK_FOLLOW != 0 {
        return Err(Errno::Inval);
    }
    Ok(lookup & SYMLINK_FOLLOW != 0)
}

fn open_options((how, rights, flags): Opening) -> Result<OpenOptions, Errno> {
    if how & !oflags::ALL != 0 || flags & !u32::from(fdflags::ALL) != 0 {
        return Err(Errno::Inval);
    }
    let has = |flag: u16| flags & u32::from(flag) != 0;
    Ok(OpenOptions {
        read: rights & rights::FD_READ != 0,
        write: rights & rights::FD_WRITE != 0,
        mutate_directory: false,
        create: how & oflags::CREAT != 0,
        exclusive: how & oflags::EXCL != 0,
        directory: how & oflags::DIRECTORY != 0,
        truncate: how & oflags::TRUNC != 0,
        file_integrity_sync: has(fdflags::SYNC),
        data_integrity_sync: has(fdflags::DSYNC),
        requested_write_sync: has(fdflags::RSYNC),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_and_flags_say_how_a_file_is_opened() {
        let none = OpenOptions::default();
        let sync = u32::from(fdflags::SYNC);
        for (opening, expected) in [
            ((0, 0, 0), Ok(none)),
            // Rights that nobody knows, as languages without flags of their own pass them.
            (
                (0, u64::MAX, 0),
                Ok(OpenOptions {
                    read: true,
                    write: true,
                    ..none
                }),
            ),
            (
                (oflags::CREAT | oflags::EXCL, rights::FD_WRITE, sync),
                Ok(OpenOptions {
                    write: true,
                    create: true,
                    exclusive: true,
                    file_integrity_sync: true,
                    ..none
                }),
            ),
            (
                (oflags::DIRECTORY, rights::FD_READ, 0),
                Ok(OpenOptions {
                    read: true,
                    directory: true,
                    ..none
                }),
            ),
            ((1 << 4, 0, 0), Err(Errno::Inval)),
            ((0, 0, 1 << 5), Err(Errno::Inval)),
        ] {
            assert_eq!(open_options(opening), expected, "{opening:?}");
        }
    }
}
