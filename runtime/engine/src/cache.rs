//! Compiled code on disk: where it lies and how it is mapped.
//!
//! A file's name holds the digest of the wasm it was made from and the fingerprint of the
//! configuration it was made for, so a file is either the right one or absent. The directory is
//! private to its owner and only `wasmpod-compile` writes to it; code never comes from an image.

mod answer;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use sha2::Digest as _;
use wasmtime::component::Component;
use wasmtime::{Engine, Module, Precompiled};

pub use self::answer::{Answer, Making};

use crate::config::{self, Kind};

/// Bytes of the header of a 64-bit ELF file.
const ELF_HEADER: usize = 64;
/// What they begin with.
const ELF_MAGIC: &[u8] = b"\x7fELF";
// Elf64_Ehdr: e_shoff, e_shentsize, e_shnum.
const SECTIONS_AT: usize = 0x28;
const SECTION_SIZE_AT: usize = 0x3a;
const SECTION_COUNT_AT: usize = 0x3c;

/// Names the files of one build of the engine.
#[derive(Debug, Clone)]
pub struct CodePaths {
    directory: PathBuf,
    sync: String,
    asynchronous: String,
}

/// Code that is mapped and can be instantiated.
#[derive(Clone)]
pub(crate) enum Code {
    /// A core module: preview 1.
    Module(Module),
    /// A component: WASI 0.2 or 0.3.
    Component(Component),
}

/// A compiled file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "compiled code {path} cannot be loaded: {reason}; delete the file to have it compiled again"
)]
pub struct LoadError {
    path: String,
    reason: String,
    is_of_machine: bool,
}

// === impl LoadError ===

impl LoadError {
    /// Whether the machine had not what it takes, which it may have later.
    pub(crate) fn is_of_machine(&self) -> bool {
        self.is_of_machine
    }
}

// === impl CodePaths ===

impl CodePaths {
    /// The names under `directory` for this build.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            sync: config::fingerprint(Kind::Sync),
            asynchronous: config::fingerprint(Kind::Async),
        }
    }

    /// Where the code of this wasm lies, for this kind.
    pub fn path(&self, digest: &str, kind: Kind) -> PathBuf {
        let fingerprint = match kind {
            Kind::Sync => &self.sync,
            Kind::Async => &self.asynchronous,
        };
        self.directory.join(format!("{digest}-{fingerprint}.cwasm"))
    }

    /// The code of this wasm if it is there, whatever kind it needs.
    pub fn existing(&self, digest: &str) -> Option<PathBuf> {
        [Kind::Sync, Kind::Async]
            .into_iter()
            .map(|kind| self.path(digest, kind))
            .find(|path| path.exists())
    }
}

/// What the code at this path was compiled for, as its name says.
pub(crate) fn kind(path: &Path) -> Kind {
    let is_async = path.file_stem().is_some_and(|name| {
        let end = format!("-{}", config::fingerprint(Kind::Async));
        name.as_encoded_bytes().ends_with(end.as_bytes())
    });
    if is_async { Kind::Async } else { Kind::Sync }
}

// === impl Code ===

impl Code {
    /// Maps a compiled file into an engine of the kind it was compiled for.
    pub(crate) fn load(engine: &Engine, path: &Path) -> Result<Self, LoadError> {
        let unlike = |reason: String, is_of_machine: bool| LoadError {
            path: path.display().to_string(),
            reason,
            is_of_machine,
        };
        let error = |e: wasmtime::Error| unlike(format!("{e:#}"), is_of_machine(&e));
        match Engine::detect_precompiled_file(path).map_err(error)? {
            Some(Precompiled::Module) => {
                map(engine, path, Module::deserialize_file).map(Self::Module)
            }
            Some(Precompiled::Component) => {
                map(engine, path, Component::deserialize_file).map(Self::Component)
            }
            None => return Err(unlike("it is not compiled wasm".to_owned(), false)),
        }
        .map_err(error)
    }
}

/// Whether the system refused something, rather than the code being other than it should.
fn is_of_machine(error: &wasmtime::Error) -> bool {
    let mut causes = error.chain();
    causes.any(|cause| cause.is::<io::Error>() || cause.is::<rustix::io::Errno>())
}

/// Whether compiled code is there to its end: it is an ELF file, whose last part its header names.
/// A file that was cut is told before anything of it is mapped.
///
/// # Errors
/// When it cannot be read.
pub fn is_whole(code: &File) -> io::Result<bool> {
    let mut header = [0; ELF_HEADER];
    match code.read_exact_at(&mut header, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    }
    // Whose ELF file it is, is asked when it is loaded: that takes more of it than the header.
    if !header.starts_with(ELF_MAGIC) {
        return Ok(false);
    }
    let part = |at: usize| header.get(at..).unwrap_or_default();
    let short = |at| {
        let bytes = part(at).first_chunk();
        bytes.map_or(0, |bytes| u64::from(u16::from_le_bytes(*bytes)))
    };
    let table = part(SECTIONS_AT).first_chunk();
    let table = table.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let end = table.checked_add(short(SECTION_SIZE_AT) * short(SECTION_COUNT_AT));
    Ok(table > 0 && end.is_some_and(|end| end <= code.metadata().map_or(0, |about| about.len())))
}

type Deserialize<'a, T> = unsafe fn(&Engine, &'a Path) -> wasmtime::Result<T>;

/// The one place where bytes on disk become code of this process.
#[expect(
    unsafe_code,
    reason = "wasmtime cannot check that a file is its own output"
)]
fn map<'a, T>(
    engine: &Engine,
    path: &'a Path,
    deserialize: Deserialize<'a, T>,
) -> wasmtime::Result<T> {
    // SAFETY: the file lies in a directory that only this owner can write to, where
    // `wasmpod-compile` put it whole by rename and nobody changes it afterwards; its name
    // carries the fingerprint of this very configuration.
    unsafe { deserialize(engine, path) }
}

/// sha256 of some bytes, in hex: what names wasm and its code.
pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in sha2::Sha256::digest(bytes) {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_code_was_compiled_for() {
        let paths = CodePaths::new(PathBuf::from("/code"));
        for expected in [Kind::Sync, Kind::Async] {
            let path = paths.path(&digest(b"wasm"), expected);
            assert_eq!(kind(&path), expected, "{}", path.display());
        }
        assert_eq!(kind(Path::new("/code/other.cwasm")), Kind::Sync);
    }
}
