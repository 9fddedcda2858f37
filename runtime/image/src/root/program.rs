//! The program of an image with a root file system: which file a word names, and what that is by its
//! first bytes. Nothing is run here.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use model::working_dir;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::unpack::open_inside;

/// Where programs are looked for in an image that sets no PATH, as Docker has it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The most links that the kernel follows on one path.
const LINKS: u32 = 40;

/// The program of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Where its file lies on this machine.
    pub path: PathBuf,
    /// What it is.
    pub kind: ProgramKind,
}

/// What a program is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramKind {
    /// A wasm module or component.
    Wasm,
    /// A Linux program.
    Elf,
    /// A script.
    Script,
    /// Nothing that runs.
    Other,
}

/// Why it cannot be told what the program of a root is.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// Its name leads to links, and they to each other, or to more than the kernel follows.
    #[error("its symbolic links lead in a circle, or there are more than {LINKS} of them")]
    TooManyLinks,
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The program that a word names in a root: a path from the working directory, or a name that is
/// looked for in PATH, and beside the working directory at last, as images of wasm files name it.
/// Nothing where there is none.
///
/// # Errors
/// When the root cannot be read, or nothing is found but links without an end.
pub fn program(
    root: &Path,
    word: &str,
    search: Option<&str>,
    working_dir: &str,
) -> Result<Option<Program>, ProgramError> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, flags, Mode::empty()).map_err(io::Error::from)?;
    let (mut candidates, mut has_too_many) = (Vec::new(), false);
    if !word.contains('/') {
        let search = search.unwrap_or(PATH);
        let folders = search.split(':').filter(|folder| folder.starts_with('/'));
        candidates.extend(folders.map(|folder| Path::new(folder).join(word)));
    }
    candidates.push(Path::new(&working_dir::clean(working_dir)).join(word));
    for candidate in candidates {
        if word.is_empty() || candidate.as_os_str().len() > crate::limits::PATH {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match open_inside(&root, &candidate, flags) {
            // There is none, or cannot be one.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => continue,
            Err(Errno::LOOP) => {
                has_too_many = true;
                continue;
            }
            other => other.map_err(io::Error::from)?,
        };
        let file = File::from(file);
        if file.metadata()?.is_file() {
            return Ok(Some(opened(&file)?));
        }
    }
    match has_too_many {
        true => Err(ProgramError::TooManyLinks),
        false => Ok(None),
    }
}

fn opened(file: &File) -> io::Result<Program> {
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let mut magic = Vec::new();
    file.take(4).read_to_end(&mut magic)?;
    let kind = match magic.as_slice() {
        b"\0asm" => ProgramKind::Wasm,
        b"\x7fELF" => ProgramKind::Elf,
        [b'#', b'!', ..] => ProgramKind::Script,
        _ => ProgramKind::Other,
    };
    Ok(Program { path, kind })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::manifest::media::Compression;
    use crate::testing::{Entry, tar};
    use crate::unpack::{Bounds, Unpacker};

    #[test]
    fn programs_are_found_by_their_paths_and_names() {
        let layer = tar(&[
            Entry::Directory("bin"),
            Entry::File("bin/run.wasm", b"\0asm\x01\0\0\0"),
            Entry::Link("link", "/bin/run.wasm"),
            Entry::Link("over", "../../../../bin/run.wasm"),
            Entry::Link("out", "../../../../etc/passwd"),
            Entry::File("native", b"\x7fELF..."),
        ]);
        let folder = tempfile::tempdir().expect("a folder");
        let mut unpacker = Unpacker::new(folder.path(), Bounds::default()).expect("an unpacker");
        let size = layer.len() as u64;
        let unpacked = unpacker.layer(layer.as_slice(), size, Compression::None, None);
        unpacked.expect("unpacked");
        let found = |word: &str, working_dir| {
            let found = program(folder.path(), word, None, working_dir).expect("readable");
            found.map(|it| (it.kind, it.path.file_name().map(OsStr::to_owned)))
        };
        let run = Some(OsStr::new("run.wasm").to_owned());
        let cases = [
            ("/bin/run.wasm", "/", Some((ProgramKind::Wasm, run.clone()))),
            ("run.wasm", "/", Some((ProgramKind::Wasm, run.clone()))),
            ("./run.wasm", "/bin", Some((ProgramKind::Wasm, run.clone()))),
            // As the container begins there, by names alone.
            (
                "./run.wasm",
                "x/../../bin",
                Some((ProgramKind::Wasm, run.clone())),
            ),
            ("/link", "/", Some((ProgramKind::Wasm, run.clone()))),
            ("/over", "/", Some((ProgramKind::Wasm, run))),
            (
                "native",
                "/",
                Some((ProgramKind::Elf, Some("native".into()))),
            ),
            ("/out", "/", None),
            ("/bin", "/", None),
            ("", "/", None),
            ("absent", "/nowhere", None),
        ];
        for (word, working_dir, wanted) in cases {
            assert_eq!(found(word, working_dir), wanted, "{word} in {working_dir}");
        }
    }

    #[test]
    fn links_without_an_end_are_told_where_nothing_else_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = |path: &str, target: &str| {
            std::os::unix::fs::symlink(target, folder.path().join(path)).expect("made");
        };
        for directory in ["bin", "sbin"] {
            fs::create_dir(folder.path().join(directory)).expect("made");
        }
        link("round", "/bin/around");
        link("bin/around", "../round");
        link("sbin/run", "run");
        fs::write(folder.path().join("bin/run"), b"\0asm").expect("written");
        for word in ["/round", "around", "/round/x", "/sbin/run"] {
            let found = program(folder.path(), word, None, "/");
            assert!(matches!(found, Err(ProgramError::TooManyLinks)), "{word}");
        }
        for number in 0..=LINKS {
            link(&format!("links{number}"), &format!("links{}", number + 1));
        }
        fs::write(folder.path().join(format!("links{}", LINKS + 1)), "").expect("written");
        let found = program(folder.path(), "links0", None, "/");
        assert!(matches!(found, Err(ProgramError::TooManyLinks)));
        let found = program(folder.path(), "links1", None, "/").expect("readable");
        assert!(found.is_some());
        let found = program(folder.path(), "run", None, "/").expect("readable");
        assert_eq!(found.map(|it| it.kind), Some(ProgramKind::Wasm));
    }
}
