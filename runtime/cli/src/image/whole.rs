//! A file that gets its name once all of it is written: until then the one before it stays as it is.
//!
//! What is no regular file (a device, a FIFO, an open file as /dev/stdout names it) has no place of its
//! own to be put in, and is written as it is.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// A file that is being written. Dropped before it was kept, it goes.
pub(super) struct Whole {
    file: File,
    /// Where it lies meanwhile, and where it is to lie; nothing where it is written as it is.
    paths: Option<(PathBuf, PathBuf)>,
}

// === impl Whole ===

impl Whole {
    /// Begins a file that is to lie at a path, in the place of what is there.
    ///
    /// # Errors
    /// When it, or another beside it, cannot be made.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        match existing(path)? {
            // Whoever may not write to the file may not put another in its place either.
            Some(about) if about.is_file() => {
                File::options().write(true).open(path)?;
                let whole = match Self::beside(fs::canonicalize(path)?) {
                    // Where there is no room for another beside it, it is all that can be written.
                    Err(error) if is_forbidden(&error) => return Self::as_it_is(path),
                    whole => whole?,
                };
                // Its owner stays where the system lets us.
                let _ = fchown(&whole.file, Some(about.uid()), Some(about.gid()));
                whole.file.set_permissions(about.permissions())?;
                Ok(whole)
            }
            // A link to nothing makes what it leads to.
            None if !path.is_symlink() => Self::beside(path.to_owned()),
            _ => Self::as_it_is(path),
        }
    }

    fn as_it_is(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::create(path)?,
            paths: None,
        })
    }

    /// A new file, in the directory where it is to be.
    fn beside(path: PathBuf) -> io::Result<Self> {
        if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut chance = [0; 8];
        // Without it the name is as good as its number, and it is made new in any case.
        let _ = getrandom(&mut chance, GetRandomFlags::empty());
        let (chance, process) = (u64::from_ne_bytes(chance), std::process::id());
        let name = OsString::from(format!(".wasmpod-{chance:016x}-{process}.tmp"));
        let staged = path.with_file_name(name);
        let file = File::options().write(true).create_new(true).open(&staged)?;
        Ok(Self {
            file,
            paths: Some((staged, path)),
        })
    }

    /// What is written to.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, once the disk has it.
    ///
    /// # Errors
    /// When the disk does not take it, or it cannot be renamed; it is gone then.
    pub(super) fn keep(mut self) -> io::Result<()> {
        if let Some((staged, path)) = &self.paths {
            self.file.sync_data()?;
            fs::rename(staged, path)?;
            self.paths = None;
        }
        Ok(())
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some((staged, _)) = &self.paths {
            // What stays has a name that says whose it was.
            let _ = fs::remove_file(staged);
        }
    }
}

/// Whether a directory takes no new file.
fn is_forbidden(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}

/// What is at a path; nothing where there is nothing. Files that are only named by what has them open,
/// as by /dev/stdout, are told as what they are reached by.
fn existing(path: &Path) -> io::Result<Option<fs::Metadata>> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        Ok(file) => File::from(file).metadata().map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP) => fs::symlink_metadata(path).map(Some),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn write(path: &Path, text: &str) -> io::Result<()> {
        let whole = Whole::begin(path)?;
        whole.file().write_all(text.as_bytes())?;
        whole.keep()
    }

    fn names(folder: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_stays_until_another_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        let half = |text: &str| {
            let whole = Whole::begin(&path).expect("begun");
            whole.file().write_all(text.as_bytes()).expect("written");
        };
        half("half");
        assert!(names(folder.path()).is_empty());
        write(&path, "whole").expect("written");
        half("half");
        assert_eq!(fs::read_to_string(&path).expect("there"), "whole");
        write(&path, "new").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "new");
        assert_eq!(names(folder.path()), ["f"]);
    }

    #[test]
    fn permissions_and_links_are_as_a_plain_create_leaves_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let mode = |name: &str| {
            let about = fs::metadata(path(name)).expect("there");
            about.permissions().mode()
        };
        File::create(path("plain")).expect("made");
        write(&path("new"), "1").expect("written");
        assert_eq!(mode("new"), mode("plain"));
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(path("plain"), private).expect("set");
        symlink("plain", path("link")).expect("made");
        write(&path("link"), "2").expect("written");
        assert_eq!(mode("plain") & 0o777, 0o600);
        assert!(path("link").is_symlink());
        assert_eq!(fs::read_to_string(path("plain")).expect("there"), "2");
        symlink("later", path("nowhere")).expect("made");
        write(&path("nowhere"), "3").expect("written");
        assert_eq!(fs::read_to_string(path("later")).expect("there"), "3");
        for directory in [folder.path().to_owned(), path("none/"), path("none/f")] {
            assert!(write(&directory, "4").is_err(), "{directory:?}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_written_as_it_is() {
        let error = write(Path::new("/dev/full"), "x").expect_err("full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        let mut open = File::options();
        let open = open.read(true).write(true).create(true).truncate(true);
        let mut open = open.open(&path).expect("made");
        // As /dev/stdout names a file that a shell opened.
        let number = std::os::fd::AsRawFd::as_raw_fd(&open);
        write(Path::new(&format!("/proc/self/fd/{number}")), "x").expect("written");
        let mut text = String::new();
        open.read_to_string(&mut text).expect("read");
        assert_eq!(text, "x");
    }
}
