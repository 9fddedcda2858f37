//! Images: from a reference to verified blobs, and from those to a wasm file or a root file system.
//!
//! ```text
//! "app:1" ─reference─> registry ─pull─> store: blobs, each held against its digest
//!             archive ──────────────────^  │
//!             pack ─────────────────────^  ├─ kind ─> a wasm layer: its blob is the file
//!                                          └────────> layers ─unpack─> a read-only root
//! push, export <───────────────────────────┘
//! ```
//!
//! What holds throughout:
//! - Nothing that comes from outside is believed: every blob is held against its digest before it
//!   has a name in the store, every size has a limit of [`limits`], and nothing can panic.
//! - The store is shared by all processes of its owner. A blob is fetched once, whoever wants it,
//!   and nothing that a process holds is collected.
//! - Progress is told, never printed; nobody here waits for time to pass, except until a deadline
//!   that a registry or a back-off has set.
//!
//! Deliberately absent: running anything, compiling anything (compiled code from an image is never
//! taken), and Kubernetes objects; a Secret comes in as the bytes of its one key.

pub mod archive;
mod aside;
pub mod credentials;
mod decompress;
pub mod digest;
pub mod handle;
pub mod inspect;
pub mod kind;
pub mod limits;
pub mod manifest;
pub mod pack;
mod pax;
pub mod progress;
pub mod pull;
pub mod push;
pub mod reference;
pub mod registry;
pub mod root;
pub mod store;
pub mod unpack;
pub mod user;
pub mod wasm;

#[cfg(test)]
mod testing;

pub use digest::Digest;
pub use reference::Reference;
pub use store::Store;
