//! What is done with bytes from outside, one function for each sort of them, for whoever makes the
//! bytes up: libFuzzer in `drivers/`, and the tests here, which change seeds a little and so keep the
//! targets from rotting.
//!
//! A target fails by panicking: where the program panics, and where something does not hold that
//! must hold for all bytes. Running out of memory or time, libFuzzer sees.
//!
//! Seeds are made by code and small: they show the forms that there are, the rest is found.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a target fails by panicking: there is nobody whom an error could be told"
)]

mod archives;
mod documents;
mod layers;
mod names;
mod pods;
mod wasm;

#[cfg(test)]
mod tests;

/// One sort of bytes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As `cargo xtask fuzz` is told it.
    pub name: &'static str,
    /// Does with the bytes what the program does.
    pub run: fn(&[u8]),
    /// Bytes of the sort, right ones and wrong ones.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "pod",
        run: pods::run,
        seeds: pods::seeds,
    },
    Target {
        name: "document",
        run: documents::run,
        seeds: documents::seeds,
    },
    Target {
        name: "config",
        run: documents::run_config,
        seeds: documents::seeds_of_configs,
    },
    Target {
        name: "layer",
        run: layers::run,
        seeds: layers::seeds,
    },
    Target {
        name: "archive",
        run: archives::run,
        seeds: archives::seeds,
    },
    Target {
        name: "wasm",
        run: wasm::run,
        seeds: wasm::seeds,
    },
    Target {
        name: "name",
        run: names::run,
        seeds: names::seeds,
    },
];

/// A folder in memory where there is one: targets make thousands of files in a second.
fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    made.expect("a folder for temporary files")
}
