//! `wasmpod pod-host`: this program as a child that runs guests and holds no keys.
//!
//! Frames come and go on standard input, descriptors on standard output. Privileges are given up
//! before there is a second thread.

use std::os::fd::AsFd as _;
use std::process::ExitCode;

use anyhow::Context as _;
use host::{Confinement, ServeConfig, Sockets};

use crate::machine;
use crate::options::PodHost;

/// Threads for everything but guests.
const THREADS: usize = 2;

/// Serves until the parent is gone.
///
/// # Errors
/// When it was not started as a pod host, cannot be confined, or loses its parent.
pub(crate) fn serve(options: PodHost) -> anyhow::Result<ExitCode> {
    let not_so_started = "standard input and output are no sockets: only wasmpod starts a pod host";
    let frames = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .context(not_so_started)?;
    let descriptors = std::io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .context(not_so_started)?;
    rustix::net::getsockname(&frames).context(not_so_started)?;
    rustix::net::getsockname(&descriptors).context(not_so_started)?;
    // Not to be read any more once this is confined.
    let mappings = machine::mappings();
    host::confine(&Confinement {
        read: options.read,
        write: options.write,
        memory: options.memory_dir.clone(),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let sockets = Sockets {
        frames: frames.into(),
        descriptors,
    };
    let config = ServeConfig {
        range: net::PodRange::LOOPBACK,
        is_steered: options.steered,
        memory_dir: options.memory_dir,
        toolbox: crate::run::toolbox(),
        mappings,
    };
    runtime
        .block_on(host::serve(sockets, config))
        .context("the pod host lost its parent")?;
    Ok(ExitCode::SUCCESS)
}
