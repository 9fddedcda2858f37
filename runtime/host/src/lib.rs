//! The pod host: runs wasm pods with engine, net and volume, and takes orders as messages.
//!
//! The same host serves in three placements: as a task of its caller, as one unprivileged child
//! process, or as one child per pod. It knows pods' networks, volumes and instances; it knows
//! nothing of restarts, probes, Kubernetes objects or images in registries.
//!
//! ```text
//! Runtime (trait of model) ─┬─ PodHost ─────────────────────────────> engine, net, volume
//!                           └─ Children ──> Child ──frames──> serve ──> PodHost
//!                                  └─ Network: one network over all children
//! CodeStore ──> wasmpod-compile ──> code/…cwasm   (beside the keys, never in a child)
//! ```

mod allowance;
mod child;
mod children;
pub mod code;
pub mod confine;
mod descriptors;
mod exec;
mod known;
mod network;
mod parent;
mod pod;
mod pod_host;
mod private;
mod protocol;
mod pump;
mod serve;
pub mod shelf;
mod trust;
mod wire;
mod working_dir;

pub use children::{Children, ChildrenConfig};
pub use code::CodeStore;
pub use confine::{Confinement, confine};
pub use exec::{Compiler, Compiling};
pub use pod_host::{HostError, PodHost, PodHostConfig, Toolbox};
pub use private::private_directory;
pub use serve::{ServeConfig, Sockets, serve};
