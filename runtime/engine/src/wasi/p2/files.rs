//! `wasi:filesystem` 0.2 over the mount table.

use std::collections::VecDeque;

use volume::{
    Advice, DirEntry, FileKind, FsError, Listing, Node, OpenOptions, SetTime, Stat, Timestamp,
};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{self, ErrorCode, Filesize};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsResult};

use super::file_streams::{FileReader, FileWriter, Position};
use super::{FilesView, ours, theirs};

/// The most that one `read` returns: the guest asks again for more.
const READ: usize = 64 << 10;

/// Entries of a directory read at once: one switch of thread for so many.
const ENTRIES_AHEAD: usize = 64;

/// An open listing with what was read ahead.
struct Entries {
    listing: Option<Listing>,
    ahead: VecDeque<Result<DirEntry, FsError>>,
}

type Descriptor = Resource<types::Descriptor>;

impl FilesView<'_> {
    fn node(&self, descriptor: &Descriptor) -> FsResult<Node> {
        Ok(self.table.get(&ours::<_, Node>(descriptor))?.clone())
    }

    /// A blocking call on one descriptor.
    ///
    /// Takes the view for itself alone: what the table holds may be sent to another thread but
    /// not shared with it.
    async fn on<T, F>(&mut self, descriptor: &Descriptor, call: F) -> FsResult<T>
    where
        F: FnOnce(Node) -> Result<T, FsError> + Send + 'static,
        T: Send + 'static,
    {
        let node = self.node(descriptor)?;
        self.files.call(move || call(node)).await.map_err(error)
    }
}

impl preopens::Host for FilesView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Descriptor, String)>> {
        let root = self.table.push(self.files.table.root())?;
        Ok(vec![(theirs(root), "/".to_owned())])
    }
}

impl types::Host for FilesView<'_> {
    fn convert_error_code(
        &mut self,
        error: wasmtime_wasi::p2::FsError,
    ) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self
            .table
            .get(&error)?
            .downcast_ref::<FsError>()
            .map(|error| code(*error)))
    }
}

