//! Stages: files and directories in `ingest/` that somebody works on until they get their name.
//!
//! A stage is locked while it is worked on. One whose lock can be had belongs to nobody, whichever
//! process made it, in whichever namespace: it is collected.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

use super::{Store, StoreError, failed, is_still};

/// A file or directory that is being worked on. Dropped before it was kept, it goes.
#[derive(Debug)]
pub(crate) struct Stage {
    path: PathBuf,
    /// Holds the lock.
    file: File,
    is_kept: bool,
}

impl Store {
    /// A new file that is worked on.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn stage_file(&self, what: &str) -> Result<Stage, StoreError> {
        self.stage(what, |path| {
            let mut options = File::options();
            options.create_new(true).read(true).write(true).open(path)
        })
    }

    /// A new directory that is worked on.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn stage_directory(&self, what: &str) -> Result<Stage, StoreError> {
        self.stage(what, |path| {
            fs::create_dir(path)?;
            opened(path)
        })
    }

    fn stage(
        &self,
        what: &str,
        make: impl Fn(&Path) -> io::Result<File>,
    ) -> Result<Stage, StoreError> {
        loop {
            let path = self.staged(what);
            let file = match make(&path) {
                // Collected before it could be locked.
                Err(error) if error.kind() == io::ErrorKind::NotFound && is_folder_there(&path) => {
                    continue;
                }
                other => other.map_err(failed("make", &path))?,
            };
            let locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            if locked && is_still(&path, &file) {
                return Ok(Stage {
                    path,
                    file,
                    is_kept: false,
                });
            }
        }
    }
}

/// Opens a file or directory for its lock; nothing is made.
pub(super) fn opened(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(File::from(open(path, flags, Mode::empty())?))
}

fn is_folder_there(path: &Path) -> bool {
    path.parent().is_some_and(Path::is_dir)
}

// === impl Stage ===

impl Stage {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, if it is one.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// When it cannot be renamed; it is gone then.
    pub(crate) fn keep(mut self, path: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, path).map_err(failed("keep", path))?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.is_kept {
            // What stays is nobody's any more, and collected.
            let _ = match self.file.metadata().is_ok_and(|about| about.is_dir()) {
                true => fs::remove_dir_all(&self.path),
                false => fs::remove_file(&self.path),
            };
        }
    }
}
