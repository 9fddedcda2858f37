//! Builds the program: `wasmpod` and `wasmpod-compile`.

use std::path::PathBuf;

use crate::step::exec;
use crate::toolchain::{cargo, target};

/// Builds both, in the profile of the tests.
///
/// In two calls, because cargo gives every crate of one call the features of all: built together,
/// `wasmpod` would contain the compiler that it must not have.
pub(crate) fn build() -> anyhow::Result<()> {
    exec(&mut cargo(["build", "--package", "compile"]))?;
    build_wasmpod()
}

/// Builds `wasmpod` alone, where the other is there already.
pub(crate) fn build_wasmpod() -> anyhow::Result<()> {
    exec(&mut cargo(["build", "--package", "cli"]))
}

/// The built `wasmpod`.
pub(crate) fn wasmpod() -> PathBuf {
    target().join("debug/wasmpod")
}
