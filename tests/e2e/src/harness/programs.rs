//! The programs under test: `wasmpod` itself, and the guests that it runs.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, bail};

use super::skip;

/// Names a `wasmpod` to test instead of the one of this tree.
const GIVEN: &str = "WASMPOD_BIN";

/// The workspaces of guests, in the order in which they are looked at.
const GUESTS: [&str; 2] = ["tests/guests", "examples"];

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("the crate lies two folders below the root")
}

/// The built `wasmpod`, up to date with the sources.
pub(crate) fn wasmpod() -> anyhow::Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    match built {
        Ok(path) => Ok(path),
        Err(error) => bail!("{error}"),
    }
}

/// A built guest program, a component; with `@p1` after its name, its build for WASI preview 1;
/// or a module written by hand, by the name of its text.
pub(crate) fn guest(name: &str) -> anyhow::Result<PathBuf> {
    let text = root().join(format!("tests/guests/wat/{name}.wat"));
    if text.is_file() {
        return assembled(name, &text);
    }
    let (name, target) = match name.strip_suffix("@p1") {
        Some(name) => (name, "wasm32-wasip1"),
        None => (name, "wasm32-wasip2"),
    };
    GUESTS
        .iter()
        .map(|folder| root().join(format!("{folder}/target/{target}/guest/{name}.wasm")))
        .find(|path| path.is_file())
        .with_context(|| {
            format!("the guest `{name}` ({target}) is not built: run `cargo xtask test guests`")
        })
}

/// A large program that was not written here. Where this machine cannot make it, the test is told
/// as skipped, and there is none.
pub(crate) fn large(name: &str) -> anyhow::Result<Option<PathBuf>> {
    let program = root().join(format!("target/large/{name}/{name}.wasm"));
    if program.is_file() {
        return Ok(Some(program));
    }
    match why_not_built(&program) {
        Some(why) => skip(&why).map(|()| None),
        None => bail!(
            "{} is not made: run `cargo xtask test large`",
            program.display()
        ),
    }
}

/// Why this machine cannot build a program, as `cargo xtask test` has noted beside it.
pub(crate) fn why_not_built(program: &Path) -> Option<String> {
    fs::read_to_string(program.with_extension("skipped")).ok()
}

/// A module written by hand, as bytes. Other tests may make the same one at the same time.
fn assembled(name: &str, text: &Path) -> anyhow::Result<PathBuf> {
    let folder = root().join("target/e2e/wat");
    fs::create_dir_all(&folder)?;
    let mut file = tempfile::NamedTempFile::new_in(&folder)?;
    file.write_all(&wat::parse_file(text)?)?;
    let path = folder.join(format!("{name}.wasm"));
    file.persist(&path)?;
    Ok(path)
}

/// Builds the program in the profile that this test was built in.
///
/// In two calls, because cargo gives every crate of one call the features of all: built together,
/// `wasmpod` would contain the compiler that it must not have.
fn build() -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os(GIVEN) {
        return Ok(PathBuf::from(given));
    }
    for package in ["compile", "cli"] {
        let answer = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", package])
            .current_dir(root())
            .output()?;
        if !answer.status.success() {
            bail!(
                "`cargo build -p {package}`: {}",
                String::from_utf8_lossy(&answer.stderr)
            );
        }
    }
    // The test itself is `target/PROFILE/deps/e2e-…`.
    let this = std::env::current_exe()?;
    let profile = this
        .ancestors()
        .nth(2)
        .context("the test binary has no folder")?;
    Ok(profile.join("wasmpod"))
}
