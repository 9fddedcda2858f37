//! `wasi:keyvalue`: buckets in the pod's memory, and buckets on its volumes.
//!
//! ```text
//! open("sessions") ── the pod says sessions=/data/s? ──yes──> /data/s ─┐
//!        │ no                                                          v
//!        v                                        open("/data/s"): on a mount of the container?
//!   Memory: of the pod, shared by its containers     │ yes                       │ no
//!                                                    v                           v
//!                                            Place: files in that volume     no-such-store
//! ```
//!
//! What a bucket does is written once, in `bucket` and below; the files named after versions of the
//! interface only adapt. Every cap is in `limits`.
//!
//! Deliberately absent: `watcher`, by which a component would be called when a key changes.

mod bucket;
mod counter;
mod draft;
mod draft2;
mod failure;
mod files;
mod format;
mod key;
mod limits;
mod memory;
mod page;

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::{Linker, Resource};

use self::bucket::{Bucket, Cas};
use self::failure::Failure;
use self::files::Place;
use self::memory::Memory;
use crate::guest::Guest;

/// Which names of buckets are paths: a pod's annotation, `name=path` separated by commas. What is
/// wrong in it was told before; here it names nothing.
const PATHS: &str = "wasmpod.dev/keyvalue";

/// The buckets of one pod; shared by its instances. Costs nothing until one is opened.
#[derive(Debug, Clone, Default)]
pub struct Buckets {
    memory: Memory,
    paths: Arc<BTreeMap<String, String>>,
}

/// How many handles an instance has open.
#[derive(Debug, Default)]
pub(crate) struct Handles(usize);

/// Adds all versions.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    draft::add_to_linker(linker)?;
    draft2::add_to_linker(linker)
}

/// Whether an interface of this package is there under this name.
pub(crate) fn provides(name: &str) -> bool {
    draft::INTERFACES.contains(&name) || draft2::INTERFACES.contains(&name)
}

// === impl Buckets ===

impl Buckets {
    /// For a new pod with these annotations.
    pub fn new(annotations: &BTreeMap<String, String>) -> Self {
        let pairs = annotations.get(PATHS).into_iter();
        let pairs = pairs.flat_map(|text| text.split(','));
        let paths = pairs.filter_map(|pair| {
            let (name, path) = pair.split_once('=')?;
            Some((name.trim().to_owned(), path.trim().to_owned()))
        });
        Self {
            memory: Memory::default(),
            paths: Arc::new(paths.collect()),
        }
    }
}

// === impl Guest ===

impl Guest {
    async fn open_bucket(&mut self, identifier: &str) -> Result<Resource<Bucket>, Failure> {
        let paths = &self.program.buckets.paths;
        let path = paths.get(identifier).map_or(identifier, String::as_str);
        let bucket = if path.starts_with('/') {
            let (path, files) = (path.to_owned(), self.files.clone());
            let place = Place::new(&files.table, &path).ok_or(Failure::NoSuchStore)?;
            let held = files.held(path.len()).await;
            Bucket::on_volume(place, files, held)
        } else {
            let program = &self.program;
            let memory = &program.buckets.memory;
            Bucket::Memory(memory.open(path, &program.account)?)
        };
        self.handles.take()?;
        Ok(self.table.push(bucket)?)
    }

    fn bucket(&self, bucket: &Resource<Bucket>) -> Result<Bucket, Failure> {
        Ok(self.table.get(bucket)?.clone())
    }

    fn close_bucket(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        self.handles.give();
        Ok(())
    }

    fn keep_cas(&mut self, cas: Cas) -> Result<Resource<Cas>, Failure> {
        self.handles.take()?;
        Ok(self.table.push(cas)?)
    }

    fn take_cas(&mut self, cas: Resource<Cas>) -> wasmtime::Result<Cas> {
        let cas = self.table.delete(cas)?;
        self.handles.give();
        Ok(cas)
    }
}

// === impl Handles ===

impl Handles {
    fn take(&mut self) -> Result<(), Failure> {
        if self.0 >= limits::HANDLES {
            return Err(Failure::Other(format!(
                "{} buckets and cas handles are open, and that is the most: drop some",
                limits::HANDLES
            )));
        }
        self.0 += 1;
        Ok(())
    }

    fn give(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }
}
