//! Values of `wasi:filesystem` 0.2 and what they are in a volume.

use volume::{FileKind, SetTime, Stat, Timestamp};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorStat, DescriptorType, NewTimestamp,
};

use crate::wasi::file_values::shared_values;

shared_values!(
    wasmtime_wasi::p2::bindings::filesystem::types,
    would_block: ErrorCode::WouldBlock
);

/// Errors as the guest sees them, or traps instead.
pub(super) fn error(error: FsError) -> wasmtime_wasi::p2::FsError {
    code(error).into()
}

pub(super) fn time(time: NewTimestamp) -> Result<SetTime, ErrorCode> {
    Ok(match time {
        NewTimestamp::NoChange => SetTime::NoChange,
        NewTimestamp::Now => SetTime::Now,
        NewTimestamp::Timestamp(Datetime {
            seconds,
            nanoseconds,
        }) => {
            let seconds = i64::try_from(seconds).map_err(|_| ErrorCode::Overflow)?;
            SetTime::At(Timestamp {
                seconds,
                nanoseconds,
            })
        }
    })
}

pub(super) fn stat(stat: &Stat) -> DescriptorStat {
    // Times before 1970 have no form in WASI 0.2.
    let time = |time: Timestamp| {
        let seconds = u64::try_from(time.seconds).ok()?;
        Some(Datetime {
            seconds,
            nanoseconds: time.nanoseconds,
        })
    };
    DescriptorStat {
        type_: kind(stat.kind),
        link_count: stat.link_count,
        size: stat.size,
        data_access_timestamp: time(stat.accessed),
        data_modification_timestamp: time(stat.modified),
        status_change_timestamp: time(stat.changed),
    }
}

pub(super) fn kind(kind: FileKind) -> DescriptorType {
    use DescriptorType as Type;
    match kind {
        FileKind::Unknown => Type::Unknown,
        FileKind::BlockDevice => Type::BlockDevice,
        FileKind::CharacterDevice => Type::CharacterDevice,
        FileKind::Directory => Type::Directory,
        FileKind::Fifo => Type::Fifo,
        FileKind::SymbolicLink => Type::SymbolicLink,
        FileKind::RegularFile => Type::RegularFile,
        FileKind::Socket => Type::Socket,
    }
}
