//! Descriptors as such, and open files: everything in `fd_*` but reading, writing and listing.

use volume::{Advice, SetTime, Timestamp};
use wasmtime::{Caller, Linker};

use super::MODULE;
use super::abi::{fstflags, pack_stat, pack_stream_stat};
use super::descriptors::Descriptor;
use super::errno::Errno;
use super::memory::{Call, answer};
use crate::guest::Guest;

/// The furthest offset that a file can have: it is signed on Linux.
const MAX_OFFSET: u64 = i64::MAX.unsigned_abs();

/// Times to set: access, modification, `fstflags`.
pub(super) type Times = (u64, u64, u32);

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    add_descriptors(linker)?;
    add_positions(linker)?;
    add_contents(linker)
}

fn add_descriptors(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker
        .func_wrap(MODULE, "fd_close", |caller: Caller<'_, Guest>, fd: u32| {
            answer(Call::new(caller)?.table().remove(fd).map(drop))
        })?
        .func_wrap(
            MODULE,
            "fd_renumber",
            |caller: Caller<'_, Guest>, from: u32, to: u32| {
                answer(Call::new(caller)?.table().renumber(from, to))
            },
        )?
        .func_wrap(
            MODULE,
            "fd_fdstat_get",
            |caller: Caller<'_, Guest>, fd: u32, out: u32| {
                answer(fd_fdstat_get(&mut Call::new(caller)?, fd, out))
            },
        )?
        .func_wrap(
            MODULE,
            "fd_fdstat_set_flags",
            |caller: Caller<'_, Guest>, fd: u32, flags: u32| {
                answer(fd_fdstat_set_flags(&mut Call::new(caller)?, fd, flags))
            },
        )?
        .func_wrap(
            MODULE,
            "fd_fdstat_set_rights",
            |caller: Caller<'_, Guest>, fd: u32, _base: u64, _inheriting: u64| {
                // Rights are told and not kept, so none can be given up.
                answer(Call::new(caller)?.table().get(fd).and(Err(Errno::Notsup)))
            },
        )?
        .func_wrap_async(
            MODULE,
            "fd_filestat_get",
            |caller, (fd, out): (u32, u32)| {
                Box::new(
                    async move { answer(fd_filestat_get(&mut Call::new(caller)?, fd, out).await) },
                )
            },
        )?;
    Ok(())
}

fn add_positions(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker
        .func_wrap_async(
            MODULE,
            "fd_seek",
            |caller, (fd, offset, whence, out): (u32, i64, u32, u32)| {
                Box::new(async move {
                    answer(fd_seek(&mut Call::new(caller)?, fd, offset, whence, out).await)
                })
            },
        )?
        .func_wrap(
            MODULE,
            "fd_tell",
            |caller: Caller<'_, Guest>, fd: u32, out: u32| {
                let mut call = Call::new(caller)?;
                let offset = call.table().file(fd).map(|file| file.offset);
                answer(offset.and_then(|offset| call.write(out, &offset.to_le_bytes())))
            },
        )?
        .func_wrap_async(
            MODULE,
            "fd_advise",
            |caller, (fd, offset, length, advice): (u32, u64, u64, u32)| {
                Box::new(async move {
                    answer(fd_advise(&mut Call::new(caller)?, fd, offset, length, advice).await)
                })
            },
        )?
        .func_wrap_async(
            MODULE,
            "fd_allocate",
            |caller, (fd, offset, length): (u32, u64, u64)| {
                Box::new(async move {
                    answer(fd_allocate(&mut Call::new(caller)?, fd, offset, length).await)
                })
            },
        )?;
    Ok(())
}

fn add_contents(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker
        .func_wrap_async(MODULE, "fd_sync", |caller, (fd,): (u32,)| {
            Box::new(async move { answer(fd_sync(&mut Call::new(caller)?, fd).await) })
        })?
        .func_wrap_async(MODULE, "fd_datasync", |caller, (fd,): (u32,)| {
            Box::new(async move { answer(fd_datasync(&mut Call::new(caller)?, fd).await) })
        })?
        .func_wrap_async(
            MODULE,
            "fd_filestat_set_size",
            |caller, (fd, size): (u32, u64)| {
                Box::new(async move {
                    answer(fd_filestat_set_size(&mut Call::new(caller)?, fd, size).await)
                })
            },
        )?
        .func_wrap_async(
            MODULE,
            "fd_filestat_set_times",
            |caller, (fd, accessed, modified, flags): (u32, u64, u64, u32)| {
                Box::new(async move {
                    let times = (accessed, modified, flags);
                    answer(fd_filestat_set_times(&mut Call::new(caller)?, fd, times).await)
                })
            },
        )?;
    Ok(())
}

fn fd_fdstat_get(call: &mut Call<'_>, fd: u32, out: u32) -> Result<(), Errno> {
    let stat = call.table().get(fd)?.stat();
    call.write(out, &stat.pack())
}

fn fd_fdstat_set_flags(call: &mut Call<'_>, fd: u32, flags: u32) -> Result<(), Errno> {
    let flags = u16::try_from(flags).map_err(|_| Errno::Inval)?;
    call.table().get_mut(fd)?.set_flags(flags)
}

