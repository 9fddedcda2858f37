//! What `wasi:filesystem` says in the same words in 0.2 and 0.3. Each version has types of its own
//! for it; how they stand to those of a volume is written here once.

/// Functions between the types of one version's bindings and those of a volume. 0.3 has no word of
/// its own for `would-block`.
macro_rules! shared_values {
    ($($bindings:ident)::+, would_block: $would_block:expr) => {
        use volume::{FsError, MetadataHash, NodeFlags, OpenOptions};
        use $($bindings)::+::{
            Advice, DescriptorFlags, ErrorCode, MetadataHashValue, OpenFlags, PathFlags,
        };

        /// Whether a link at the end of a path is followed.
        pub(super) fn follows(flags: PathFlags) -> bool {
            flags.contains(PathFlags::SYMLINK_FOLLOW)
        }

        /// How a file is to be opened.
        pub(super) fn open_options(open: OpenFlags, access: DescriptorFlags) -> OpenOptions {
            use DescriptorFlags as Access;
            use OpenFlags as Open;
            OpenOptions {
                read: access.contains(Access::READ),
                write: access.contains(Access::WRITE),
                mutate_directory: access.contains(Access::MUTATE_DIRECTORY),
                create: open.contains(Open::CREATE),
                exclusive: open.contains(Open::EXCLUSIVE),
                directory: open.contains(Open::DIRECTORY),
                truncate: open.contains(Open::TRUNCATE),
                file_integrity_sync: access.contains(Access::FILE_INTEGRITY_SYNC),
                data_integrity_sync: access.contains(Access::DATA_INTEGRITY_SYNC),
                requested_write_sync: access.contains(Access::REQUESTED_WRITE_SYNC),
            }
        }

        /// What a descriptor allows.
        pub(super) fn flags(flags: NodeFlags) -> DescriptorFlags {
            use DescriptorFlags as Flags;
            let pairs = [
                (flags.read, Flags::READ),
                (flags.write, Flags::WRITE),
                (flags.mutate_directory, Flags::MUTATE_DIRECTORY),
                (flags.file_integrity_sync, Flags::FILE_INTEGRITY_SYNC),
                (flags.data_integrity_sync, Flags::DATA_INTEGRITY_SYNC),
                (flags.requested_write_sync, Flags::REQUESTED_WRITE_SYNC),
            ];
            let set = pairs
                .into_iter()
                .filter_map(|(set, flag)| set.then_some(flag));
            set.fold(Flags::empty(), |all, flag| all | flag)
        }

        pub(super) fn hash(hash: &MetadataHash) -> MetadataHashValue {
            MetadataHashValue {
                lower: hash.lower,
                upper: hash.upper,
            }
        }

        pub(super) fn advice(advice: Advice) -> volume::Advice {
            match advice {
                Advice::Normal => volume::Advice::Normal,
                Advice::Sequential => volume::Advice::Sequential,
                Advice::Random => volume::Advice::Random,
                Advice::WillNeed => volume::Advice::WillNeed,
                Advice::DontNeed => volume::Advice::DontNeed,
                Advice::NoReuse => volume::Advice::NoReuse,
            }
        }

        /// Errors as the guest sees them.
        pub(super) fn code(error: FsError) -> ErrorCode {
            match error {
                FsError::Access => ErrorCode::Access,
                FsError::WouldBlock => $would_block,
                FsError::Already => ErrorCode::Already,
                FsError::BadDescriptor => ErrorCode::BadDescriptor,
                FsError::Busy => ErrorCode::Busy,
                FsError::Deadlock => ErrorCode::Deadlock,
                FsError::Quota => ErrorCode::Quota,
                FsError::Exist => ErrorCode::Exist,
                FsError::FileTooLarge => ErrorCode::FileTooLarge,
                FsError::IllegalByteSequence => ErrorCode::IllegalByteSequence,
                FsError::InProgress => ErrorCode::InProgress,
                FsError::Interrupted => ErrorCode::Interrupted,
                FsError::Invalid => ErrorCode::Invalid,
                FsError::Io => ErrorCode::Io,
                FsError::IsDirectory => ErrorCode::IsDirectory,
                FsError::Loop => ErrorCode::Loop,
                FsError::TooManyLinks => ErrorCode::TooManyLinks,
                FsError::MessageSize => ErrorCode::MessageSize,
                FsError::NameTooLong => ErrorCode::NameTooLong,
                FsError::NoDevice => ErrorCode::NoDevice,
                FsError::NoEntry => ErrorCode::NoEntry,
                FsError::NoLock => ErrorCode::NoLock,
                FsError::InsufficientMemory => ErrorCode::InsufficientMemory,
                FsError::InsufficientSpace => ErrorCode::InsufficientSpace,
                FsError::NotDirectory => ErrorCode::NotDirectory,
                FsError::NotEmpty => ErrorCode::NotEmpty,
                FsError::NotRecoverable => ErrorCode::NotRecoverable,
                FsError::Unsupported => ErrorCode::Unsupported,
                FsError::NoTty => ErrorCode::NoTty,
                FsError::NoSuchDevice => ErrorCode::NoSuchDevice,
                FsError::Overflow => ErrorCode::Overflow,
                FsError::NotPermitted => ErrorCode::NotPermitted,
                FsError::Pipe => ErrorCode::Pipe,
                FsError::ReadOnly => ErrorCode::ReadOnly,
                FsError::InvalidSeek => ErrorCode::InvalidSeek,
                FsError::TextFileBusy => ErrorCode::TextFileBusy,
                FsError::CrossDevice => ErrorCode::CrossDevice,
            }
        }
    };
}

pub(crate) use shared_values;
