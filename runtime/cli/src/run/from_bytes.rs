//! Wasm that lies in no file yet, compiled: what exec has found in mounts, and the toolbox.
//!
//! It is hashed and written to a file of `content/`, since the compiler reads files. That may be
//! hundreds of megabytes, so all of it is done where threads may wait.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use host::shelf::{Hold, Shelf};
use host::{Compiler, Compiling};
use model::runtime::RuntimeError;
use tokio::sync::Semaphore;

use crate::images::Files;

/// The most bytes of wasm that stay in `content/`: what exec has found in mounts, and the toolbox.
const CONTENT: u64 = 1 << 30;

/// How many wait for the shelf of `content/`, hash and write at once: each takes a thread of those
/// that may wait, and whoever has the shelf needs one to go on.
const WAITING: usize = 16;

/// Tells apart what several tasks of this process write at once.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// Compiles wasm that lies in no file yet.
pub(super) struct FromBytes {
    turns: Arc<Semaphore>,
    files: Arc<Files>,
    content: Content,
}

/// Where it is written to.
#[derive(Clone)]
struct Content {
    directory: PathBuf,
    shelf: Shelf,
}

/// Wasm that lies in a file.
struct Written {
    path: PathBuf,
    digest: String,
    /// Keeps the file from being collected.
    _hold: Hold,
}

// === impl FromBytes ===

impl FromBytes {
    /// Compiles with `files`, and writes below `content`.
    pub(super) fn new(files: Arc<Files>, content: PathBuf) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(WAITING)),
            files,
            content: Content {
                shelf: Shelf::new(content.clone(), "wasm", CONTENT),
                directory: content,
            },
        }
    }
}

impl Compiler for FromBytes {
    fn compile(&self, wasm: Bytes) -> Compiling<'_> {
        Box::pin(async move {
            // An error means that the run is gone.
            let turn = Arc::clone(&self.turns).acquire_owned().await;
            let content = self.content.clone();
            let write = move || {
                // For as long as the thread is taken, whether or not anybody waits for it.
                let _turn = turn;
                content.write(&wasm)
            };
            let written = tokio::task::spawn_blocking(write).await;
            let written = written.unwrap_or_else(|e| Err(RuntimeError::Gone(e.to_string())))?;
            let image = self.files.known(&written.path, written.digest.clone());
            image
                .await
                .map_err(|e| RuntimeError::CannotRun(e.to_string()))
        })
    }
}

// === impl Content ===

impl Content {
    /// Writes wasm to the file that has its digest as its name, unless it is there. Not to be
    /// called where tasks run.
    fn write(&self, wasm: &[u8]) -> Result<Written, RuntimeError> {
        let digest = engine::cache::digest(wasm);
        let path = self.directory.join(format!("{digest}.wasm"));
        // What is too much goes before more comes.
        let hold = self.shelf.collect().and_then(|_| self.shelf.hold());
        let hold = hold.map_err(|e| {
            let directory = self.directory.display();
            RuntimeError::Exhausted(format!("cannot lock {directory}: {e}"))
        })?;
        if !path.exists() {
            self.stage(&path, wasm).map_err(|e| {
                RuntimeError::Exhausted(format!("cannot write {}: {e}", path.display()))
            })?;
        }
        Ok(Written {
            path,
            digest,
            _hold: hold,
        })
    }

    /// Writes all of it beside the file, and gives it its name then.
    fn stage(&self, path: &std::path::Path, wasm: &[u8]) -> io::Result<()> {
        let number = STAGED.fetch_add(1, Relaxed);
        let staged = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
        std::fs::write(&staged, wasm).and_then(|()| std::fs::rename(&staged, path))
    }
}
