//! Compiled code, made by `wasmpod-compile` when it is not there yet.
//!
//! One compilation at a time per digest in this process; across processes the compiler itself
//! takes a lock. A compilation that fails or takes too long is told with the compiler's words.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::cache::CodePaths;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// The longest that a compilation may take, whatever the machine's load.
const TIMEOUT: Duration = Duration::from_secs(900);

/// The compiler's exit code for wasm that is at fault.
const BAD_INPUT: i32 = 2;

/// The code directory of one owner.
#[derive(Debug)]
pub struct CodeStore {
    paths: CodePaths,
    directory: PathBuf,
    compiler: PathBuf,
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

// === impl CodeStore ===

impl CodeStore {
    /// The store in `directory`, with the compiler at `compiler`.
    pub fn new(directory: PathBuf, compiler: PathBuf) -> Self {
        Self {
            paths: CodePaths::new(directory.clone()),
            directory,
            compiler,
            under_way: Mutex::default(),
        }
    }

    /// The code of a wasm file with this digest, compiled now if it was not yet.
    ///
    /// # Errors
    /// [`CodeError`], naming the file and the compiler's words.
    pub async fn code(&self, wasm: &Path, digest: &str) -> Result<PathBuf, CodeError> {
        if let Some(code) = self.paths.existing(digest) {
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

    async fn compile(&self, wasm: &Path, digest: &str) -> Result<PathBuf, CodeError> {
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
            let path = String::from_utf8_lossy(&output.stdout);
            return Ok(PathBuf::from(path.trim_end()));
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
