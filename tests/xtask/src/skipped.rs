//! A program that this machine cannot build: told to the person, and to the test that would run it.
//!
//! Beside where the program would lie stands a note with the reason. A test that finds neither the
//! program nor a note fails, so that nothing is skipped in silence. A program of before goes: no
//! test takes it for what would be built now.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// The extension of a note.
const NOTE: &str = "skipped";

/// Tells that a program is not built, and why.
pub(crate) fn skip(program: &Path, why: &str) -> anyhow::Result<()> {
    let name = program.file_stem().unwrap_or_default().to_string_lossy();
    println!("   {name} is skipped: {why}");
    if program.exists() {
        fs::remove_file(program)
            .with_context(|| format!("{} cannot be removed", program.display()))?;
    }
    let note = program.with_extension(NOTE);
    if let Some(folder) = note.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&note, why).with_context(|| format!("{} cannot be written", note.display()))
}

/// Takes back what [`skip`] told.
pub(crate) fn built(program: &Path) -> anyhow::Result<()> {
    let note = program.with_extension(NOTE);
    if note.exists() {
        fs::remove_file(&note)?;
    }
    Ok(())
}
