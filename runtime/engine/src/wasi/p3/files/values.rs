//! Values of `wasi:filesystem` 0.3 and what they are in a volume.

use volume::{FileKind, SetTime, Stat, Timestamp};
use wasmtime_wasi::p3::bindings::clocks::system_clock::Instant;
use wasmtime_wasi::p3::bindings::filesystem::types::{
    DescriptorStat, DescriptorType, NewTimestamp,
};
use wasmtime_wasi::p3::filesystem::FilesystemError;

use crate::wasi::file_values::shared_values;

shared_values!(
    wasmtime_wasi::p3::bindings::filesystem::types,
    would_block: ErrorCode::Other(Some("would block".to_owned()))
);

/// Errors as the guest sees them.
pub(super) fn error(error: FsError) -> FilesystemError {
    code(error).into()
}

pub(super) fn time(time: NewTimestamp) -> SetTime {
    match time {
        NewTimestamp::NoChange => SetTime::NoChange,
        NewTimestamp::Now => SetTime::Now,
        NewTimestamp::Timestamp(Instant {
            seconds,
            nanoseconds,
        }) => SetTime::At(Timestamp {
            seconds,
            nanoseconds,
        }),
    }
}

pub(super) fn stat(stat: &Stat) -> DescriptorStat {
    let time = |time: Timestamp| {
        Some(Instant {
            seconds: time.seconds,
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
        FileKind::Unknown => Type::Other(None),
        FileKind::BlockDevice => Type::BlockDevice,
        FileKind::CharacterDevice => Type::CharacterDevice,
        FileKind::Directory => Type::Directory,
        FileKind::Fifo => Type::Fifo,
        FileKind::SymbolicLink => Type::SymbolicLink,
        FileKind::RegularFile => Type::RegularFile,
        FileKind::Socket => Type::Socket,
    }
}
