//! Our own programs: built here, as they are shipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::process;
use crate::table::progress;

/// Names a `wasmpod` to measure instead of the one of this tree; its compiler lies beside it.
const GIVEN: &str = "WASMPOD_BIN";

/// What components are built for.
const COMPONENTS: &str = "wasm32-wasip2";

/// What modules of WASI preview 1 are built for.
const PREVIEW1: &str = "wasm32-wasip1";

/// Guests that are built as modules too.
const HOSTILE: [&str; 4] = ["cpu", "fs", "host", "mem"];

/// What is measured, and what runs in it.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The program.
    pub(crate) wasmpod: PathBuf,
    /// `wasmpod-compile`.
    pub(crate) compiler: PathBuf,
    /// Says hello and ends; a component.
    pub(crate) hello: PathBuf,
    /// The same source as [`Self::hello`].
    pub(crate) hello_source: PathBuf,
    /// Tells when it began; a component.
    pub(crate) start: PathBuf,
    /// Round trips and streams over std::net; a component.
    pub(crate) net: PathBuf,
    /// The same source as [`Self::net`], for the kernel's own sockets.
    pub(crate) native_net: PathBuf,
    /// The target folder of the tests' guests.
    guests: PathBuf,
}

/// The compiler of this tree.
#[derive(Debug)]
pub(crate) struct Rustc {
    /// Its version.
    pub(crate) release: String,
    /// The machine that it makes programs for.
    pub(crate) host: String,
}

// === impl Programs ===

impl Programs {
    /// Builds all of them; what is built already is left alone.
    ///
    /// # Errors
    /// When cargo cannot, in its words.
    pub(crate) fn build() -> anyhow::Result<Self> {
        let root = root()?;
        progress("building wasmpod and guests")?;
        let wasmpod = match std::env::var_os(GIVEN) {
            Some(given) => PathBuf::from(given),
            None => wasmpod(root)?,
        };
        let host = rustc()?.host;
        let (guests, examples) = (root.join("tests/guests"), root.join("examples"));
        cargo(&guests, &["--profile", "guest"])?;
        let mut modules = vec!["--profile", "guest", "--target", PREVIEW1];
        modules.extend(HOSTILE.iter().flat_map(|guest| ["-p", guest]));
        cargo(&guests, &modules)?;
        cargo(
            &guests,
            &["--profile", "guest", "-p", "net", "--target", &host],
        )?;
        cargo(&examples, &["--profile", "guest", "-p", "hello"])?;
        let guest = |folder: &Path, name: &str| {
            folder
                .join("target")
                .join(COMPONENTS)
                .join("guest")
                .join(name)
        };
        Ok(Self {
            compiler: wasmpod.with_file_name("wasmpod-compile"),
            wasmpod,
            hello: guest(&examples, "hello.wasm"),
            hello_source: examples.join("hello/src/main.rs"),
            start: guest(&guests, "start.wasm"),
            net: guest(&guests, "net.wasm"),
            native_net: guests.join("target").join(host).join("guest/net"),
            guests: guests.join("target"),
        })
    }

    /// A guest of the tests: a component, or the preview 1 module of the same source.
    pub(crate) fn guest(&self, name: &str, is_preview1: bool) -> PathBuf {
        let target = if is_preview1 { PREVIEW1 } else { COMPONENTS };
        let folder = self.guests.join(target).join("guest");
        folder.join(name).with_extension("wasm")
    }
}

/// The root of the workspace.
///
/// # Errors
/// Never, as long as this crate lies two folders below it.
pub(crate) fn root() -> anyhow::Result<&'static Path> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .context("no folder holds this crate")
}

/// The compiler that built everything.
///
/// # Errors
/// When it cannot be asked.
pub(crate) fn rustc() -> anyhow::Result<Rustc> {
    let mut command = Command::new("rustc");
    command.arg("-vV").current_dir(root()?);
    let said = process::run(command)?.stdout;
    let field = |name: &str| {
        let mut fields = said.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(key, _)| *key == name);
        let value = found.map(|(_, value)| value.to_owned());
        value.with_context(|| format!("rustc -vV tells no {name}"))
    };
    Ok(Rustc {
        release: field("release")?,
        host: field("host")?,
    })
}

/// A static program for this machine from one source file, for a root file system that holds
/// nothing else.
///
/// # Errors
/// When the compiler cannot, in its words.
pub(crate) fn build_static(source: &Path, output: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("rustc");
    command
        .args([
            "--edition",
            "2024",
            "-C",
            "opt-level=s",
            "-C",
            "panic=abort",
        ])
        .args([
            "-C",
            "strip=symbols",
            "-C",
            "target-feature=+crt-static",
            "-o",
        ])
        .args([output, source])
        .current_dir(root()?);
    process::run(command)?;
    Ok(())
}

/// In two calls, because cargo gives every crate of one call the features of all: built together,
/// `wasmpod` would contain the compiler that it must not have.
fn wasmpod(root: &Path) -> anyhow::Result<PathBuf> {
    for package in ["compile", "cli"] {
        cargo(root, &["--release", "--package", package])?;
    }
    Ok(root.join("target/release/wasmpod"))
}

/// `cargo build` in a folder, for as long as it takes, its words for the person who waits.
fn cargo(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["build", "--quiet"])
        .args(arguments)
        .current_dir(folder)
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null());
    // What cargo told us of this crate is not for the build scripts of others, some of which would be
    // run again for it, and all that stands on them be compiled again.
    for (name, _) in std::env::vars_os() {
        let is_ours = |prefix: &&str| name.to_string_lossy().starts_with(prefix);
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(is_ours) {
            command.env_remove(name);
        }
    }
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!(
            "`cargo build {}` in {} failed",
            arguments.join(" "),
            folder.display()
        );
    }
    Ok(())
}
