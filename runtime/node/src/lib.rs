//! The node agent: one worker task per pod.
//!
//! A worker owns its pod's lifecycle state, takes every event from one queue, and carries out what
//! [`model::lifecycle::step`] decides. It talks to whatever runs containers through
//! [`model::Runtime`] alone; it never links the engine, and knows no registry and no API server.
//!
//! ```text
//! Pod ─> Node::run_pod ─> worker ──orders──> Runtime
//!                           ^  │                │
//!                  one queue│  └─ status, Kubernetes Events, hooks, probes
//!                           └──── Router <──events, output──┘
//!                                    └─ lines ─> log files, terminal
//! ```

mod config;
mod environment;
mod exec;
mod files;
mod handle;
mod images;
mod logs;
mod node;
mod objects;
mod outlet;
mod probe;
mod router;
mod sandbox;
#[cfg(test)]
mod tests;
mod worker;

pub use config::{Clock, Config, Dns};
pub use exec::{Exec, ExecError, ExecRequest};
pub use handle::{ContainerUsage, Hindrance, PodEvent, PodHandle, Report, Role};
pub use images::{ImageError, ImageNews, ImageWant, Images, PreparedImage, ProgramWant};
pub use logs::{LogLine, LogSink};
pub use node::Node;
pub use objects::{Data, ManifestObjects, ObjectKind, Objects};
pub use router::Router;
