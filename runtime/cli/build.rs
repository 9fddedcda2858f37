//! Embeds the toolbox, if it has been built.
//!
//! `cargo xtask` builds it into `target/toolbox/`; a build without it has no toolbox and says so
//! when one is needed.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let built = target.join("toolbox/toolbox.wasm");
    let embedded = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("toolbox.wasm");
    println!("cargo::rerun-if-changed={}", built.display());
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    // An empty file stands for a build without it.
    fs::write(embedded, fs::read(built).unwrap_or_default())
}
