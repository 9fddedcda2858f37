//! Kubernetes objects as data: kinds, schema table, defaulting, validation; object to `model::Pod`.
//!
//! ```text
//! text ──manifest──> Object ──identity, defaults──> Object ──validate, convert──> model::Pod
//!                      ^                                                             |
//!          single ─────┘         Object + status::to_json(PodStatus) <── node ───────┘
//! ```
//!
//! `workload` is that whole way for `wasmpod run`. A kind is a row of the schema table, not a
//! structure: objects are JSON with positions, read through cursors. Nothing here does IO (a few
//! random bytes for names apart), reads a clock or knows an async runtime.

pub mod annotations;
pub mod convert;
mod cursor;
pub mod data;
pub mod defaults;
pub mod downward;
pub mod error;
pub mod expansion;
pub mod findings;
pub mod identity;
pub mod manifest;
pub mod object;
pub mod path;
pub mod references;
pub mod schema;
pub mod single;
mod source;
pub mod status;
pub mod validate;
pub mod workload;

pub use convert::to_pod;
pub use error::ManifestError;
pub use object::Object;
pub use source::Position;
pub use workload::Workload;
