//! A directory of files that can be made again: compiled code, wasm of our own.
//!
//! ```text
//!   makes files:   hold the shelf, shared ──> stage ──> rename
//!   uses a file:   keep it, shared ──> map it, for as long as the process lives
//!   collects:      the shelf alone, if nobody makes; each file alone, if nobody keeps it
//! ```
//!
//! Locks are the kernel's on open files, so they end with their process, however it ends.
//! Collecting waits for nobody: what is in use stays, and what could not be had this time is had
//! the next. Only past twice the capacity whoever wants to make more waits for the makers, and
//! collects first: makers that overlap would otherwise keep it from ever being collected.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, flock, futimens};

use crate::private::private_directory;

/// The name of the file that is locked for the whole directory.
const LOCK: &str = "shelf.lock";

/// A directory of files that can be made again. It knows them by their extension.
#[derive(Debug, Clone)]
pub struct Shelf {
    directory: PathBuf,
    extension: &'static str,
    /// The most bytes that stay when it is collected, unless more is in use.
    capacity: u64,
}

/// Leave to make files, until dropped.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "it is locked for as long as it is open")] File);

/// A file that stays, until this is dropped.
#[derive(Debug)]
pub struct Kept {
    file: File,
    path: PathBuf,
}

/// A file that could go.
struct Candidate {
    path: PathBuf,
    size: u64,
    used: SystemTime,
}

// === impl Shelf ===

impl Shelf {
    /// The shelf in `directory` with files of this extension.
    pub fn new(directory: PathBuf, extension: &'static str, capacity: u64) -> Self {
        Self {
            directory,
            extension,
            capacity,
        }
    }

    /// Leave to make files, in a directory that is made where there is none. Waits while another
    /// process collects, which takes moments; where there is twice too much, until nobody makes
    /// any, and collects. Not to be called where tasks run.
    ///
    /// # Errors
    /// When the lock cannot be opened or had, or the directory cannot be read.
    pub fn hold(&self) -> io::Result<Hold> {
        private_directory(&self.directory)?;
        let lock = self.lock()?;
        let (candidates, _) = self.look()?;
        if total(&candidates) > self.capacity.saturating_mul(2) {
            flock(&lock, FlockOperation::LockExclusive)?;
            self.collect_alone()?;
        }
        flock(&lock, FlockOperation::LockShared)?;
        Ok(Hold(lock))
    }

    /// Keeps a file from being collected, and counts it as used now; `None` where there is none,
    /// or it is on its way out.
    ///
    /// # Errors
    /// When it is there and cannot be opened.
    pub fn keep(&self, path: &Path) -> io::Result<Option<Kept>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
            return Ok(None);
        }
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let unchanged = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        };
        // Where the time cannot be set the file only looks older than it is.
        let _ = futimens(
            &file,
            &Timestamps {
                last_access: unchanged,
                last_modification: now,
            },
        );
        // It may have been deleted between the opening and the lock.
        let is_there = fs::symlink_metadata(path)
            .and_then(|named| Ok(named.ino() == file.metadata()?.ino()))
            .unwrap_or(false);
        let path = path.to_owned();
        Ok(is_there.then_some(Kept { file, path }))
    }

    /// Deletes what was left half made, lock files, and the files that were not used for longest
    /// until the rest fits. Does nothing while anybody makes files here; never deletes what
    /// anybody keeps. Answers how many files went.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn collect(&self) -> io::Result<usize> {
        let lock = self.lock()?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(0);
        }
        self.collect_alone()
    }

    /// Collects, under the shelf's lock.
    fn collect_alone(&self) -> io::Result<usize> {
        let (candidates, left_behind) = self.look()?;
        // Nobody makes anything now.
        let left_behind = left_behind
            .iter()
            .filter(|path| fs::remove_file(path).is_ok());
        Ok(left_behind.count() + self.collect_files(candidates))
    }

    /// The files that could go, and what whoever makes files leaves behind if it is killed.
    fn look(&self) -> io::Result<(Vec<Candidate>, Vec<PathBuf>)> {
        let (mut candidates, mut left_behind) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let Ok(about) = fs::symlink_metadata(&path) else {
                continue;
            };
            let extension = path.extension().and_then(|extension| extension.to_str());
            match extension {
                _ if !about.is_file() || path.ends_with(LOCK) => {}
                Some(other) if other == self.extension => candidates.push(Candidate {
                    size: about.len(),
                    used: about.modified()?,
                    path,
                }),
                Some("lock" | "tmp") => left_behind.push(path),
                _ => {}
            }
        }
        Ok((candidates, left_behind))
    }

    fn collect_files(&self, mut candidates: Vec<Candidate>) -> usize {
        let mut total = total(&candidates);
        candidates.sort_by_key(|candidate| candidate.used);
        let mut gone = 0;
        for Candidate { path, size, .. } in candidates {
            if total <= self.capacity {
                break;
            }
            let alone = File::open(&path).is_ok_and(|file| {
                flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
                    && fs::remove_file(&path).is_ok()
            });
            if alone {
                total -= size;
                gone += 1;
            }
        }
        gone
    }

    fn lock(&self) -> io::Result<File> {
        File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(self.directory.join(LOCK))
    }
}

