//! The rules of the house as tests: layers, manifests, sources, documents, leaks.
//!
//! Each rule is data, and each test tells every violation at once, with the file and the remedy.
//! What a compiler or clippy checks already is not repeated here.

mod dependencies;
mod documents;
mod layers;
mod leaks;
mod manifests;
mod measured;
mod sources;
mod tree;

/// Fails with every violation, one per line.
#[track_caller]
fn assert_none(rule: &str, violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{rule}:\n  {}",
        violations.join("\n  ")
    );
}
