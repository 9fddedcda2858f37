//! What the tests of this crate share: a pod in a temporary directory, and what lies outside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use model::runtime::{FileSpec, MountSpec, VolumeSource, VolumeSpec};
use model::volume::HostPathType;
use rustix::fs::{Mode, OFlags, RenameFlags};
use tempfile::TempDir;

use crate::{FsError, MountTable, Node, OpenOptions, PodVolumes, RootSpec};

/// Opens for reading.
pub(crate) const READ: OpenOptions = OpenOptions {
    read: true,
    ..NOTHING
};
/// Opens for writing what exists.
pub(crate) const WRITE: OpenOptions = OpenOptions {
    write: true,
    ..NOTHING
};
/// Makes and opens for reading and writing.
pub(crate) const CREATE: OpenOptions = OpenOptions {
    read: true,
    write: true,
    create: true,
    ..NOTHING
};
/// Opens a directory.
pub(crate) const DIRECTORY: OpenOptions = OpenOptions {
    read: true,
    mutate_directory: true,
    directory: true,
    ..NOTHING
};
/// No option at all.
pub(crate) const NOTHING: OpenOptions = OpenOptions {
    read: false,
    write: false,
    mutate_directory: false,
    create: false,
    exclusive: false,
    directory: false,
    truncate: false,
    file_integrity_sync: false,
    data_integrity_sync: false,
    requested_write_sync: false,
};

/// A pod in `pod` of a temporary directory, with `outside` beside it.
pub(crate) struct Pod {
    scratch: TempDir,
    pub(crate) volumes: PodVolumes,
}

impl Pod {
    pub(crate) fn new<'a>(specs: impl IntoIterator<Item = (&'a str, VolumeSpec)>) -> Self {
        Self::with(|_| {
            specs
                .into_iter()
                .map(|(name, spec)| (name.to_owned(), spec))
                .collect()
        })
    }

    /// A pod whose volumes depend on where its temporary directory is.
    pub(crate) fn with(specs: impl FnOnce(&Path) -> BTreeMap<String, VolumeSpec>) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let specs = specs(scratch.path());
        let volumes = PodVolumes::new(scratch.path().join("pod"), specs);
        Self { scratch, volumes }
    }

    /// A pod with a hostPath `host` at `host` of the temporary directory.
    pub(crate) fn with_host() -> Self {
        Self::with(|scratch| {
            std::fs::create_dir(scratch.join("host")).unwrap();
            BTreeMap::from([("host".to_owned(), host(scratch.join("host")))])
        })
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.scratch.path().join(below)
    }

    /// A table with volumes at paths.
    pub(crate) fn table(&self, mounts: &[(&str, &str)]) -> MountTable {
        let mounts: Vec<MountSpec> = mounts
            .iter()
            .map(|(volume, path)| mount(volume, path))
            .collect();
        MountTable::new(&self.volumes, root("one"), &mounts).unwrap()
    }

    /// The kernel descriptors of this process that lead into the temporary directory.
    pub(crate) fn descriptors(&self) -> Vec<PathBuf> {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.starts_with(self.scratch.path()))
            .collect()
    }
}

pub(crate) fn root(container: &str) -> RootSpec {
    RootSpec {
        container: container.to_owned(),
        ..RootSpec::default()
    }
}

pub(crate) fn mount(volume: &str, path: &str) -> MountSpec {
    MountSpec {
        volume: volume.to_owned(),
        path: path.to_owned(),
        ..MountSpec::default()
    }
}

pub(crate) fn empty() -> VolumeSpec {
    spec(VolumeSource::Empty { memory: false })
}

pub(crate) fn limited(limit: u64) -> VolumeSpec {
    VolumeSpec {
        size_limit: Some(limit),
        ..empty()
    }
}

pub(crate) fn host(path: PathBuf) -> VolumeSpec {
    spec(VolumeSource::Host {
        path,
        kind: HostPathType::Directory,
    })
}

pub(crate) fn files(files: &[(&str, &str)]) -> VolumeSpec {
    spec(VolumeSource::Files(file_specs(files)))
}

pub(crate) fn file_specs(files: &[(&str, &str)]) -> Vec<FileSpec> {
    files
        .iter()
        .map(|(path, content)| file_spec(path, content))
        .collect()
}

pub(crate) fn file_spec(path: &str, content: &str) -> FileSpec {
    FileSpec {
        path: path.to_owned(),
        content: Bytes::copy_from_slice(content.as_bytes()),
        mode: 0o644,
    }
}

pub(crate) fn spec(source: VolumeSource) -> VolumeSpec {
    VolumeSpec {
        source,
        size_limit: None,
    }
}

/// Makes a file with this content.
pub(crate) fn put(directory: &Node, path: &str, content: &str) {
    let file = directory.open_at(path, true, &CREATE).unwrap();
    assert_eq!(file.write_at(content.as_bytes(), 0), Ok(content.len()));
}

/// The content of a file.
pub(crate) fn get(directory: &Node, path: &str) -> Result<String, FsError> {
    let content = directory.open_at(path, true, &READ)?.read_whole(1 << 20)?;
    Ok(String::from_utf8(content).unwrap())
}

/// The names in a directory, sorted.
pub(crate) fn names(directory: &Node) -> Vec<String> {
    let mut listing = directory.read_dir().unwrap();
    let mut names = Vec::new();
    while let Some(entry) = listing.next().unwrap() {
        names.push(entry.name);
    }
    names.sort();
    names
}

/// How often something is tried while somebody swaps.
const ATTEMPTS: usize = 4000;

/// Runs `attempt` again and again while two names in a real directory are swapped.
pub(crate) fn while_swapping(directory: &Path, one: &str, other: &str, attempt: impl Fn(usize)) {
    let directory = rustix::fs::open(directory, OFlags::PATH, Mode::empty()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(
                    &directory,
                    one,
                    &directory,
                    other,
                    RenameFlags::EXCHANGE,
                )
                .unwrap();
            }
        });
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..ATTEMPTS).for_each(&attempt)
        }));
        done.store(true, Ordering::Relaxed);
        tried.unwrap();
    });
}
