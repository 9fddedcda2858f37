//! Builds what runs inside pods: the examples' programs, those of the tests, and the toolbox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::step::exec;
use crate::toolchain::{Program, cargo, ensure_programs, root, target};

/// The workspaces of guests. Each has a target folder of its own, because manifests name what
/// lies there, and its own lints, because a guest stands for somebody else's program.
const WORKSPACES: [&str; 2] = ["examples", "tests/guests"];

/// One call of cargo in a workspace of guests, without its subcommand.
pub(crate) struct Build {
    folder: &'static str,
    target: &'static str,
    /// The workspace's default members where empty.
    packages: &'static [&'static str],
}

/// Everything that is built with cargo: components, then modules of WASI preview 1.
pub(crate) const BUILDS: [Build; 4] = [
    Build {
        folder: "examples",
        target: "wasm32-wasip2",
        packages: &[],
    },
    Build {
        folder: "examples",
        target: "wasm32-wasip1",
        packages: &["preview1"],
    },
    Build {
        folder: "tests/guests",
        target: "wasm32-wasip2",
        packages: &[],
    },
    Build {
        folder: "tests/guests",
        target: "wasm32-wasip1",
        packages: &["cpu", "fs", "host", "mem", "sockets1"],
    },
];

/// Where guests written in C lie, and the workspace whose target folder takes them.
const C_FOLDERS: [(&str, &str); 2] = [
    ("examples/preview1", "examples"),
    ("tests/guests/c", "tests/guests"),
];

/// What compiles guests written in C: compiler, linker and C library.
pub(crate) const C_COMPILER: [Program; 3] = [
    Program {
        name: "clang",
        packages: C_PACKAGES,
        without: C_GUESTS,
    },
    Program {
        name: "wasm-ld",
        packages: C_PACKAGES,
        without: C_GUESTS,
    },
    Program {
        name: "/usr/include/wasm32-wasi/stdio.h",
        packages: C_PACKAGES,
        without: C_GUESTS,
    },
];

const C_PACKAGES: &[&str] = &["clang", "libclang-rt-dev-wasm32", "lld", "wasi-libc"];

const C_GUESTS: &str = "guests written in C are not built, and tests of them skipped";

// === impl Build ===

impl Build {
    /// `cargo SUBCOMMAND …` for these guests.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut command = cargo([subcommand, "--quiet", "--profile", "guest"]);
        command.args(["--target", self.target]);
        for package in self.packages {
            command.args(["--package", package]);
        }
        // Manifests name files in the workspace's own target folder.
        command
            .env_remove("CARGO_TARGET_DIR")
            .current_dir(root().join(self.folder));
        command
    }
}

/// The workspaces of guests.
pub(crate) fn workspaces() -> impl Iterator<Item = PathBuf> {
    WORKSPACES.into_iter().map(|folder| root().join(folder))
}

/// Builds the examples' programs that are components.
pub(crate) fn build_examples() -> anyhow::Result<()> {
    let [components, ..] = BUILDS;
    exec(&mut components.cargo("build"))
}

/// Builds every guest; those in C where this machine has, or gets, a compiler for them.
pub(crate) fn build_all() -> anyhow::Result<()> {
    for build in BUILDS {
        exec(&mut build.cargo("build"))?;
    }
    if !ensure_programs(&C_COMPILER).is_empty() {
        return Ok(());
    }
    for (folder, workspace) in C_FOLDERS {
        for source in c_sources(folder)? {
            build_c(&source, workspace)?;
        }
    }
    Ok(())
}

/// `cargo SUBCOMMAND …` for the toolbox as the guest that it is.
pub(crate) fn toolbox(subcommand: &str) -> Command {
    let mut command = cargo([subcommand, "--quiet", "--package", "toolbox"]);
    command.args(["--target", "wasm32-wasip2", "--profile", "guest"]);
    command
}

/// Builds the toolbox and lays it where the build of `wasmpod` finds it and embeds it.
pub(crate) fn build_toolbox() -> anyhow::Result<()> {
    exec(&mut toolbox("build"))?;
    let built = target().join("wasm32-wasip2/guest/toolbox.wasm");
    let wanted: PathBuf = target().join("toolbox/toolbox.wasm");
    let bytes = fs::read(&built).with_context(|| format!("{} was not built", built.display()))?;
    // A file that did not change keeps its time, so that cargo does not build wasmpod anew.
    if fs::read(&wanted).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::create_dir_all(target().join("toolbox"))?;
    fs::write(&wanted, bytes).with_context(|| format!("{} cannot be written", wanted.display()))
}

/// Compiles one guest written in C to a module of preview 1.
fn build_c(source: &Path, workspace: &str) -> anyhow::Result<()> {
    let output = root().join(workspace).join("target/wasm32-wasip1/guest");
    fs::create_dir_all(&output)?;
    let name = Path::new(source.file_name().context("a source has a name")?);
    exec(
        Command::new("clang")
            .args(["--target=wasm32-wasi", "-Os", "-Wall", "-Werror", "-o"])
            .arg(output.join(name).with_extension("wasm"))
            .arg(source),
    )
}

/// The C files of a folder, in order.
fn c_sources(folder: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(root().join(folder)).with_context(|| folder.to_owned())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}
