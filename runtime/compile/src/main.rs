//! `wasmpod-compile`: wasm to machine code, in a process of its own.
//!
//! Compiling is where a hostile image can take the most time and memory, so it happens here, under
//! limits that the kernel keeps, and nowhere else. Its input is a file, its output a file in the
//! code directory that appears whole or not at all. It runs nothing and links no network.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Parser;
use engine::cache::{Answer, CodePaths, Making};
use engine::describe::Description;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Rlimit, setrlimit};

/// The largest wasm file that is compiled: interpreters with their libraries have 30 MiB.
const INPUT: u64 = 512 << 20;

/// Address space: what a 30 MiB component takes to compile on two threads, several times over.
const MEMORY: u64 = 16 << 30;

/// CPU seconds; the 12 MiB of a JavaScript engine take 20.
const CPU_SECONDS: u64 = 600;

/// Exit code for input that is at fault, as against this machine.
const BAD_INPUT: u8 = 2;

/// Compiles a wasm module or component for this build of wasmpod.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Where compiled code lies; private to its owner.
    #[arg(long, value_name = "DIR")]
    code_dir: PathBuf,
    /// sha256 of the file in hex: what the caller believes it gives.
    #[arg(long, value_name = "HEX")]
    digest: String,
    /// The wasm file.
    file: PathBuf,
}

/// Wasm that cannot be compiled.
#[derive(Debug)]
struct BadInput(String);

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(answer) => say(&answer),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            let code = if error.is::<BadInput>() { BAD_INPUT } else { 1 };
            ExitCode::from(code)
        }
    }
}

/// Prints the whole of what the caller reads.
fn say(answer: &Answer) -> ExitCode {
    match writeln!(std::io::stdout(), "{answer}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(options: &Options) -> anyhow::Result<Answer> {
    limit(Resource::As, MEMORY)?;
    limit(Resource::Cpu, CPU_SECONDS)?;
    limit(Resource::Core, 0)?;
    let paths = CodePaths::new(options.code_dir.clone());
    let _lock = lock(&options.code_dir, &options.digest)?;
    if let Some(code) = paths.existing(&options.digest) {
        return Ok(Answer::found(code));
    }
    let start = Instant::now();
    let wasm = read(&options.file)?;
    let digest = engine::cache::digest(&wasm);
    if digest != options.digest {
        bail!(
            "{} has the digest sha256:{digest}, not sha256:{}: it changed while it was read",
            options.file.display(),
            options.digest
        );
    }
    let description = Description::read(&wasm).map_err(|e| BadInput(e.to_string()))?;
    let code =
        engine::compile::compile(&wasm, &description).map_err(|e| BadInput(format!("{e:#}")))?;
    let path = paths.path(&digest, description.engine_kind());
    publish(&options.code_dir, &path, &code)?;
    Ok(Answer {
        code: path,
        made: Some(Making {
            took: start.elapsed(),
            peak_kib: peak(),
        }),
    })
}

/// The most memory that this process had resident until now, in KiB, where the kernel tells it.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// One process at a time compiles a digest; the others find it done.
fn lock(directory: &Path, digest: &str) -> anyhow::Result<File> {
    if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!("{digest:?} is no sha256 digest: 64 hexadecimal digits are needed");
    }
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let path = directory.join(format!("{digest}.lock"));
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    flock(&file, FlockOperation::LockExclusive)
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut wasm = Vec::new();
    file.take(INPUT + 1)
        .read_to_end(&mut wasm)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if wasm.len() as u64 > INPUT {
        return Err(BadInput(format!("it is larger than {} MiB", INPUT >> 20)).into());
    }
    Ok(wasm)
}

/// Puts the code at its place in one step, readable by its owner alone.
fn publish(directory: &Path, path: &Path, code: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let staged = directory.join(format!(".{}.tmp", std::process::id()));
    let written = File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&staged)
        .and_then(|mut file| {
            file.write_all(code)?;
            // After a crash the name must not stand for half a file.
            file.sync_all()
        })
        .and_then(|()| fs::rename(&staged, path));
    written.with_context(|| {
        let _ = fs::remove_file(&staged);
        format!("cannot write {}", path.display())
    })
}

fn limit(resource: Resource, most: u64) -> anyhow::Result<()> {
    let current = rustix::process::getrlimit(resource);
    let most = current.maximum.map_or(most, |maximum| maximum.min(most));
    setrlimit(
        resource,
        Rlimit {
            current: Some(most),
            maximum: Some(most),
        },
    )
    .with_context(|| format!("cannot limit {resource:?}"))
}

impl std::fmt::Display for BadInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadInput {}
