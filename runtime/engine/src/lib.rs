//! Runs one wasm container as one instance.
//!
//! The only crate that links wasmtime. It knows modules, stores, memory and CPU time, and what a
//! guest may import; it knows nothing of pods' lives, restarts, probes or Kubernetes.
//!
//! ```text
//! Engine (one per process)
//!  ├─ executor      guest threads, weighted-fair queue, cpu budgets, the epoch tick
//!  ├─ tiers         small pool -> large pool -> on demand, for the `sync` and `async` configurations
//!  └─ image(code)   loaded once per digest, shared by every instance
//!        └─ Instance::start(Guest{wasi, net, files, limits}) ──> Ended{exit, stats}
//! ```
//!
//! Compiling is not done here unless the feature `compile` is on, and only `wasmpod-compile`
//! turns it on.

pub mod account;
pub mod cache;
pub mod config;
pub mod describe;
pub mod executor;
mod files;
mod guest;
mod health;
mod http;
pub mod image;
pub mod instance;
mod limits;
mod linker;
mod listening;
mod mappings;
mod output;
mod stdin;
mod stop;
mod tiers;
mod wasi;

#[cfg(feature = "compile")]
pub mod compile;

pub use account::Account;
pub use executor::Executor;
pub use files::FileCalls;
pub use image::Image;
pub use instance::{Engine, Identity, Instance, Program, Report};
pub use mappings::instances_within;
pub use output::Chunk;
pub use wasi::keyvalue::Buckets;

/// The version of wasmtime that this build runs guests with.
pub const WASMTIME_VERSION: &str = env!("WASMTIME_VERSION");
