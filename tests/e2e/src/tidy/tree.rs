//! The source tree as it lies on disk, without what was built from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// A text file of the project.
pub(super) struct File {
    /// Its path from the root, with `/`.
    pub(super) path: String,
    /// Its content.
    pub(super) text: String,
}

/// The root of the workspace.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies two folders below the root")
        .to_path_buf()
}

/// Every text file of the project. Binary files are left out.
pub(super) fn files() -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    collect(&root(), "", &mut files)?;
    Ok(files)
}

/// Every Rust file of the project.
pub(super) fn rust_files() -> anyhow::Result<Vec<File>> {
    let mut files = files()?;
    files.retain(|file| file.path.ends_with(".rs"));
    if files.is_empty() {
        bail!("no Rust file found below {}", root().display());
    }
    Ok(files)
}

/// One file by its path from the root.
pub(super) fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("{path} cannot be read"))
}

/// The names in a folder, in order, without what is built.
pub(super) fn entries(folder: &str) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join(folder)).with_context(|| folder.to_owned())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !is_built(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// What cargo prints, run in the root.
pub(super) fn cargo(arguments: &[&str]) -> anyhow::Result<String> {
    let answer = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(root())
        .output()?;
    if !answer.status.success() {
        bail!(
            "cargo {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&answer.stderr)
        );
    }
    Ok(String::from_utf8(answer.stdout)?)
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if is_built(&name) {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.push(File { path, text });
        }
    }
    Ok(())
}

/// Folders that are not the project's text.
fn is_built(name: &str) -> bool {
    matches!(
        name,
        "target" | ".git" | "node_modules" | "__pycache__" | "venv"
    )
}
