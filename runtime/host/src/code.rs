//! Compiled code, made by `wasmpod-compile` when it is not there yet.
//!
//! One compilation at a time per digest in this process, and as many compilers as there are cores;
//! across processes the compiler itself takes a lock. A compilation that fails or takes too long is
//! told with the compiler's words. Code that was cut is compiled again; the code that this process
//! has used lately stays on its shelf.

mod recent;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::cache::{Answer, CodePaths};
use tokio::process::Command;
use tokio::sync::{OnceCell, Semaphore};

use self::recent::Recent;
use crate::shelf::{Kept, Shelf};

/// The longest that a compilation may take, whatever the machine's load.
const TIMEOUT: Duration = Duration::from_secs(900);

/// The compiler's exit code for wasm that is at fault.
const BAD_INPUT: i32 = 2;

/// The most bytes of compiled code that stay: some hundred programs with their libraries.
const CAPACITY: u64 = 4 << 30;

/// The most compilers at once, however many cores there are: each may take a GiB.
const COMPILERS: usize = 4;

/// Code that is kept from being collected: each takes a descriptor, and a process has few. Code
/// that is mapped already stays valid without its file.
const KEPT: usize = 1024;

/// The code directory of one owner.
#[derive(Debug)]
pub struct CodeStore {
    paths: CodePaths,
    directory: PathBuf,
    compiler: PathBuf,
    shelf: Shelf,
    turns: Semaphore,
    /// Code by its digest that this process may map at any time.
    kept: Mutex<Recent<Kept>>,
    under_way: Mutex<HashMap<String, Arc<OnceCell<PathBuf>>>>,
}

/// Why there is no code for a wasm file.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// The wasm is at fault.
    #[error("{file} cannot be compiled: {reason}")]
    BadWasm {
        /// The file.
        file: String,
        /// The compiler's words.
        reason: String,
    },
    /// The compiler is not where it should be.
    #[error(
        "the compiler {compiler} cannot be started: {source}; it is installed beside wasmpod, or named by WASMPOD_COMPILE"
    )]
    NoCompiler {
        /// Its path.
        compiler: String,
        /// What the system said.
        source: io::Error,
    },
    /// This machine is at fault.
    #[error("compiling {file} failed: {reason}")]
    Failed {
        /// The file.
        file: String,
        /// What went wrong.
        reason: String,
    },
}

/// How many compilers run at once.
fn turns() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(COMPILERS)
}

// === impl CodeStore ===

impl CodeStore {
    /// The store in `directory`, with the compiler at `compiler`.
    pub fn new(directory: PathBuf, compiler: PathBuf) -> Self {
        Self {
            paths: CodePaths::new(directory.clone()),
            shelf: Shelf::new(directory.clone(), "cwasm", CAPACITY),
            directory,
            compiler,
            turns: Semaphore::new(turns()),
            kept: Mutex::new(Recent::new(KEPT)),
            under_way: Mutex::default(),
        }
    }

    /// The code of a wasm file with this digest, compiled now if it was not yet.
    ///
    /// # Errors
    /// [`CodeError`], naming the file and the compiler's words.
    pub async fn code(&self, wasm: &Path, digest: &str) -> Result<PathBuf, CodeError> {
        if let Some(code) = self.existing(digest) {
            return Ok(code);
        }
        let cell = {
            let mut under_way = self
                .under_way
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(under_way.entry(digest.to_owned()).or_default())
        };
        let code = cell
            .get_or_try_init(|| self.compile(wasm, digest))
            .await
            .cloned();
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(digest);
        code
    }

    /// The code of this wasm, if it is there as a whole. What is there and was cut is deleted: it
    /// can be made again.
    fn existing(&self, digest: &str) -> Option<PathBuf> {
        let mut all_kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = all_kept.get(digest)
            && kept.path().exists()
        {
            return Some(kept.path().to_owned());
        }
        let path = self.paths.existing(digest)?;
        let kept = self.shelf.keep(&path).ok().flatten()?;
        if !engine::cache::is_whole(kept.file()).unwrap_or(false) {
            tracing::warn!(code = %path.display(), "compiled code is cut short, and is compiled again");
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(%error, code = %path.display(), "compiled code cannot be deleted");
            }
            return None;
        }
        all_kept.insert(digest, kept);
        Some(path)
    }

    /// Compiles, and keeps what comes of it.
    async fn compile(&self, wasm: &Path, digest: &str) -> Result<PathBuf, CodeError> {
        // An error means that the store is gone.
        let _turn = self.turns.acquire().await;
        let shelf = self.shelf.clone();
        let hold = tokio::task::spawn_blocking(move || shelf.hold()).await;
        let hold = hold.unwrap_or_else(|e| Err(io::Error::other(e)));
        let hold = hold.map_err(|e| CodeError::Failed {
            file: wasm.display().to_string(),
            reason: format!("{} cannot be locked: {e}", self.directory.display()),
        })?;
        let code = self.run_compiler(wasm, digest).await?;
        match self.shelf.keep(&code) {
            Ok(Some(kept)) => {
                let mut all_kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                all_kept.insert(digest, kept);
            }
            // The pod that needs it is told when it is mapped.
            Ok(None) => tracing::warn!(code = %code.display(), "compiled code is gone already"),
            Err(error) => tracing::warn!(%error, code = %code.display(), "compiled code"),
        }
        drop(hold);
        let shelf = self.shelf.clone();
        tokio::task::spawn_blocking(move || match shelf.collect() {
            Ok(0) => {}
            Ok(gone) => tracing::debug!(gone, "compiled code was collected"),
            Err(error) => tracing::warn!(%error, "compiled code cannot be collected"),
        });
        Ok(code)
    }

    async fn run_compiler(&self, wasm: &Path, digest: &str) -> Result<PathBuf, CodeError> {
        let file = wasm.display().to_string();
        let mut command = Command::new(&self.compiler);
        command
            .args(["--digest", digest, "--code-dir"])
            .arg(&self.directory)
            .arg("--")
            .arg(wasm)
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(TIMEOUT, command.output()).await;
        let output = output
            .map_err(|_| CodeError::Failed {
                file: file.clone(),
                reason: format!("it took longer than {} s", TIMEOUT.as_secs()),
            })?
            .map_err(|source| CodeError::NoCompiler {
                compiler: self.compiler.display().to_string(),
                source,
            })?;
        if output.status.success() {
            let answer = Answer::read(&String::from_utf8_lossy(&output.stdout));
            if let Some(made) = answer.made {
                let took_ms = made.took.as_millis();
                tracing::info!(wasm = file, took_ms, peak_kib = made.peak_kib, "compiled");
            }
            return Ok(answer.code);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.code() {
            Some(BAD_INPUT) => Err(CodeError::BadWasm { file, reason: said }),
            _ => Err(CodeError::Failed {
                file,
                reason: format!("wasmpod-compile {}: {said}", output.status),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