impl types::HostDescriptor for FilesView<'_> {
    async fn advise(
        &mut self,
        fd: Descriptor,
        offset: Filesize,
        length: Filesize,
        advice: types::Advice,
    ) -> FsResult<()> {
        self.on(&fd, move |node| {
            node.advise(offset, length, advice_of(advice))
        })
        .await
    }

    async fn sync_data(&mut self, fd: Descriptor) -> FsResult<()> {
        self.on(&fd, |node| node.sync_data()).await
    }

    async fn get_flags(&mut self, fd: Descriptor) -> FsResult<types::DescriptorFlags> {
        use types::DescriptorFlags as Flags;
        let flags = self.node(&fd)?.flags();
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
        Ok(set.fold(Flags::empty(), |all, flag| all | flag))
    }

    async fn get_type(&mut self, fd: Descriptor) -> FsResult<types::DescriptorType> {
        Ok(kind_of(self.node(&fd)?.kind()))
    }

    async fn set_size(&mut self, fd: Descriptor, size: Filesize) -> FsResult<()> {
        self.on(&fd, move |node| node.set_size(size)).await
    }

    async fn set_times(
        &mut self,
        fd: Descriptor,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (time_of(accessed)?, time_of(modified)?);
        self.on(&fd, move |node| node.set_times(accessed, modified))
            .await
    }

    async fn read(
        &mut self,
        fd: Descriptor,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        let length = usize::try_from(length).unwrap_or(READ).min(READ);
        self.on(&fd, move |node| {
            let mut buffer = vec![0; length];
            let read = node.read_at(&mut buffer, offset)?;
            buffer.truncate(read);
            Ok((buffer, read == 0 && length > 0))
        })
        .await
    }

    async fn write(
        &mut self,
        fd: Descriptor,
        buffer: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        self.on(&fd, move |node| {
            node.write_at(&buffer, offset).map(|written| written as u64)
        })
        .await
    }

    async fn read_directory(
        &mut self,
        fd: Descriptor,
    ) -> FsResult<Resource<types::DirectoryEntryStream>> {
        let listing = self.on(&fd, |node| node.read_dir()).await?;
        Ok(theirs(self.table.push(Entries {
            listing: Some(listing),
            ahead: VecDeque::new(),
        })?))
    }

    async fn sync(&mut self, fd: Descriptor) -> FsResult<()> {
        self.on(&fd, |node| node.sync()).await
    }

    async fn create_directory_at(&mut self, fd: Descriptor, path: String) -> FsResult<()> {
        self.on(&fd, move |node| node.create_directory_at(&path))
            .await
    }

    async fn stat(&mut self, fd: Descriptor) -> FsResult<types::DescriptorStat> {
        Ok(stat_of(&self.on(&fd, |node| node.stat()).await?))
    }

    async fn stat_at(
        &mut self,
        fd: Descriptor,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::DescriptorStat> {
        Ok(stat_of(
            &self
                .on(&fd, move |node| node.stat_at(&path, follows(flags)))
                .await?,
        ))
    }

    async fn set_times_at(
        &mut self,
        fd: Descriptor,
        flags: types::PathFlags,
        path: String,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (time_of(accessed)?, time_of(modified)?);
        self.on(&fd, move |node| {
            node.set_times_at(&path, follows(flags), accessed, modified)
        })
        .await
    }

    async fn link_at(
        &mut self,
        fd: Descriptor,
        flags: types::PathFlags,
        old: String,
        new_directory: Descriptor,
        new: String,
    ) -> FsResult<()> {
        let new_directory = self.node(&new_directory)?;
        self.on(&fd, move |node| {
            node.link_at(&old, follows(flags), &new_directory, &new)
        })
        .await
    }

    async fn open_at(
        &mut self,
        fd: Descriptor,
        flags: types::PathFlags,
        path: String,
        open: types::OpenFlags,
        access: types::DescriptorFlags,
    ) -> FsResult<Descriptor> {
        let options = open_options(open, access);
        let node = self
            .on(&fd, move |node| {
                node.open_at(&path, follows(flags), &options)
            })
            .await?;
        Ok(theirs(self.table.push(node)?))
    }

    fn drop(&mut self, fd: Descriptor) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Node>(&fd))?;
        Ok(())
    }

    async fn readlink_at(&mut self, fd: Descriptor, path: String) -> FsResult<String> {
        self.on(&fd, move |node| node.readlink_at(&path)).await
    }

    async fn remove_directory_at(&mut self, fd: Descriptor, path: String) -> FsResult<()> {
        self.on(&fd, move |node| node.remove_directory_at(&path))
            .await
    }

    async fn rename_at(
        &mut self,
        fd: Descriptor,
        old: String,
        new_directory: Descriptor,
        new: String,
    ) -> FsResult<()> {
        let new_directory = self.node(&new_directory)?;
        self.on(&fd, move |node| node.rename_at(&old, &new_directory, &new))
            .await
    }

    async fn symlink_at(&mut self, fd: Descriptor, target: String, path: String) -> FsResult<()> {
        self.on(&fd, move |node| node.symlink_at(&target, &path))
            .await
    }

    async fn unlink_file_at(&mut self, fd: Descriptor, path: String) -> FsResult<()> {
        self.on(&fd, move |node| node.unlink_file_at(&path)).await
    }

    fn read_via_stream(
        &mut self,
        fd: Descriptor,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        let node = self.file(&fd, |flags| flags.read)?;
        let stream: DynInputStream = Box::new(FileReader::new(node, self.files.clone(), offset));
        Ok(self.table.push(stream)?)
    }

    fn write_via_stream(
        &mut self,
        fd: Descriptor,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.writer(&fd, Position::At(offset))
    }

    fn append_via_stream(&mut self, fd: Descriptor) -> FsResult<Resource<DynOutputStream>> {
        self.writer(&fd, Position::End)
    }

    async fn is_same_object(&mut self, a: Descriptor, b: Descriptor) -> wasmtime::Result<bool> {
        let other = self.table.get(&ours::<_, Node>(&b))?.clone();
        let node = self.table.get(&ours::<_, Node>(&a))?.clone();
        Ok(self
            .files
            .call(move || Ok(node.is_same_object(&other)))
            .await?)
    }

    async fn metadata_hash(&mut self, fd: Descriptor) -> FsResult<types::MetadataHashValue> {
        let hash = self.on(&fd, |node| node.metadata_hash()).await?;
        Ok(types::MetadataHashValue {
            lower: hash.lower,
            upper: hash.upper,
        })
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Descriptor,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::MetadataHashValue> {
        let hash = self
            .on(&fd, move |node| {
                node.metadata_hash_at(&path, follows(flags))
            })
            .await?;
        Ok(types::MetadataHashValue {
            lower: hash.lower,
            upper: hash.upper,
        })
    }
}

