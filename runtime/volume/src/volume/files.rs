//! Files from objects (configMap, secret, downwardAPI, projected), replaced all at once in the
//! layout of kubelet's AtomicWriter:
//!
//! ```text
//! config/..1763646000_5/a.conf      one directory per generation
//! config/..1763646000_5/d/b.conf
//! config/..data -> ..1763646000_5   renamed over the old link: the moment of change
//! config/a.conf -> ..data/a.conf    one link per name at the top
//! config/d      -> ..data/d
//! ```
//!
//! Guests never write here, so nothing is in the way of plain names. The old generation goes at
//! once; a guest that was on its way through it resolves its path again, see [`FileSet::generation`].

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use model::runtime::FileSpec;
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::one_file::write_new;
use super::{PLACE, make_directory, unique};
use crate::measure::{is_dots, list, os_name, remove_tree};
use crate::{VolumeError, path};

/// The link to the generation that counts.
const DATA: &str = "..data";
/// The same link before it is renamed.
const NEXT_DATA: &str = "..data_tmp";

/// The files of one volume, and where they go.
pub(crate) struct FileSet {
    directory: PathBuf,
    state: Mutex<State>,
    generation: AtomicU64,
}

struct State {
    files: Vec<FileSpec>,
    written: bool,
}

/// A file with its path taken apart.
type Planned<'a> = BTreeMap<Vec<String>, &'a FileSpec>;

// === impl FileSet ===

impl FileSet {
    pub(crate) fn new(directory: PathBuf, files: Vec<FileSpec>) -> Self {
        Self {
            directory,
            state: Mutex::new(State {
                files,
                written: false,
            }),
            generation: AtomicU64::new(0),
        }
    }

    /// Where the files are once they are written.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Grows with every change, after the change is seen and before the old files go. So a look-up
    /// that found nothing, and finds another generation afterwards, is worth repeating.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The files as they should be now.
    pub(crate) fn files(&self) -> Vec<FileSpec> {
        self.state().files.clone()
    }

    /// Whether every path is one that kubelet would take.
    pub(crate) fn check(&self, volume: &str) -> Result<(), VolumeError> {
        plan(volume, &self.state().files).map(|_| ())
    }

    /// Writes them for the first time.
    pub(crate) fn write(&self, volume: &str) -> Result<(), VolumeError> {
        let mut state = self.state();
        self.publish(volume, &state.files)?;
        state.written = true;
        Ok(())
    }

    /// Replaces them; on the disk too if they are there. If that fails the old ones stay.
    pub(crate) fn update(&self, volume: &str, files: Vec<FileSpec>) -> Result<(), VolumeError> {
        let mut state = self.state();
        plan(volume, &files)?;
        if state.files == files {
            return Ok(());
        }
        if state.written {
            self.publish(volume, &files)?;
        }
        state.files = files;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, volume: &str, files: &[FileSpec]) -> Result<(), VolumeError> {
        let planned = plan(volume, files)?;
        make_directory(volume, &self.directory, Mode::from_raw_mode(0o755))?;
        self.publish_plan(&planned).map_err(|source| {
            VolumeError::io(volume, "write the files of", &self.directory, source)
        })
    }

    fn publish_plan(&self, planned: &Planned<'_>) -> io::Result<()> {
        let root = fs::open(&self.directory, PLACE, Mode::empty())?;
        let generation = generation_name();
        let written = write_generation(&root, &generation, planned).and_then(|()| {
            remove_tree(root.as_fd(), OsStr::new(NEXT_DATA))?;
            fs::symlinkat(generation.as_str(), &root, NEXT_DATA)?;
            fs::renameat(&root, NEXT_DATA, &root, DATA)?;
            Ok(())
        });
        if let Err(error) = written {
            let undone = remove_tree(root.as_fd(), OsStr::new(&generation));
            tracing::debug!(?undone, "removed files that could not be published");
            return Err(error);
        }
        let top: BTreeSet<&str> = planned
            .keys()
            .filter_map(|names| names.first())
            .map(String::as_str)
            .collect();
        for name in &top {
            link_to_data(&root, name)?;
        }
        self.generation.fetch_add(1, Ordering::AcqRel);
        remove_stale(&root, &generation, &top)
    }
}

