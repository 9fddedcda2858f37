//! An image as the engine sees it: compiled code, mapped once, linked once per tier.

mod missing;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::cache::{Code, LoadError};
use crate::config::Kind;
use crate::guest::Guest;
use crate::tiers::{TIERS, Tier};
use crate::wasi::p1;

/// Code of one wasm file, shared by all its instances.
pub struct Image {
    digest: String,
    path: PathBuf,
    tiers: [OnceLock<Result<Entry, String>>; TIERS],
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
    /// An http server of WASI 0.2: called for each request.
    Server(ProxyPre<Guest>),
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
            tiers: Default::default(),
        }
    }

    /// sha256 of the wasm file, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Which engine configuration it was compiled for.
    pub(crate) fn kind(&self) -> Kind {
        Kind::Sync
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
            // The machine's fault, such as too many open files: later it may work.
            Err(error @ ImageError::Load(_)) => return Err(error),
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
                let module = linker.instantiate_pre(&module).map_err(cannot_run)?;
                Ok(Entry::Preview1 { module, accepts })
            }
            Code::Component(component) => component_entry(tier, &component),
        }
    }

    /// Whether it is an http server, as far as it has been loaded.
    pub fn is_server(&self) -> bool {
        let mut loaded = self.tiers.iter().filter_map(OnceLock::get);
        loaded.any(|entry| matches!(entry, Ok(Entry::Server(_))))
    }
}

impl From<LoadError> for ImageError {
    fn from(error: LoadError) -> Self {
        Self::Load(error.to_string())
    }
}

/// A component that exports a handler is a server, whatever else it exports; any other a command.
fn component_entry(tier: &Tier, component: &Component) -> Result<Entry, ImageError> {
    let interfaces = Interfaces::of(tier, component);
    let (exports, is_server) = (&interfaces.exports, interfaces.is_server());
    if !is_server {
        refuse_other_worlds(exports)?;
    }
    let calls_out = interfaces.has_http();
    let linker = if is_server || calls_out {
        tier.http()
    } else {
        tier.components()
    };
    let linked = linker.map_err(cannot_run)?.instantiate_pre(component);
    let linked = linked.map_err(|error| match missing::told(&interfaces.imports) {
        Some(missing) => ImageError::CannotRun(missing),
        None => cannot_run(error),
    })?;
    if is_server {
        return ProxyPre::new(linked).map(Entry::Server).map_err(cannot_run);
    }
    refuse_what_is_no_command(exports)?;
    let command = CommandPre::new(linked).map_err(cannot_run)?;
    Ok(Entry::Command { command, calls_out })
}

/// The interfaces that a component names.
struct Interfaces {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Interfaces {
    fn of(tier: &Tier, component: &Component) -> Self {
        let kind = component.component_type();
        let imports = kind.imports(&tier.engine).map(|(name, _)| name.to_owned());
        let exports = kind
            .exports(&tier.engine)
            .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
            .map(|(name, _)| name.to_owned());
        Self {
            imports: imports.collect(),
            exports: exports.collect(),
        }
    }

    fn is_server(&self) -> bool {
        self.exports
            .iter()
            .any(|name| name.starts_with("wasi:http/incoming-handler@0.2"))
    }

    fn has_http(&self) -> bool {
        self.imports
            .iter()
            .any(|name| name.starts_with("wasi:http/"))
    }
}

/// Names the world of a component that another version runs.
fn refuse_other_worlds(exports: &[String]) -> Result<(), ImageError> {
    let exports_any = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
    if exports_any("wasi:cli/run@0.2") {
        return Ok(());
    }
    let what = if exports_any("wasi:cli/run@0.3") {
        "a WASI 0.3 command, which this version does not run yet: build it for WASI 0.2"
    } else if exports_any("wasi:http/") {
        "an http server of a version of wasi:http that this one does not serve: build it for WASI 0.2, so that it exports wasi:http/incoming-handler@0.2"
    } else {
        return Ok(());
    };
    Err(ImageError::CannotRun(format!("the component is {what}")))
}

/// Refuses a component that can be linked, but has nothing to call.
fn refuse_what_is_no_command(exports: &[String]) -> Result<(), ImageError> {
    if exports
        .iter()
        .any(|name| name.starts_with("wasi:cli/run@0.2"))
    {
        return Ok(());
    }
    Err(ImageError::CannotRun(format!(
        "the component is neither a command nor an http server: it exports [{}], and neither wasi:cli/run nor wasi:http/incoming-handler",
        exports.join(", ")
    )))
}

fn cannot_run(error: wasmtime::Error) -> ImageError {
    ImageError::CannotRun(format!("{error:#}"))
}
