//! `wasi:filesystem` 0.3 over the mount table.
//!
//! What each call does is the same as in 0.2; here many may be under way at once. The host holds
//! their arguments meanwhile, which count as the container's memory.

mod sink;
mod source;
mod values;

use volume::{FsError, Node, NodeFlags};
use wasmtime::component::{Access, Accessor, FutureReader, Linker, Resource, StreamReader};
use wasmtime_wasi::p3::bindings::filesystem::preopens;
use wasmtime_wasi::p3::bindings::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
    Filesize, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p3::filesystem::{FilesystemError, FilesystemResult};

use self::sink::FileSink;
use self::source::{DirectorySource, FileSource};
use self::values::{error, follows};
use super::outcome::{Outcome, Teller};
use crate::files::{Files, Position};
use crate::guest::Guest;
use crate::wasi::p2::{FilesView, HasFiles, ours, theirs};

type Descriptor = Resource<types::Descriptor>;

/// Adds both interfaces.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    types::add_to_linker::<Guest, HasFiles>(linker, Guest::files_view)?;
    preopens::add_to_linker::<Guest, HasFiles>(linker, Guest::files_view)
}

/// What a descriptor stands for, and the files that it is of.
fn get<U: 'static>(
    store: &Accessor<U, HasFiles>,
    descriptor: &Descriptor,
) -> FilesystemResult<(Node, Files)> {
    store.with(|mut access| {
        let view = access.get();
        let node = view.table.get(&ours::<_, Node>(descriptor))?.clone();
        Ok((node, view.files.clone()))
    })
}

/// A blocking call on one descriptor, with so many bytes of text in its arguments.
async fn on<U, T, F>(
    store: &Accessor<U, HasFiles>,
    descriptor: &Descriptor,
    text: usize,
    call: F,
) -> FilesystemResult<T>
where
    U: 'static,
    F: FnOnce(Node) -> Result<T, FsError> + Send + 'static,
    T: Send + 'static,
{
    let (node, files) = get(store, descriptor)?;
    let called = files.call_with(text, move || call(node));
    called.await.map_err(error)
}

/// A file that allows what is asked. What is wrong with it is told by the stream's future, as
/// every other failure of a stream.
fn file<U: 'static>(
    store: &mut Access<'_, U, HasFiles>,
    fd: &Descriptor,
    allowed: impl Fn(&NodeFlags) -> bool,
) -> wasmtime::Result<Result<(Node, Files), ErrorCode>> {
    let view = store.get();
    let node = view.table.get(&ours::<_, Node>(fd))?.clone();
    let files = view.files.clone();
    Ok(if node.is_directory() {
        Err(ErrorCode::IsDirectory)
    } else if allowed(&node.flags()) {
        Ok((node, files))
    } else {
        Err(ErrorCode::BadDescriptor)
    })
}

/// What a guest writes, taken by a file, and the future that tells how that ended.
fn write<U: 'static>(
    mut store: Access<'_, U, HasFiles>,
    fd: &Descriptor,
    mut data: StreamReader<u8>,
    position: Position,
) -> wasmtime::Result<FutureReader<Outcome<ErrorCode>>> {
    let (mut teller, told) = Teller::new();
    match file(&mut store, fd, |flags| flags.write)? {
        Ok((node, files)) => {
            data.pipe(&mut store, FileSink::new(node, files, position, teller))?;
        }
        Err(error) => {
            data.close(&mut store)?;
            teller.tell(Err(error));
        }
    }
    FutureReader::new(&mut store, told)
}

impl preopens::Host for FilesView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Descriptor, String)>> {
        let root = self.table.push(self.files.table.root())?;
        Ok(vec![(theirs(root), "/".to_owned())])
    }
}

impl types::Host for FilesView<'_> {
    fn convert_error_code(&mut self, error: FilesystemError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }
}

impl types::HostDescriptor for FilesView<'_> {
    fn drop(&mut self, fd: Descriptor) -> wasmtime::Result<()> {
        self.table.delete(ours::<_, Node>(&fd))?;
        Ok(())
    }
}