/// Takes the paths apart. A later file of the same path wins; two paths of which one would have to
/// be file and directory are refused.
fn plan<'a>(volume: &str, files: &'a [FileSpec]) -> Result<Planned<'a>, VolumeError> {
    let mut planned = Planned::new();
    for file in files {
        let wrong = |problem| VolumeError::Path {
            volume: volume.to_owned(),
            field: "path",
            path: file.path.clone(),
            problem,
        };
        if file.path.starts_with('/') {
            return Err(wrong("must be relative"));
        }
        let names = path::names(&file.path).map_err(wrong)?;
        if names.first().is_none_or(|name| name.starts_with("..")) {
            return Err(wrong("must not start with '..'"));
        }
        planned.insert(names, file);
    }
    for (above, below) in planned.keys().zip(planned.keys().skip(1)) {
        if below.starts_with(above) {
            return Err(VolumeError::Path {
                volume: volume.to_owned(),
                field: "path",
                path: above.join("/"),
                problem: "is a file, and another path needs it as a directory",
            });
        }
    }
    Ok(planned)
}

/// A name that no other generation of this machine has: the second, and a number of this process.
fn generation_name() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    format!(
        "..{}_{:09}_{}_{}",
        now.as_secs(),
        now.subsec_nanos(),
        std::process::id(),
        unique()
    )
}

fn write_generation(root: &OwnedFd, name: &str, planned: &Planned<'_>) -> io::Result<()> {
    let directory = enter(root, name)?;
    for (names, file) in planned {
        let Some((last, above)) = names.split_last() else {
            continue;
        };
        let mut at: Option<OwnedFd> = None;
        for name in above {
            at = Some(enter(at.as_ref().unwrap_or(&directory), name)?);
        }
        write_new(
            at.as_ref().unwrap_or(&directory).as_fd(),
            OsStr::new(last),
            &file.content,
            file.mode,
        )?;
    }
    Ok(())
}

/// Makes a directory where it is missing, and opens it.
fn enter(at: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    match fs::mkdirat(at, name, Mode::RWXU) {
        Ok(()) => {
            // Not through the path, which would follow a link.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = fs::openat(at, name, flags, Mode::empty())?;
            fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
            Ok(made)
        }
        Err(Errno::EXIST) => Ok(fs::openat(at, name, PLACE, Mode::empty())?),
        Err(errno) => Err(errno.into()),
    }
}

fn link_to_data(root: &OwnedFd, name: &str) -> io::Result<()> {
    let target = format!("{DATA}/{name}");
    let found = fs::readlinkat(root, name, Vec::new());
    if found.is_ok_and(|found| found.to_bytes() == target.as_bytes()) {
        return Ok(());
    }
    remove_tree(root.as_fd(), OsStr::new(name))?;
    Ok(fs::symlinkat(target, root, name)?)
}

/// Removes every generation but one, and the links to files that are no more.
fn remove_stale(root: &OwnedFd, generation: &str, top: &BTreeSet<&str>) -> io::Result<()> {
    for entry in list(root.as_fd())? {
        let entry = entry?;
        let name = entry.file_name();
        let wanted = name
            .to_str()
            .is_ok_and(|name| name == DATA || name == generation || top.contains(name));
        if !wanted && !is_dots(name.to_bytes()) {
            remove_tree(root.as_fd(), os_name(name))?;
        }
    }
    // A link without a generation behind it would be a lie; there is none unless the disk failed.
    fs::statat(root, DATA, AtFlags::empty())?;
    Ok(())
}

#[cfg(test)]
mod tests;