async fn fd_filestat_get(call: &mut Call<'_>, fd: u32, out: u32) -> Result<(), Errno> {
    let node = match call.table().get(fd)? {
        Descriptor::File(file) => file.node.clone(),
        Descriptor::Directory(directory) => directory.node.clone(),
        stream => {
            let stat = pack_stream_stat(stream.stat().file_type);
            return call.write(out, &stat);
        }
    };
    let stat = call.blocking(move || node.stat()).await?;
    call.write(out, &pack_stat(&stat))
}

async fn fd_seek(
    call: &mut Call<'_>,
    fd: u32,
    offset: i64,
    whence: u32,
    out: u32,
) -> Result<(), Errno> {
    let file = call.table().file(fd)?;
    let base = match whence {
        0 => 0,
        1 => file.offset,
        2 => {
            let node = file.node.clone();
            call.blocking(move || node.stat()).await?.size
        }
        _ => return Err(Errno::Inval),
    };
    let offset = base
        .checked_add_signed(offset)
        .filter(|offset| *offset <= MAX_OFFSET)
        .ok_or(Errno::Inval)?;
    call.table().file(fd)?.offset = offset;
    call.write(out, &offset.to_le_bytes())
}

async fn fd_advise(
    call: &mut Call<'_>,
    fd: u32,
    offset: u64,
    length: u64,
    advice: u32,
) -> Result<(), Errno> {
    let advice = match advice {
        0 => Advice::Normal,
        1 => Advice::Sequential,
        2 => Advice::Random,
        3 => Advice::WillNeed,
        4 => Advice::DontNeed,
        5 => Advice::NoReuse,
        _ => return Err(Errno::Inval),
    };
    let node = call.table().file(fd)?.node.clone();
    call.blocking(move || node.advise(offset, length, advice))
        .await
}

async fn fd_allocate(call: &mut Call<'_>, fd: u32, offset: u64, length: u64) -> Result<(), Errno> {
    let node = call.table().file(fd)?.node.clone();
    call.blocking(move || node.allocate(offset, length)).await
}

async fn fd_sync(call: &mut Call<'_>, fd: u32) -> Result<(), Errno> {
    let node = call.table().node(fd)?;
    call.blocking(move || node.sync()).await
}

async fn fd_datasync(call: &mut Call<'_>, fd: u32) -> Result<(), Errno> {
    let node = call.table().node(fd)?;
    call.blocking(move || node.sync_data()).await
}

async fn fd_filestat_set_size(call: &mut Call<'_>, fd: u32, size: u64) -> Result<(), Errno> {
    let node = call.table().file(fd)?.node.clone();
    call.blocking(move || node.set_size(size)).await
}

async fn fd_filestat_set_times(call: &mut Call<'_>, fd: u32, times: Times) -> Result<(), Errno> {
    let (accessed, modified) = set_times(times)?;
    let node = call.table().node(fd)?;
    call.blocking(move || node.set_times(accessed, modified))
        .await
}

/// What becomes of both times. Errors: invalid for a time and now at once.
pub(super) fn set_times((accessed, modified, flags): Times) -> Result<(SetTime, SetTime), Errno> {
    if flags & !fstflags::ALL != 0 {
        return Err(Errno::Inval);
    }
    let accessed = set_time(
        accessed,
        flags & fstflags::ATIM != 0,
        flags & fstflags::ATIM_NOW != 0,
    )?;
    let modified = set_time(
        modified,
        flags & fstflags::MTIM != 0,
        flags & fstflags::MTIM_NOW != 0,
    )?;
    Ok((accessed, modified))
}

fn set_time(nanoseconds: u64, given: bool, now: bool) -> Result<SetTime, Errno> {
    match (given, now) {
        (true, true) => Err(Errno::Inval),
        (false, false) => Ok(SetTime::NoChange),
        (false, true) => Ok(SetTime::Now),
        (true, false) => Ok(SetTime::At(Timestamp {
            seconds: i64::try_from(nanoseconds / 1_000_000_000).map_err(|_| Errno::Overflow)?,
            nanoseconds: u32::try_from(nanoseconds % 1_000_000_000).map_err(|_| Errno::Overflow)?,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_set_as_the_flags_say() {
        let at = SetTime::At(Timestamp {
            seconds: 3,
            nanoseconds: 7,
        });
        let time = 3_000_000_007;
        for (flags, expected) in [
            (0, Ok((SetTime::NoChange, SetTime::NoChange))),
            (fstflags::ATIM | fstflags::MTIM_NOW, Ok((at, SetTime::Now))),
            (fstflags::ATIM_NOW | fstflags::MTIM, Ok((SetTime::Now, at))),
            (fstflags::ATIM | fstflags::ATIM_NOW, Err(Errno::Inval)),
            (fstflags::MTIM | fstflags::MTIM_NOW, Err(Errno::Inval)),
            (1 << 4, Err(Errno::Inval)),
        ] {
            assert_eq!(set_times((time, time, flags)), expected, "flags {flags:#b}");
        }
    }
}
