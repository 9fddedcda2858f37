//! Volumes as files: every way of turning a pod's volumes into files, and the mount table through
//! which a wasm guest sees them.
//!
//! ```text
//! VolumeSpec --PodVolumes--> Volume (made at first use) --Mount--> MountTable --walk--> Node
//!                             | emptyDir, hostPath, files,            | longest prefix wins,
//!                             | one file, a container's scratch       | mounts inside mounts
//!                             +-- Ledger: bytes and entries counted against a limit,
//!                                 and those in memory charged to whoever wrote them
//! ```
//!
//! A [`PodVolumes`] knows the volumes of a pod, a [`MountTable`] is what one container sees of
//! them, and a [`Node`] is an open file or directory of that table with the operations of
//! wasi:filesystem. Every operation is synchronous and may block; whoever calls brings the thread.
//!
//! What holds throughout:
//! - Nothing touches the disk before a guest uses it, and no descriptor is held while nothing is
//!   open: a parked pod costs neither.
//! - A guest's path is resolved here, one name at a time relative to an open directory and without
//!   following, or by `openat2` with `RESOLVE_BENEATH` where no mount can lie on the way. `..` is
//!   the directory we came from, never the kernel's. So no path, link or race leaves a mount.
//! - Only regular files and directories are opened; a FIFO, socket or device is refused without
//!   blocking.
//!
//! Deliberately absent: an async runtime, WASI types (the engine translates), ownership and
//! permissions for guests (a container's files belong to whoever runs the pod host), and locks that
//! guests could take: [`Node::exclusive`] is for the host's own files.

pub use charges::{OverLimit, Payer};
pub use error::{FsError, VolumeError};
pub use limit::{BYTES_PER_ENTRY, LimitExceeded, LimitedPlace, LimitedResource};
pub use node::{Exclusive, ExclusiveError, Holder, Listing, Node};
pub use pod::{PodVolumes, is_ours, remove_ours};
pub use stat::{
    Advice, DirEntry, FileKind, MetadataHash, NodeFlags, OpenOptions, SetTime, Stat, Timestamp,
};
pub use table::{MountTable, RootSpec};

mod charges;
mod counted;
mod error;
#[cfg(test)]
mod fixture;
mod limit;
mod measure;
mod node;
mod path;
mod place;
mod pod;
mod stat;
mod table;
mod volume;
mod walk;
