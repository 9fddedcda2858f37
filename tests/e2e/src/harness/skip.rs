//! Tests that cannot run on every machine say so by name instead of passing in silence.

use std::io::Write as _;

/// Set by `cargo xtask test` when the tests run in a network namespace of their own.
const OWN_NAMESPACE: &str = "WASMPOD_TEST_NETNS";

/// Tells that the calling test is skipped, and why. The mark is counted by `cargo xtask test`.
///
/// Written past the test runner's capture, which would swallow it in a test that does not fail.
pub(crate) fn skip(why: &str) -> anyhow::Result<()> {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    writeln!(std::io::stderr().lock(), "skipped: {name}: {why}")?;
    Ok(())
}

/// Whether this test runs as root in a network namespace that was made for the tests.
pub(crate) fn as_root_in_own_namespace() -> bool {
    std::env::var_os(OWN_NAMESPACE).is_some() && rustix::process::geteuid().is_root()
}

/// Whether guests written in C can have been built here.
pub(crate) fn has_c_compiler() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("clang").is_file())
}
