//! A volume that is one writable file, such as /etc/hosts or a termination log.
//!
//! It lies in a directory of its own, under the last name of its path, and is written whole before
//! it gets that name.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;

use model::runtime::FileSpec;
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{PLACE, make_directory, open_regular};
use crate::{VolumeError, path};

/// The name under which it is first written.
const UNFINISHED: &str = "..unfinished";

/// The last name of the file's path. Errors: a path that names no file.
pub(crate) fn name(volume: &str, file: &FileSpec) -> Result<String, VolumeError> {
    let wrong = |problem| VolumeError::Path {
        volume: volume.to_owned(),
        field: "path",
        path: file.path.clone(),
        problem,
    };
    path::names(&file.path)
        .map_err(wrong)?
        .pop()
        .ok_or_else(|| wrong("names no file"))
}

/// Writes it with its first content. What is there already stays, unless it is to be replaced.
pub(crate) fn write(
    volume: &str,
    directory: &Path,
    file: &FileSpec,
    replace: bool,
) -> Result<(), VolumeError> {
    let name = name(volume, file)?;
    make_directory(volume, directory, Mode::RWXU)?;
    write_in(directory, &name, file, replace)
        .map_err(|source| VolumeError::io(volume, "write", &directory.join(&name), source))
}

fn write_in(directory: &Path, name: &str, file: &FileSpec, replace: bool) -> std::io::Result<()> {
    let directory = fs::open(directory, PLACE, Mode::empty())?;
    if !replace && fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok(());
    }
    match fs::unlinkat(&directory, UNFINISHED, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    write_new(
        directory.as_fd(),
        OsStr::new(UNFINISHED),
        &file.content,
        file.mode,
    )?;
    fs::renameat(&directory, UNFINISHED, &directory, name)?;
    Ok(())
}

/// Writes a file that must not exist yet. The mode is exact, whatever the umask.
pub(crate) fn write_new(
    directory: std::os::fd::BorrowedFd<'_>,
    name: &OsStr,
    content: &[u8],
    mode: u32,
) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(content)?;
    fs::fchmod(&file, Mode::from_raw_mode(mode & 0o7777))?;
    Ok(())
}

/// The last `at_most` bytes of it. Its first content if it has never been used.
pub(crate) fn read(
    volume: &str,
    directory: &Path,
    file: &FileSpec,
    at_most: u64,
) -> Result<Vec<u8>, VolumeError> {
    let name = name(volume, file)?;
    read_in(directory, &name, file, at_most)
        .map_err(|source| VolumeError::io(volume, "read", &directory.join(&name), source))
}

fn read_in(
    directory: &Path,
    name: &str,
    file: &FileSpec,
    at_most: u64,
) -> std::io::Result<Vec<u8>> {
    let opened = fs::open(directory, PLACE, Mode::empty())
        .and_then(|directory| open_regular(directory.as_fd(), OsStr::new(name), OFlags::RDONLY));
    let mut opened = match opened {
        Ok(opened) => File::from(opened),
        Err(Errno::NOENT) => {
            let skipped = file
                .content
                .len()
                .saturating_sub(usize::try_from(at_most).unwrap_or(usize::MAX));
            return Ok(file.content.get(skipped..).unwrap_or_default().to_vec());
        }
        Err(errno) => return Err(errno.into()),
    };
    let size = opened.metadata()?.len();
    opened.seek(SeekFrom::Start(size.saturating_sub(at_most)))?;
    let mut content = Vec::new();
    opened.take(at_most).read_to_end(&mut content)?;
    Ok(content)
}
