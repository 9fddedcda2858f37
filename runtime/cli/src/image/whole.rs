//! A file that gets its name once all of it is written: until then the one before it stays as it is.
//!
//! Another file takes its place only where nobody can tell it from the same one with other content. What
//! has a second name, an owner whom we cannot give it, attributes or a mount of its own, lies where we may
//! make no file, or is no regular file at all (a device, a FIFO, an open file as /dev/stdout names it), is
//! written as it is: what it held is gone at once.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, linkat, listxattr, openat, openat2};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// Permissions of a new file, less the umask.
const EVERYBODY: u32 = 0o666;

/// Permissions of one that takes another's place, until it has those of that one.
const OURS: u32 = 0o600;

/// Bytes of names of attributes that are looked at: the system has no file with more.
const NAMES: usize = 64 << 10;

/// A file that is being written. Dropped before it was kept, it goes.
pub(super) struct Whole {
    file: File,
    place: Place,
}

/// Where it lies meanwhile.
enum Place {
    /// Where it was asked for.
    There,
    /// Nowhere: the system forgets it with the process.
    Nameless { path: PathBuf },
    /// Beside the path, on file systems where every file has a name.
    Beside { staged: PathBuf, path: PathBuf },
}

// === impl Whole ===

impl Whole {
    /// Begins a file that is to lie at a path, in the place of what is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        match existing(path)? {
            Some(about) if about.is_file() => {
                // Whoever may not write to the file may not put another in its place either.
                File::options().write(true).open(path)?;
                match Self::instead_of(fs::canonicalize(path)?, &about)? {
                    Some(whole) => Ok(whole),
                    None => Self::there(path),
                }
            }
            // A link to nothing makes what it leads to.
            None if !path.is_symlink() => Self::new(path.to_owned(), EVERYBODY),
            _ => Self::there(path),
        }
    }

    fn there(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::create(path)?,
            place: Place::There,
        })
    }

    /// A file to take the place of another; nothing where that would be seen.
    fn instead_of(path: PathBuf, about: &fs::Metadata) -> io::Result<Option<Self>> {
        if about.nlink() > 1 || has_attributes(&path)? || is_mounted(&path)? {
            return Ok(None);
        }
        let whole = match Self::new(path, OURS) {
            Err(error) if is_forbidden(&error) => return Ok(None),
            whole => whole?,
        };
        let made = whole.file.metadata()?;
        let is_owned = (made.uid(), made.gid()) == (about.uid(), about.gid());
        if !is_owned && fchown(&whole.file, Some(about.uid()), Some(about.gid())).is_err() {
            return Ok(None);
        }
        whole.file.set_permissions(about.permissions())?;
        Ok(Some(whole))
    }

    /// A new file on the file system where it is to lie.
    fn new(path: PathBuf, permissions: u32) -> io::Result<Self> {
        let whole = path.as_os_str().as_encoded_bytes();
        let last = whole.rsplit(|byte| *byte == b'/').next();
        if matches!(last, None | Some(b"" | b"." | b"..")) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match openat(CWD, directory, flags, Mode::from_raw_mode(permissions)) {
            Ok(file) if link(&file).exists() => Ok(Self {
                file: file.into(),
                place: Place::Nameless { path },
            }),
            Ok(_) | Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                Self::beside(path, permissions)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn beside(path: PathBuf, permissions: u32) -> io::Result<Self> {
        let staged = staged(&path);
        let mut options = File::options();
        let options = options.write(true).create_new(true).mode(permissions);
        Ok(Self {
            file: options.open(&staged)?,
            place: Place::Beside { staged, path },
        })
    }

    /// What is written to.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, once the disk has it.
    ///
    /// # Errors
    /// When the disk does not take it, or it cannot be named; it is gone then.
    pub(super) fn keep(mut self) -> io::Result<()> {
        if matches!(self.place, Place::There) {
            return Ok(());
        }
        self.file.sync_data()?;
        if let Place::Nameless { path } = &self.place {
            // A name that is new first: none can be made in the place of another.
            let staged = staged(path);
            linkat(CWD, link(&self.file), CWD, &staged, AtFlags::SYMLINK_FOLLOW)?;
            let path = path.clone();
            self.place = Place::Beside { staged, path };
        }
        if let Place::Beside { staged, path } = &self.place {
            fs::rename(staged, path)?;
            self.place = Place::There;
        }
        Ok(())
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Place::Beside { staged, .. } = &self.place {
            // What stays has a name that says whose it was.
            let _ = fs::remove_file(staged);
        }
    }
}

/// A name beside a path that nobody else uses.
fn staged(path: &Path) -> PathBuf {
    let mut chance = [0; 8];
    // Without it the name is as good as its number, and it is made new in any case.
    let _ = getrandom(&mut chance, GetRandomFlags::empty());
    let (chance, process) = (u64::from_ne_bytes(chance), std::process::id());
    path.with_file_name(format!(".wasmpod-{chance:016x}-{process}.tmp"))
}

/// The link by which the system reaches an open file.
fn link(file: &impl AsRawFd) -> PathBuf {
    let number = file.as_raw_fd();
    PathBuf::from(format!("/proc/self/fd/{number}"))
}

/// Whether a directory takes no new file.
fn is_forbidden(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}

/// Whether a file has attributes, as a list of who may open it, which a new one would not have. Those of
/// the system's security a new one gets as well.
fn has_attributes(path: &Path) -> io::Result<bool> {
    let mut names = vec![0_u8; NAMES];
    let length = match listxattr(path, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    names.truncate(length);
    let mut names = names.split(|byte| *byte == 0);
    Ok(names.any(|name| !name.is_empty() && !name.starts_with(b"security.")))
}

/// Whether something is mounted at a path: it can be written to, and not be replaced.
fn is_mounted(path: &Path) -> io::Result<bool> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let parent = openat(CWD, parent, flags, Mode::empty())?;
    let name = path.file_name().unwrap_or(OsStr::new("."));
    match openat2(parent, name, flags, Mode::empty(), ResolveFlags::NO_XDEV) {
        Ok(_) => Ok(false),
        Err(Errno::XDEV) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// What is at a path; nothing where there is nothing. Files that are only named by what has them open,
/// as by /dev/stdout, are told as what they are reached by.
fn existing(path: &Path) -> io::Result<Option<fs::Metadata>> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        Ok(file) => File::from(file).metadata().map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP) => match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            about => about.map(Some),
        },
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
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
        for wrong in ["", "none/", "none/.", "none/..", "none/f"] {
            let wrong = path(wrong);
            assert!(write(&wrong, "4").is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_second_name_leads_to_the_same_file_still() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        write(&path("f"), "1").expect("written");
        fs::hard_link(path("f"), path("g")).expect("made");
        write(&path("g"), "2").expect("written");
        assert_eq!(fs::read_to_string(path("f")).expect("there"), "2");
        assert_eq!(names(folder.path()), ["f", "g"]);
    }

    #[test]
    fn what_cannot_be_named_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        for begin in [Whole::new, Whole::beside] {
            let whole = begin(path.clone(), EVERYBODY).expect("begun");
            fs::create_dir(&path).expect("made");
            let error = whole.keep().expect_err("a directory is in the way");
            assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
            assert_eq!(names(folder.path()), ["f"]);
            fs::remove_dir(&path).expect("removed");
        }
    }

    #[test]
    fn a_file_with_its_name_from_the_beginning_is_kept_as_well() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        let whole = Whole::beside(path.clone(), EVERYBODY).expect("begun");
        whole.file().write_all(b"whole").expect("written");
        assert!(!path.exists());
        whole.keep().expect("kept");
        assert_eq!(fs::read_to_string(&path).expect("there"), "whole");
        assert_eq!(names(folder.path()), ["f"]);
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
        let number = open.as_raw_fd();
        write(Path::new(&format!("/proc/self/fd/{number}")), "x").expect("written");
        let mut text = String::new();
        open.read_to_string(&mut text).expect("read");
        assert_eq!(text, "x");
        // A new file below such a name is one like others.
        let open = File::open(folder.path()).expect("opened");
        let number = open.as_raw_fd();
        write(Path::new(&format!("/proc/self/fd/{number}/g")), "y").expect("written");
        assert_eq!(names(folder.path()), ["f", "g"]);
    }
}
