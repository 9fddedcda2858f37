//! WASI preview 1 (`wasi_snapshot_preview1`), wholly ours, over the mount table and the pod's
//! network.
//!
//! All 46 functions are defined by hand with their pointers as plain numbers. What each needs
//! from the guest's memory is checked in one place ([`memory`]), what each answers has its layout in
//! another ([`abi`]). A mistake of the guest is an error number; nothing here traps but the end of
//! the program and a module without a memory.
//!
//! A call that waits is a future of the guest's own task: when the instance is killed the future
//! is dropped, and nothing is left to undo. There is neither a working directory nor a signal: preview
//! 1 has no notion of either.

mod abi;
mod descriptors;
mod directories;
mod errno;
mod files;
mod memory;
mod paths;
mod poll;
mod process;
mod sockets;
mod stdio;
mod transfer;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::container::Protocol;
use wasmtime::{Linker, Module};

use self::descriptors::Descriptors;
use crate::guest::Guest;
use crate::instance::Program;
use crate::output::Output;
use crate::stdin::Stdin;

/// The module that everything is imported from.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

/// What a listener without a name is called: sd_listen_fds_with_names(3).
const UNNAMED: &str = "unknown";

/// Ports that become listeners; with more of them the table of descriptors would have no room to
/// serve them.
const MAX_LISTENERS: usize = 256;

/// What a preview 1 module has beyond its memory. Costs nothing until its first call.
pub(crate) struct State {
    start: Start,
    /// Made at the first call that names a descriptor.
    descriptors: Option<Descriptors>,
}

/// What a program starts with.
struct Start {
    program: Arc<Program>,
    stdin: Option<Stdin>,
    out: Output,
    err: Output,
    accepts: bool,
}

/// Defines what a preview 1 module may import.
///
/// # Errors
/// When two definitions clash, which is a defect of ours.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    process::add_to_linker(linker)?;
    files::add_to_linker(linker)?;
    transfer::add_to_linker(linker)?;
    directories::add_to_linker(linker)?;
    paths::add_to_linker(linker)?;
    sockets::add_to_linker(linker)?;
    poll::add_to_linker(linker)
}

/// Whether a module accepts connections, and so gets a listener for each port that its container
/// declares.
pub(crate) fn accepts(module: &Module) -> bool {
    module
        .imports()
        .any(|import| import.module() == MODULE && import.name() == "sock_accept")
}

// === impl State ===

impl State {
    /// The state before the first call.
    pub(crate) fn new(
        program: Arc<Program>,
        stdin: Option<Stdin>,
        out: Output,
        err: Output,
    ) -> Self {
        let start = Start {
            program,
            stdin,
            out,
            err,
            accepts: false,
        };
        Self {
            start,
            descriptors: None,
        }
    }

    /// Has the declared ports become listeners. Before the first call only.
    pub(crate) fn set_accepts(&mut self, accepts: bool) {
        self.start.accepts = accepts;
    }
}

// === impl Start ===

impl Start {
    /// Names and ports of the listeners, in the order of their numbers.
    fn listeners(&self) -> impl Iterator<Item = (&str, u16)> {
        let ports = self
            .program
            .ports
            .iter()
            .filter(|(_, _, protocol)| *protocol == Protocol::Tcp);
        let named = ports.map(|(name, port, _)| match name.as_str() {
            "" => (UNNAMED, *port),
            name => (name, *port),
        });
        named.take(if self.accepts { MAX_LISTENERS } else { 0 })
    }
}
