//! One volume: what it holds, and the directory or file that it becomes when it is first used.
//!
//! ```text
//! unmade --first use--> made --pod removed--> removed (opens nothing any more)
//! ```
//!
//! It holds no descriptor: whoever looks opens it anew, by a path that no guest can change. A
//! container's scratch directory, and the frozen copy that a subPath of a `Files` volume is, are
//! volumes too; they only lie elsewhere.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use model::runtime::{FileSpec, VolumeSource, VolumeSpec};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use crate::limit::{Ledger, LimitedPlace, Measure, Observer};
use crate::measure::{measure, measure_file};
use crate::{FsError, VolumeError};

pub(crate) mod files;
pub(crate) mod host_path;
pub(crate) mod memory;
pub(crate) mod one_file;

use files::FileSet;
use host_path::HostPath;
use memory::Memory;

/// A volume of a pod, or of a container alone.
pub(crate) struct Volume {
    /// Unique in this process: what makes the volume's root itself before it is made.
    pub(crate) id: u64,
    name: String,
    place: LimitedPlace,
    body: Body,
    making: Mutex<()>,
    made: AtomicBool,
    removed: AtomicBool,
    ledger: Option<Ledger>,
    observer: Arc<Observer>,
}

/// What a volume holds, and where.
pub(crate) enum Body {
    /// Nothing, and nothing can be made in it: the root of a read-only container without files.
    Nothing,
    /// A directory made empty.
    Empty(PathBuf),
    /// The same in memory; its name there is the volume's.
    Memory(Arc<Memory>),
    /// Something of the node.
    Host(HostPath),
    /// Files from objects.
    Files(FileSet),
    /// One file.
    File(PathBuf, FileSpec),
}

/// The root of a volume, or of a part of one, opened.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A directory. It may be good for nothing but looking up names in it (O_PATH).
    Directory(Arc<OwnedFd>),
    /// Anything else: the directory that it lies in, and its name there.
    File(Arc<OwnedFd>, OsString),
}

/// How directories are opened that are only a place to look up names in.
pub(crate) const PLACE: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What kubelet gives an emptyDir; what keeps others out is the directory above.
const OPEN_TO_ALL: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO);

static IDS: AtomicU64 = AtomicU64::new(0);

/// A number that nothing else in this process has.
pub(crate) fn unique() -> u64 {
    IDS.fetch_add(1, Ordering::Relaxed)
}

// === impl Volume ===

impl Volume {
    /// The volume `name` of the pod whose directory is `pod`.
    pub(crate) fn new(
        name: &str,
        spec: VolumeSpec,
        pod: &Path,
        memory: &Arc<Memory>,
        observer: Arc<Observer>,
    ) -> Self {
        let directory = pod.join("volumes").join(name);
        let body = match spec.source {
            VolumeSource::Empty { memory: true } => Body::Memory(Arc::clone(memory)),
            VolumeSource::Empty { memory: false } => Body::Empty(directory),
            VolumeSource::Host { path, kind } => Body::Host(HostPath::new(path, kind)),
            VolumeSource::Files(files) => Body::Files(FileSet::new(directory, files)),
            VolumeSource::File(file) => Body::File(directory, file),
        };
        let place = LimitedPlace::Volume(name.to_owned());
        Self::with(name, place, body, spec.size_limit, observer)
    }

    /// A volume of any sort.
    pub(crate) fn with(
        name: &str,
        place: LimitedPlace,
        body: Body,
        limit: Option<u64>,
        observer: Arc<Observer>,
    ) -> Self {
        // What lies in memory is counted in any case, for whoever pays for it.
        let unlimited = matches!(body, Body::Memory(_)).then_some(u64::MAX);
        Self {
            id: unique(),
            name: name.to_owned(),
            place,
            body,
            making: Mutex::default(),
            made: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            ledger: limit.or(unlimited).map(Ledger::new),
            observer,
        }
    }

    /// Its name in the pod, or the container's.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it holds.
    pub(crate) fn body(&self) -> &Body {
        &self.body
    }

    /// Whom a refusal names.
    pub(crate) fn place(&self) -> &LimitedPlace {
        &self.place
    }

    /// Its ledger, if it has a limit.
    pub(crate) fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// Who is told of refusals.
    pub(crate) fn observer(&self) -> &Arc<Observer> {
        &self.observer
    }