impl FilesView<'_> {
    /// A file that allows what is asked.
    fn file(
        &self,
        fd: &Descriptor,
        allowed: impl Fn(&volume::NodeFlags) -> bool,
    ) -> FsResult<Node> {
        let node = self.node(fd)?;
        if node.is_directory() || !allowed(&node.flags()) {
            return Err(ErrorCode::BadDescriptor.into());
        }
        Ok(node)
    }

    fn writer(
        &mut self,
        fd: &Descriptor,
        position: Position,
    ) -> FsResult<Resource<DynOutputStream>> {
        let node = self.file(fd, |flags| flags.write)?;
        let stream: DynOutputStream = Box::new(FileWriter::new(node, self.files.clone(), position));
        Ok(self.table.push(stream)?)
    }
}

impl types::HostDirectoryEntryStream for FilesView<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<types::DirectoryEntryStream>,
    ) -> FsResult<Option<types::DirectoryEntry>> {
        let entries = ours::<_, Entries>(&stream);
        if self.table.get(&entries)?.ahead.is_empty() {
            // Moved to the thread that reads and back: the guest cannot ask twice at once.
            let mut listing = self
                .table
                .get_mut(&entries)?
                .listing
                .take()
                .ok_or(ErrorCode::Io)?;
            let (listing, ahead) = self
                .files
                .call(move || {
                    let entries = std::iter::from_fn(|| listing.next().transpose());
                    let ahead = entries.take(ENTRIES_AHEAD).collect::<VecDeque<_>>();
                    Ok((listing, ahead))
                })
                .await
                .map_err(error)?;
            *self.table.get_mut(&entries)? = Entries {
                listing: Some(listing),
                ahead,
            };
        }
        let entry = self
            .table
            .get_mut(&entries)?
            .ahead
            .pop_front()
            .transpose()
            .map_err(error)?;
        Ok(entry.map(|entry| types::DirectoryEntry {
            type_: kind_of(entry.kind),
            name: entry.name,
        }))
    }

    fn drop(&mut self, stream: Resource<types::DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Entries>(&stream))?;
        Ok(())
    }
}

/// Errors as the guest sees them.
pub(crate) fn error(error: FsError) -> wasmtime_wasi::p2::FsError {
    code(error).into()
}

fn follows(flags: types::PathFlags) -> bool {
    flags.contains(types::PathFlags::SYMLINK_FOLLOW)
}

fn open_options(open: types::OpenFlags, access: types::DescriptorFlags) -> OpenOptions {
    use types::{DescriptorFlags as Access, OpenFlags as Open};
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

fn time_of(time: types::NewTimestamp) -> Result<SetTime, ErrorCode> {
    Ok(match time {
        types::NewTimestamp::NoChange => SetTime::NoChange,
        types::NewTimestamp::Now => SetTime::Now,
        types::NewTimestamp::Timestamp(Datetime {
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

fn stat_of(stat: &Stat) -> types::DescriptorStat {
    // Times before 1970 have no form in WASI 0.2.
    let time = |time: Timestamp| {
        let seconds = u64::try_from(time.seconds).ok()?;
        Some(Datetime {
            seconds,
            nanoseconds: time.nanoseconds,
        })
    };
    types::DescriptorStat {
        type_: kind_of(stat.kind),
        link_count: stat.link_count,
        size: stat.size,
        data_access_timestamp: time(stat.accessed),
        data_modification_timestamp: time(stat.modified),
        status_change_timestamp: time(stat.changed),
    }
}

fn kind_of(kind: FileKind) -> types::DescriptorType {
    use types::DescriptorType as Type;
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

fn advice_of(advice: types::Advice) -> Advice {
    match advice {
        types::Advice::Normal => Advice::Normal,
        types::Advice::Sequential => Advice::Sequential,
        types::Advice::Random => Advice::Random,
        types::Advice::WillNeed => Advice::WillNeed,
        types::Advice::DontNeed => Advice::DontNeed,
        types::Advice::NoReuse => Advice::NoReuse,
    }
}

fn code(error: FsError) -> ErrorCode {
    match error {
        FsError::Access => ErrorCode::Access,
        FsError::WouldBlock => ErrorCode::WouldBlock,
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
