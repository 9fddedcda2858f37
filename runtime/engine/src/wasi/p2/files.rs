//! `wasi:filesystem` 0.2 over the mount table.

mod values;

use volume::{FsError, Node};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{self, ErrorCode, Filesize};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsResult};

use self::values::{error, follows};
use super::file_streams::{FileReader, FileWriter};
use super::{FilesView, ours, theirs};
use crate::files::{Entries, Position};

/// The most that one `read` returns: the guest asks again for more.
const READ: usize = 64 << 10;

/// An open listing; nothing once it has failed, or at its end.
struct OpenListing(Option<Entries>);

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
            .map(|error| values::code(*error)))
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
            node.advise(offset, length, values::advice(advice))
        })
        .await
    }

    async fn sync_data(&mut self, fd: Descriptor) -> FsResult<()> {
        self.on(&fd, |node| node.sync_data()).await
    }

    async fn get_flags(&mut self, fd: Descriptor) -> FsResult<types::DescriptorFlags> {
        Ok(values::flags(self.node(&fd)?.flags()))
    }

    async fn get_type(&mut self, fd: Descriptor) -> FsResult<types::DescriptorType> {
        Ok(values::kind(self.node(&fd)?.kind()))
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
        let (accessed, modified) = (values::time(accessed)?, values::time(modified)?);
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
        let entries = self.files.list(&self.node(&fd)?).await.map_err(error)?;
        Ok(theirs(self.table.push(OpenListing(Some(entries)))?))
    }

    async fn sync(&mut self, fd: Descriptor) -> FsResult<()> {
        self.on(&fd, |node| node.sync()).await
    }

    async fn create_directory_at(&mut self, fd: Descriptor, path: String) -> FsResult<()> {
        self.on(&fd, move |node| node.create_directory_at(&path))
            .await
    }

    async fn stat(&mut self, fd: Descriptor) -> FsResult<types::DescriptorStat> {
        Ok(values::stat(&self.on(&fd, |node| node.stat()).await?))
    }

    async fn stat_at(
        &mut self,
        fd: Descriptor,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::DescriptorStat> {
        Ok(values::stat(
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
        let (accessed, modified) = (values::time(accessed)?, values::time(modified)?);
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
        let options = values::open_options(open, access);
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
        Ok(values::hash(&hash))
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
        Ok(values::hash(&hash))
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
        let open = ours::<_, OpenListing>(&stream);
        // Moved to the thread that reads and back: the guest cannot ask twice at once.
        let Some(mut entries) = self.table.get_mut(&open)?.0.take() else {
            return Ok(None);
        };
        let next = match entries.next_read() {
            Some(entry) => Some(entry),
            None => {
                entries = self.files.list_on(entries).await.map_err(error)?;
                entries.next_read()
            }
        };
        let Some(entry) = next else {
            return Ok(None);
        };
        self.table.get_mut(&open)?.0 = Some(entries);
        let entry = entry.map_err(error)?;
        Ok(Some(types::DirectoryEntry {
            type_: values::kind(entry.kind),
            name: entry.name,
        }))
    }

    fn drop(&mut self, stream: Resource<types::DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, OpenListing>(&stream))?;
        Ok(())
    }
}