    /// Whether its files are memory that its writers pay for.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.body, Body::Memory(_))
    }

    /// Whether guests may never write to it, whatever the mount says.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self.body, Body::Files(_) | Body::Nothing)
    }

    /// How often its files have been replaced.
    pub(crate) fn generation(&self) -> u64 {
        match &self.body {
            Body::Files(files) => files.generation(),
            _ => 0,
        }
    }

    /// Opens it if there is anything to open; an empty directory is not made for it.
    pub(crate) fn look(&self) -> Result<Option<Opened>, VolumeError> {
        match &self.body {
            Body::Nothing => Ok(None),
            Body::Empty(path) if !self.is_made() => self.look_at(path),
            Body::Memory(memory) if !self.is_made() => {
                self.look_at(&memory.directory().join(&self.name))
            }
            _ => self.open().map(Some),
        }
    }

    fn look_at(&self, path: &Path) -> Result<Option<Opened>, VolumeError> {
        self.refuse_if_removed()?;
        match fs::open(path, PLACE, Mode::empty()) {
            Ok(directory) => Ok(Some(Opened::Directory(Arc::new(directory)))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(VolumeError::io(&self.name, "open", path, errno)),
        }
    }

    /// Opens it, and makes it first where that has not been done.
    pub(crate) fn open(&self) -> Result<Opened, VolumeError> {
        self.make()?;
        match &self.body {
            Body::Nothing => Err(VolumeError::io(
                &self.name,
                "make",
                Path::new("/"),
                Errno::ROFS,
            )),
            Body::Empty(path) => self.open_directory(path).map(Opened::Directory),
            Body::Memory(memory) => self
                .open_directory(&memory.directory().join(&self.name))
                .map(Opened::Directory),
            Body::Files(files) => self
                .open_directory(files.directory())
                .map(Opened::Directory),
            Body::Host(host) => host.open(&self.name),
            Body::File(directory, file) => Ok(Opened::File(
                self.open_directory(directory)?,
                one_file::name(&self.name, file)?.into(),
            )),
        }
    }

    /// Refuses what is of a process and no file, where this volume is of the machine: access. It is
    /// this process that opens files, so `/proc/self/mem` would be the memory of its runtime.
    pub(crate) fn refuse_procfs(&self, opened: impl AsFd) -> Result<(), FsError> {
        match &self.body {
            Body::Host(_) if host_path::is_procfs(opened)? => Err(FsError::Access),
            _ => Ok(()),
        }
    }

    /// Makes it, once.
    pub(crate) fn make(&self) -> Result<(), VolumeError> {
        if self.is_made() {
            return Ok(());
        }
        self.unless_removed(|| {
            match &self.body {
                Body::Nothing => {}
                Body::Empty(path) => make_directory(&self.name, path, OPEN_TO_ALL)?,
                Body::Memory(memory) => {
                    memory.prepare(&self.name)?;
                    make_directory(
                        &self.name,
                        &memory.directory().join(&self.name),
                        OPEN_TO_ALL,
                    )?;
                }
                Body::Host(host) => host.check(&self.name)?,
                Body::Files(files) => files.write(&self.name)?,
                Body::File(directory, file) => one_file::write(&self.name, directory, file, false)?,
            }
            self.made.store(true, Ordering::Release);
            Ok(())
        })
    }

    /// Does something to its files while nobody else makes or removes it. Errors: removed.
    pub(crate) fn unless_removed<T>(
        &self,
        act: impl FnOnce() -> Result<T, VolumeError>,
    ) -> Result<T, VolumeError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        self.refuse_if_removed()?;
        act()
    }

    /// Opens nothing any more. Waits for a call that is making it.
    pub(crate) fn close(&self) {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        self.removed.store(true, Ordering::Release);
        self.made.store(false, Ordering::Release);
    }

    /// Counts what it holds. `None` if that cannot be told.
    pub(crate) fn measure(&self) -> Option<Measure> {
        match self.look() {
            Ok(Some(Opened::Directory(directory))) => measure(directory.as_fd()),
            Ok(Some(Opened::File(directory, name))) => measure_file(directory.as_fd(), &name),
            Ok(None) => Some(Measure::default()),
            Err(error) => {
                tracing::debug!(volume = self.name, %error, "cannot count");
                None
            }
        }
    }

    fn open_directory(&self, path: &Path) -> Result<Arc<OwnedFd>, VolumeError> {
        fs::open(path, PLACE, Mode::empty())
            .map(Arc::new)
            .map_err(|errno| VolumeError::io(&self.name, "open", path, errno))
    }

    fn is_made(&self) -> bool {
        self.made.load(Ordering::Acquire)
    }

    fn refuse_if_removed(&self) -> Result<(), VolumeError> {
        if self.removed.load(Ordering::Acquire) {
            return Err(VolumeError::Removed {
                volume: self.name.clone(),
            });
        }
        Ok(())
    }
}

/// Makes a directory of the pod and, private to their owner, those above it that are missing.
/// The mode is exact, whatever the umask. That it exists is no error.
pub(crate) fn make_directory(volume: &str, path: &Path, mode: Mode) -> Result<(), VolumeError> {
    let failed = |source: std::io::Error| VolumeError::io(volume, "make directory", path, source);
    match fs::mkdir(path, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(Errno::NOENT) => {
            use std::os::unix::fs::DirBuilderExt;
            let above = path.parent().unwrap_or(Path::new("/"));
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(above)
                .map_err(failed)?;
            match fs::mkdir(path, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => return Ok(()),
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        Err(errno) => return Err(failed(errno.into())),
    }
    if mode != Mode::RWXU {
        // By descriptor: a sandboxed host may change no mode by path.
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fs::open(path, flags, Mode::empty())
            .and_then(|made| fs::fchmod(made, mode))
            .map_err(|errno| failed(errno.into()))?;
    }
    Ok(())
}

/// Opens a name in a directory for reading and writing text of ours, refusing all but a regular
/// file.
pub(crate) fn open_regular(
    directory: BorrowedFd<'_>,
    name: &std::ffi::OsStr,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = fs::openat(directory, name, flags, Mode::empty())?;
    let stat = fs::fstat(&file)?;
    if fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::RegularFile {
        Ok(file)
    } else {
        Err(Errno::NXIO)
    }
}

/// What a guest is told when its volume cannot be opened; the node's log has the whole text.
pub(crate) fn to_guest(error: &VolumeError) -> FsError {
    tracing::debug!(%error, "a guest met a volume that cannot be opened");
    FsError::from(error)
}
