//! What guests import: WASI, over our own network and mounts.
//!
//! Clocks and the command line are wasmtime-wasi's. Sockets and files are ours, in one folder per
//! version; each only adapts the same [`net`] and [`volume`] calls.
//! Beside them stands what is not WASI yet but is in use: `config`, `keyvalue` and `logging`, for
//! components of either version.

pub(crate) mod config;
mod file_values;
pub(crate) mod keyvalue;
pub(crate) mod logging;
pub(crate) mod p1;
pub(crate) mod p2;
pub(crate) mod p3;
pub(crate) mod pod;
pub(crate) mod random;
