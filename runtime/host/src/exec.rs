//! What a command given to exec is: a wasm file of the container, its own program, or a tool.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use model::runtime::{RuntimeError, WasmImage};
use volume::FsError;

use crate::pod::Run;

/// The largest wasm file that exec runs from a mount.
const FILE: u64 = 256 << 20;

/// Compiles wasm that is not an image: the toolbox, or a file of a mount.
pub trait Compiler: Send + Sync + 'static {
    /// Code for these bytes, compiled now if it was not yet. It is given up if nobody waits for it.
    fn compile(&self, wasm: Bytes) -> Compiling<'_>;
}

/// What comes of compiling.
pub type Compiling<'a> = Pin<Box<dyn Future<Output = Result<WasmImage, RuntimeError>> + Send + 'a>>;

/// What is run, and its argv.
pub(crate) enum Command {
    /// The container's own program.
    Own(Vec<String>),
    /// A wasm file of the container.
    File(WasmImage, Vec<String>),
    /// A command of the toolbox.
    Toolbox(Vec<String>),
}

/// Finds the command that `argv[0]` names: a wasm file in the container's files, the container's
/// own program by the name it was started with, else the toolbox.
///
/// # Errors
/// `CommandNotFound` for an empty command or a path that holds no wasm file.
pub(crate) async fn find(
    command: &[String],
    target: &Run,
    compiler: &dyn Compiler,
) -> Result<Command, RuntimeError> {
    let Some(name) = command.first().filter(|name| !name.is_empty()) else {
        return Err(RuntimeError::CommandNotFound(
            "the command is empty: name a program".to_owned(),
        ));
    };
    if target.spec.args.first() == Some(name) {
        return Ok(Command::Own(command.to_vec()));
    }
    if !name.contains('/') {
        return Ok(Command::Toolbox(command.to_vec()));
    }
    match read(target, name).await {
        Ok(wasm) if wasm.starts_with(b"\0asm") => Ok(Command::File(
            compiler.compile(Bytes::from(wasm)).await?,
            command.to_vec(),
        )),
        Ok(_) => Err(RuntimeError::CannotRun(format!(
            "{name}: not a wasm file, and only wasm runs in this container"
        ))),
        // /bin/sh and the like: the tool of that name.
        Err(FsError::NoEntry | FsError::NotDirectory) => Ok(Command::Toolbox(tool(command, name))),
        Err(error) => Err(RuntimeError::CannotRun(format!("{name}: {error}"))),
    }
}

async fn read(target: &Run, path: &str) -> Result<Vec<u8>, FsError> {
    let (files, working_dir, path) = (
        target.files.clone(),
        target.spec.working_dir.clone(),
        path.to_owned(),
    );
    let path = if path.starts_with('/') {
        path
    } else {
        format!("{}/{path}", working_dir.trim_end_matches('/'))
    };
    tokio::task::spawn_blocking(move || files.read(&path, FILE))
        .await
        .unwrap_or(Err(FsError::Io))
}

/// argv with the last part of the path as the tool's name.
fn tool(command: &[String], path: &str) -> Vec<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut args = command.to_vec();
    if let Some(first) = args.first_mut() {
        name.clone_into(first);
    }
    args
}
