//! Tells the crate which wasmtime it is built with: compiled code is bound to the exact version.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
    let lock = root.join("Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let text = fs::read_to_string(&lock)?;
    let version = text
        .split("[[package]]")
        .find_map(|package| {
            let mut lines = package.lines();
            lines.find(|line| *line == "name = \"wasmtime\"")?;
            lines
                .next()?
                .strip_prefix("version = \"")?
                .strip_suffix('"')
        })
        .ok_or_else(|| io::Error::other("Cargo.lock names no wasmtime"))?;
    println!("cargo::rustc-env=WASMTIME_VERSION={version}");
    Ok(())
}