fn total(candidates: &[Candidate]) -> u64 {
    candidates.iter().map(|candidate| candidate.size).sum()
}

// === impl Kept ===

impl Kept {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its content.
    pub fn file(&self) -> &File {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A shelf of 30 bytes with files of 10, each used an hour after the one before.
    fn shelf(names: &[&str]) -> (tempfile::TempDir, Shelf) {
        let folder = tempfile::tempdir().expect("a folder");
        for (hours, name) in (1..).zip(names) {
            let path = folder.path().join(name);
            fs::write(&path, [0; 10]).expect("written");
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(3600 * hours);
            let file = File::options().write(true).open(&path).expect("opened");
            file.set_modified(used).expect("dated");
        }
        let shelf = Shelf::new(folder.path().to_owned(), "code", 30);
        (folder, shelf)
    }

    fn left(folder: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| name != LOCK)
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_least_recently_used_go_first_and_no_more_than_needed() {
        let (folder, shelf) = shelf(&["a.code", "b.code", "c.code", "d.code", "e.code"]);
        assert_eq!(shelf.collect().expect("collected"), 2);
        assert_eq!(left(&folder), ["c.code", "d.code", "e.code"]);
        assert_eq!(shelf.collect().expect("collected"), 0, "the rest fits");
    }

    #[test]
    fn what_is_kept_stays_and_was_used_now() {
        let (folder, shelf) = shelf(&["a.code", "b.code", "c.code", "d.code", "e.code"]);
        let kept = shelf.keep(&folder.path().join("a.code")).expect("opened");
        let kept = kept.expect("a file");
        let brief = shelf.keep(&folder.path().join("b.code")).expect("opened");
        drop(brief.expect("a file"));
        shelf.collect().expect("collected");
        assert_eq!(left(&folder), ["a.code", "b.code", "e.code"]);
        let tight = Shelf::new(folder.path().to_owned(), "code", 0);
        tight.collect().expect("collected");
        assert_eq!(left(&folder), ["a.code"], "in use, whatever the room");
        assert!(kept.path().ends_with("a.code"));
        drop(kept);
        tight.collect().expect("collected");
        assert!(left(&folder).is_empty());
        let absent = shelf.keep(&folder.path().join("a.code")).expect("no error");
        assert!(absent.is_none());
    }

    #[test]
    fn past_twice_the_capacity_whoever_makes_more_collects_first() {
        let twice = ["a.code", "b.code", "c.code", "d.code", "e.code", "f.code"];
        let (folder, shelf) = shelf(&twice);
        let hold = shelf.hold().expect("a hold");
        assert_eq!(left(&folder).len(), twice.len(), "not past it");
        fs::write(folder.path().join("g.code"), [0; 10]).expect("written");
        std::thread::scope(|scope| {
            let next = scope.spawn(|| shelf.hold().expect("a hold"));
            drop(hold);
            next.join().expect("a thread");
        });
        assert_eq!(left(&folder), ["e.code", "f.code", "g.code"]);
    }

    #[test]
    fn what_was_left_behind_goes_but_not_while_somebody_makes_files() {
        let names = ["a.code", "x.lock", ".1.tmp", "notes.txt"];
        let (folder, shelf) = shelf(&names);
        let hold = shelf.hold().expect("a hold");
        let second = shelf.hold().expect("any number at once");
        drop(second);
        assert_eq!(shelf.collect().expect("collected"), 0);
        assert_eq!(left(&folder).len(), names.len());
        drop(hold);
        assert_eq!(shelf.collect().expect("collected"), 2);
        assert_eq!(left(&folder), ["a.code", "notes.txt"]);
    }
}
