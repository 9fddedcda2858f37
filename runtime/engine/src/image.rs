//! An image as the engine sees it: compiled code, mapped once, linked once per tier.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use wasmtime::component::types::ComponentItem;
use wasmtime_wasi::p2::bindings::CommandPre;

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
    Command(CommandPre<Guest>),
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
            Code::Component(component) => {
                let exports: Vec<String> = component
                    .component_type()
                    .exports(&tier.engine)
                    .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
                    .map(|(name, _)| name.to_owned())
                    .collect();
                refuse_other_worlds(&exports)?;
                let linker = tier.components().map_err(cannot_run)?;
                let linked = linker.instantiate_pre(&component).map_err(cannot_run)?;
                refuse_what_is_no_command(&exports)?;
                CommandPre::new(linked)
                    .map(Entry::Command)
                    .map_err(cannot_run)
            }
        }
    }
}

impl From<LoadError> for ImageError {
    fn from(error: LoadError) -> Self {
        Self::Load(error.to_string())
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
        "an http server of the wasi:http world, which this version does not serve yet: build it as a command that listens on a socket"
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
        "the component is no command: it exports [{}] and not wasi:cli/run",
        exports.join(", ")
    )))
}

fn cannot_run(error: wasmtime::Error) -> ImageError {
    ImageError::CannotRun(format!("{error:#}"))
}
