//! An image as the engine sees it: compiled code, mapped once, linked once per tier.

mod interfaces;
pub mod missing;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::component::Component;
use wasmtime::{Module, UnknownImportError};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p3::bindings::CommandPre as Command3Pre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use self::interfaces::{Interfaces, Role};
use crate::cache::{self, Code, LoadError};
use crate::config::Kind;
use crate::guest::Guest;
use crate::linker;
use crate::tiers::{TIERS, Tier};
use crate::wasi::p1;

/// Code of one wasm file, shared by all its instances.
pub struct Image {
    digest: String,
    path: PathBuf,
    kind: Kind,
    tiers: [OnceLock<Result<Entry, String>>; TIERS],
    /// Whether it was refused by a pool and ran on demand: it is larger than their slots.
    beyond_pools: AtomicBool,
}

/// What is called to run a program: linked, ready to be instantiated.
#[derive(Clone)]
pub(crate) enum Entry {
    /// A WASI 0.2 command.
    Command {
        command: CommandPre<Guest>,
        /// Whether it may call out over `wasi:http`.
        calls_out: bool,
    },
    /// A WASI 0.3 command.
    Command3 {
        command: Command3Pre<Guest>,
        /// Whether it may call out over `wasi:http`.
        calls_out: bool,
    },
    /// An http server of WASI 0.2: called for each request.
    Server(ProxyPre<Guest>),
    /// An http server of WASI 0.3: called for each request.
    Server3(ServicePre<Guest>),
    /// A preview 1 command module.
    Preview1 {
        module: wasmtime::InstancePre<Guest>,
        /// Whether it accepts connections: its declared ports then become listeners.
        accepts: bool,
    },
}

/// An image that cannot run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImageError {
    /// Its compiled code does not load.
    #[error("{0}")]
    Load(String),
    /// The machine has not what it takes to load it, such as descriptors or memory: later it may.
    #[error("{0}")]
    Machine(String),
    /// It is no program that can be run, or imports what nobody provides.
    #[error("{0}")]
    CannotRun(String),
}

// === impl Image ===

impl Image {
    /// An image whose compiled code lies at `path`.
    pub(crate) fn new(digest: &str, path: &Path) -> Self {
        Self {
            digest: digest.to_owned(),
            path: path.to_owned(),
            kind: cache::kind(path),
            tiers: Default::default(),
            beyond_pools: AtomicBool::new(false),
        }
    }

    /// sha256 of the wasm file, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Which engine configuration it was compiled for.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether a pool may hold it, as far as it has been tried.
    pub(crate) fn fits_pools(&self) -> bool {
        !self.beyond_pools.load(Ordering::Relaxed)
    }

    /// No pool holds it: none is asked again, as each would map all of its code first.
    pub(crate) fn note_beyond_pools(&self) {
        self.beyond_pools.store(true, Ordering::Relaxed);
    }

    /// What to call, for instances of this tier. Loaded at the first call.
    pub(crate) fn entry(&self, tier: &Tier) -> Result<Entry, ImageError> {
        let cell = self
            .tiers
            .get(tier.index)
            .ok_or_else(|| ImageError::Load("no such tier".to_owned()))?;
        if let Some(known) = cell.get() {
            return known.clone().map_err(ImageError::CannotRun);
        }
        let loaded = match self.load(tier) {
            // Of another tier, or later, it may.
            Err(error @ (ImageError::Load(_) | ImageError::Machine(_))) => return Err(error),
            Err(ImageError::CannotRun(why)) => Err(why),
            Ok(entry) => Ok(entry),
        };
        cell.get_or_init(|| loaded)
            .clone()
            .map_err(ImageError::CannotRun)
    }

    fn load(&self, tier: &Tier) -> Result<Entry, ImageError> {
        match Code::load(&tier.engine, &self.path)? {
            Code::Module(module) => {
                if module.get_export("_start").is_none() {
                    return Err(ImageError::CannotRun(
                        "the module exports no _start: build it as a command, not as a library"
                            .to_owned(),
                    ));
                }
                let linker = tier.modules().map_err(cannot_run)?;
                let accepts = p1::accepts(&module);
                let linked = linker.instantiate_pre(&module);
                let module = linked.map_err(|error| unlinked(&module, error))?;
                Ok(Entry::Preview1 { module, accepts })
            }
            Code::Component(component) => component_entry(tier, &component),
        }
    }

    /// Whether it is an http server, as far as it has been loaded.
    pub fn is_server(&self) -> bool {
        let mut loaded = self.tiers.iter().filter_map(OnceLock::get);
        loaded.any(|entry| matches!(entry, Ok(Entry::Server(_) | Entry::Server3(_))))
    }
}

impl From<LoadError> for ImageError {
    fn from(error: LoadError) -> Self {
        match error.is_of_machine() {
            true => Self::Machine(error.to_string()),
            false => Self::Load(error.to_string()),
        }
    }
}

// === impl Entry ===

impl Entry {
    /// Whether it is a command that may call out over `wasi:http`.
    pub(crate) fn calls_out(&self) -> bool {
        match self {
            Self::Command { calls_out, .. } | Self::Command3 { calls_out, .. } => *calls_out,
            Self::Server(_) | Self::Server3(_) | Self::Preview1 { .. } => false,
        }
    }
}

/// A component that exports a handler is a server, whatever else it exports; any other a command,
/// of WASI 0.3 where it can be: a program of WASI 0.2 gets its `run` from its language's library,
/// also where its own `run` is that of 0.3.
fn component_entry(tier: &Tier, component: &Component) -> Result<Entry, ImageError> {
    let interfaces = Interfaces::of(tier, component);
    let role = interfaces.role()?;
    let calls_out = interfaces.has_http();
    let is_server = matches!(role, Role::Server | Role::Server3);
    let linker = if is_server || calls_out {
        tier.http()
    } else {
        tier.components()
    };
    let linker = linker::with_asked_for(linker.map_err(cannot_run)?, &interfaces.imports);
    let linked = linker.map_err(cannot_run)?.instantiate_pre(component);
    let linked = linked.map_err(|error| match missing::told(&interfaces.imports) {
        Some(missing) => ImageError::CannotRun(missing),
        None => cannot_run(error),
    })?;
    let entry = match role {
        Role::Server3 => ServicePre::new(linked).map(Entry::Server3),
        Role::Server => ProxyPre::new(linked).map(Entry::Server),
        Role::Command3 => {
            Command3Pre::new(linked).map(|command| Entry::Command3 { command, calls_out })
        }
        Role::Command => {
            CommandPre::new(linked).map(|command| Entry::Command { command, calls_out })
        }
        Role::None => return Err(interfaces.nothing_to_call()),
    };
    entry.map_err(cannot_run)
}

/// Why a core module cannot be linked: what it lacks, or that something is another than it says.
fn unlinked(module: &Module, error: wasmtime::Error) -> ImageError {
    match error.downcast_ref::<UnknownImportError>() {
        Some(unknown) => ImageError::CannotRun(missing::told_of_module(
            module
                .imports()
                .map(|import| (import.module(), import.name())),
            (unknown.module(), unknown.name()),
        )),
        None => cannot_run(error),
    }
}

fn cannot_run(error: wasmtime::Error) -> ImageError {
    ImageError::CannotRun(format!("{error:#}"))
}