impl<U: 'static> types::HostDescriptorWithStore<U> for HasFiles {
    fn read_via_stream(
        mut store: Access<'_, U, Self>,
        fd: Descriptor,
        offset: Filesize,
    ) -> wasmtime::Result<(StreamReader<u8>, FutureReader<Outcome<ErrorCode>>)> {
        let (mut teller, told) = Teller::new();
        let stream = match file(&mut store, &fd, |flags| flags.read)? {
            Ok((node, files)) => {
                let source = FileSource::new(node, files, offset, teller);
                StreamReader::new(&mut store, source)?
            }
            Err(error) => {
                teller.tell(Err(error));
                StreamReader::new(&mut store, std::iter::empty())?
            }
        };
        Ok((stream, FutureReader::new(&mut store, told)?))
    }

    fn write_via_stream(
        store: Access<'_, U, Self>,
        fd: Descriptor,
        data: StreamReader<u8>,
        offset: Filesize,
    ) -> wasmtime::Result<FutureReader<Outcome<ErrorCode>>> {
        write(store, &fd, data, Position::At(offset))
    }

    fn append_via_stream(
        store: Access<'_, U, Self>,
        fd: Descriptor,
        data: StreamReader<u8>,
    ) -> wasmtime::Result<FutureReader<Outcome<ErrorCode>>> {
        write(store, &fd, data, Position::End)
    }

    fn read_directory(
        mut store: Access<'_, U, Self>,
        fd: Descriptor,
    ) -> wasmtime::Result<(
        StreamReader<DirectoryEntry>,
        FutureReader<Outcome<ErrorCode>>,
    )> {
        let (teller, told) = Teller::new();
        let view = store.get();
        let node = view.table.get(&ours::<_, Node>(&fd))?.clone();
        let source = DirectorySource::new(node, view.files.clone(), teller);
        let stream = StreamReader::new(&mut store, source)?;
        Ok((stream, FutureReader::new(&mut store, told)?))
    }

    async fn advise(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        offset: Filesize,
        length: Filesize,
        advice: Advice,
    ) -> FilesystemResult<()> {
        let advice = values::advice(advice);
        on(store, &fd, 0, move |node| {
            node.advise(offset, length, advice)
        })
        .await
    }

    async fn sync_data(store: &Accessor<U, Self>, fd: Descriptor) -> FilesystemResult<()> {
        on(store, &fd, 0, |node| node.sync_data()).await
    }

    async fn get_flags(
        store: &Accessor<U, Self>,
        fd: Descriptor,
    ) -> FilesystemResult<DescriptorFlags> {
        Ok(values::flags(get(store, &fd)?.0.flags()))
    }

    async fn get_type(
        store: &Accessor<U, Self>,
        fd: Descriptor,
    ) -> FilesystemResult<DescriptorType> {
        Ok(values::kind(get(store, &fd)?.0.kind()))
    }

    async fn set_size(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        size: Filesize,
    ) -> FilesystemResult<()> {
        on(store, &fd, 0, move |node| node.set_size(size)).await
    }

    async fn set_times(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FilesystemResult<()> {
        let (accessed, modified) = (values::time(accessed), values::time(modified));
        on(store, &fd, 0, move |node| {
            node.set_times(accessed, modified)
        })
        .await
    }

    async fn sync(store: &Accessor<U, Self>, fd: Descriptor) -> FilesystemResult<()> {
        on(store, &fd, 0, |node| node.sync()).await
    }

    async fn create_directory_at(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        path: String,
    ) -> FilesystemResult<()> {
        on(store, &fd, path.len(), move |node| {
            node.create_directory_at(&path)
        })
        .await
    }

    async fn stat(store: &Accessor<U, Self>, fd: Descriptor) -> FilesystemResult<DescriptorStat> {
        let stat = on(store, &fd, 0, |node| node.stat()).await?;
        Ok(values::stat(&stat))
    }

    async fn stat_at(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        flags: PathFlags,
        path: String,
    ) -> FilesystemResult<DescriptorStat> {
        let stat = on(store, &fd, path.len(), move |node| {
            node.stat_at(&path, follows(flags))
        })
        .await?;
        Ok(values::stat(&stat))
    }

    async fn set_times_at(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FilesystemResult<()> {
        let (accessed, modified) = (values::time(accessed), values::time(modified));
        on(store, &fd, path.len(), move |node| {
            node.set_times_at(&path, follows(flags), accessed, modified)
        })
        .await
    }

    async fn link_at(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        flags: PathFlags,
        old: String,
        new_directory: Descriptor,
        new: String,
    ) -> FilesystemResult<()> {
        let (new_directory, _) = get(store, &new_directory)?;
        on(store, &fd, old.len() + new.len(), move |node| {
            node.link_at(&old, follows(flags), &new_directory, &new)
        })
        .await
    }

    async fn open_at(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        flags: PathFlags,
        path: String,
        open: OpenFlags,
        access: DescriptorFlags,
    ) -> FilesystemResult<Descriptor> {
        let options = values::open_options(open, access);
        let node = on(store, &fd, path.len(), move |node| {
            node.open_at(&path, follows(flags), &options)
        })
        .await?;
        store.with(|mut access| Ok(theirs(access.get().table.push(node)?)))
    }

    async fn readlink_at(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        path: String,
    ) -> FilesystemResult<String> {
        on(store, &fd, path.len(), move |node| node.readlink_at(&path)).await
    }

    async fn remove_directory_at(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        path: String,
    ) -> FilesystemResult<()> {
        on(store, &fd, path.len(), move |node| {
            node.remove_directory_at(&path)
        })
        .await
    }

    async fn rename_at(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        old: String,
        new_directory: Descriptor,
        new: String,
    ) -> FilesystemResult<()> {
        let (new_directory, _) = get(store, &new_directory)?;
        on(store, &fd, old.len() + new.len(), move |node| {
            node.rename_at(&old, &new_directory, &new)
        })
        .await
    }

    async fn symlink_at(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        target: String,
        path: String,
    ) -> FilesystemResult<()> {
        on(store, &fd, target.len() + path.len(), move |node| {
            node.symlink_at(&target, &path)
        })
        .await
    }

    async fn unlink_file_at(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        path: String,
    ) -> FilesystemResult<()> {
        on(store, &fd, path.len(), move |node| {
            node.unlink_file_at(&path)
        })
        .await
    }

    async fn is_same_object(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        other: Descriptor,
    ) -> wasmtime::Result<bool> {
        let (other, _) = get(store, &other)?;
        Ok(on(store, &fd, 0, move |node| Ok(node.is_same_object(&other))).await?)
    }

    async fn metadata_hash(
        store: &Accessor<U, Self>,
        fd: Descriptor,
    ) -> FilesystemResult<MetadataHashValue> {
        let hash = on(store, &fd, 0, |node| node.metadata_hash()).await?;
        Ok(values::hash(&hash))
    }

    async fn metadata_hash_at(
        store: &Accessor<U, Self>,
        fd: Descriptor,
        flags: PathFlags,
        path: String,
    ) -> FilesystemResult<MetadataHashValue> {
        let hash = on(store, &fd, path.len(), move |node| {
            node.metadata_hash_at(&path, follows(flags))
        })
        .await?;
        Ok(values::hash(&hash))
    }
}

#[cfg(test)]
mod tests;
