//! The program in the kernel and its tables, as long as this value lives.
//!
//! The kernel ends the program with the last descriptor of its attachment, which nobody but this
//! process has. Decides nothing: `lane` knows who may open what.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::iter;
use std::os::fd::OwnedFd;

use aya::maps::{HashMap, Map as AnyMap, MapData, MapError, SockMap};
use aya::programs::SkLookup;
use aya::programs::sk_lookup::SkLookupLink;
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use rustix::io::Errno;

use super::SteerError;
use super::fileless::without_files;
use super::object::{self, PROGRAM};
use super::program::{self, Map};
use crate::lock::Lock;
use crate::range::PodRange;

/// Takes a key only if the table has none like it: linux/bpf.h.
const BPF_NOEXIST: u64 = 1;

/// Takes a key only if the table has it.
const BPF_EXIST: u64 = 2;

/// The network namespace that this thread is in.
const NETWORK: &str = "/proc/thread-self/ns/net";

/// The loaded program's tables.
pub(super) struct Tables {
    blocks: Lock<HashMap<MapData, u32, u32>>,
    endpoints: Lock<HashMap<MapData, u64, u32>>,
    listeners: Lock<SockMap<MapData>>,
    _attached: SkLookupLink,
}

// === impl Tables ===

impl Tables {
    /// Loads the program and attaches it to this network namespace.
    pub(super) fn load(range: &PodRange) -> Result<Self, SteerError> {
        let object = object::write(&program::assemble(range));
        let object = object.map_err(|error| refused("writing the program", &error))?;
        let network = File::open(NETWORK).map_err(|error| refused(NETWORK, &error))?;
        let mut loaded = without_files(|| {
            let mut loader = EbpfLoader::new();
            loader.verifier_log_level(VerifierLogLevel::DISABLE);
            loader.load(&object)
        })
        .map_err(|error| refused("making tables", &error))?
        .map_err(|error| refused("making tables", &error))?;
        let attached = attach(&mut loaded, &network)?;
        Ok(Self {
            blocks: Lock::new(table(&mut loaded, Map::Blocks)?),
            endpoints: Lock::new(table(&mut loaded, Map::Endpoints)?),
            listeners: Lock::new(table(&mut loaded, Map::Listeners)?),
            _attached: attached,
        })
    }

    /// EEXIST where somebody has it.
    pub(super) fn add_block(&self, first: u32) -> Result<(), MapError> {
        self.blocks.lock().insert(first, 0, BPF_NOEXIST)
    }

    /// EEXIST where it is open: what leads there is not turned elsewhere.
    pub(super) fn open(&self, key: u64, value: u32) -> Result<(), MapError> {
        self.endpoints.lock().insert(key, value, BPF_NOEXIST)
    }

    /// Leads what is open elsewhere, at once; ENOENT where it is not open.
    pub(super) fn lead(&self, key: u64, value: u32) -> Result<(), MapError> {
        self.endpoints.lock().insert(key, value, BPF_EXIST)
    }

    pub(super) fn close(&self, key: u64) {
        // An entry is taken out only once, by whoever put it in.
        if let Err(error) = self.endpoints.lock().remove(&key) {
            tracing::warn!(%error, "something steered was gone already");
        }
    }

    pub(super) fn set_listener(&self, number: u32, socket: &OwnedFd) -> Result<(), MapError> {
        self.listeners.lock().set(number, socket, 0)
    }

    /// A listener that was closed has left the table by itself.
    pub(super) fn clear_listener(&self, number: u32) {
        if let Err(error) = self.listeners.lock().clear_index(&number) {
            tracing::trace!(%error, number, "a steered listener has left its table already");
        }
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

fn attach(loaded: &mut Ebpf, network: &File) -> Result<SkLookupLink, SteerError> {
    let program = loaded.program_mut(PROGRAM).ok_or_else(|| absent(PROGRAM))?;
    let steer: &mut SkLookup = program
        .try_into()
        .map_err(|error| refused("reading the program", &error))?;
    steer
        .load()
        .map_err(|error| refused("loading the program", &error))?;
    let attached = steer.attach(network);
    let attached = attached.map_err(|error| refused("attaching the program", &error))?;
    let link = steer.take_link(attached);
    link.map_err(|error| refused("attaching the program", &error))
}

fn table<T: TryFrom<AnyMap, Error = MapError>>(
    loaded: &mut Ebpf,
    map: Map,
) -> Result<T, SteerError> {
    let found = loaded
        .take_map(map.name())
        .ok_or_else(|| absent(map.name()))?;
    T::try_from(found).map_err(|error| refused("reading a table", &error))
}

/// Why an entry was not taken: `full` where there is no place left, `taken` where it is there.
pub(super) fn failed(
    error: &MapError,
    step: &'static str,
    full: SteerError,
    taken: SteerError,
) -> SteerError {
    let MapError::SyscallError(call) = error else {
        return refused(step, error);
    };
    match Errno::from_io_error(&call.io_error) {
        Some(Errno::TOOBIG) => full,
        Some(Errno::EXIST) => taken,
        _ => refused(step, error),
    }
}

/// With everything that the causes say: the topmost alone names a system call.
pub(super) fn refused(step: &'static str, error: &(dyn Error + 'static)) -> SteerError {
    let mut why: Vec<String> = causes(error).map(ToString::to_string).collect();
    why.dedup();
    SteerError::Kernel {
        step: step.into(),
        why: why.join(": "),
        passes: causes(error).any(passes),
    }
}

/// An error, and what led to it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| (*error).source())
}

/// Whether it is for want of something that others may free.
fn passes(error: &(dyn Error + 'static)) -> bool {
    let own = error.downcast_ref::<Errno>().copied();
    let errno = own.or_else(|| Errno::from_io_error(error.downcast_ref::<io::Error>()?));
    matches!(
        errno,
        Some(
            Errno::MFILE
                | Errno::NFILE
                | Errno::NOMEM
                | Errno::NOBUFS
                | Errno::AGAIN
                | Errno::ADDRINUSE
        )
    )
}

fn absent(name: &str) -> SteerError {
    SteerError::Kernel {
        step: "reading the program".into(),
        why: format!("the loader knows no {name}"),
        passes: false,
    }
}
