//! What the commands stand on: cargo, the wasm targets, programs of the system.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::step::exec;

/// The targets that guests are built for.
const WASM_TARGETS: [&str; 2] = ["wasm32-wasip1", "wasm32-wasip2"];

/// A program of the system and the Debian packages that bring it.
pub(crate) struct Program {
    /// Its file name, or the full path of a file that shows that it is there.
    pub(crate) name: &'static str,
    /// The packages, those that it needs for its work among them.
    pub(crate) packages: &'static [&'static str],
    /// What is left out without it.
    pub(crate) without: &'static str,
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that runs us, in the workspace's root.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    // What cargo told us of this crate is not for the build scripts of others: some ask for it, and
    // would be run again each time, and all that stands on them be compiled again, by whoever calls
    // cargo from here and from a shell in turns.
    for (name, _) in std::env::vars_os() {
        let is_ours = |prefix: &&str| name.to_string_lossy().starts_with(prefix);
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(is_ours) {
            command.env_remove(name);
        }
    }
    command
}

/// Makes sure that guests can be compiled.
pub(crate) fn ensure_wasm_targets() -> anyhow::Result<()> {
    let answer = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(root())
        .output()
        .context("`rustc` is not on the path: install Rust first")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
    let is_absent = |target: &&&str| !sysroot.join("lib/rustlib").join(target).is_dir();
    let absent: Vec<&str> = WASM_TARGETS.iter().filter(is_absent).copied().collect();
    if absent.is_empty() {
        println!("   {} are installed", WASM_TARGETS.join(" and "));
        return Ok(());
    }
    exec(
        Command::new("rustup")
            .args(["target", "add"])
            .args(&absent)
            .current_dir(root()),
    )
    .with_context(|| format!("Rust's target {} is missing", absent.join(" and ")))
}

/// Makes sure of programs of the system; as root it installs what is absent.
///
/// Answers those that stay absent, each already told to the person with its remedy.
pub(crate) fn ensure_programs(wanted: &'static [Program]) -> Vec<&'static Program> {
    let absent = || {
        wanted
            .iter()
            .filter(|p| find(p.name).is_none())
            .collect::<Vec<_>>()
    };
    let mut packages: Vec<&str> = absent()
        .iter()
        .flat_map(|program| program.packages)
        .copied()
        .collect();
    packages.sort_unstable();
    packages.dedup();
    if !packages.is_empty()
        && rustix::process::geteuid().is_root()
        && let Err(error) = install(&packages)
    {
        println!("   {error:#}");
    }
    let absent = absent();
    for program in &absent {
        println!(
            "   no `{}` here: {} (remedy: apt-get install {})",
            program.name,
            program.without,
            program.packages.join(" ")
        );
    }
    absent
}

/// The full path of a program, where there is one; a full path stands for itself. The system's own folders are always searched.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Installs Debian packages.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    if find("apt-get").is_none() {
        bail!(
            "there is no apt-get here to install {}",
            packages.join(", ")
        );
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(["-qq", "-o", "DPkg::Lock::Timeout=300"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    };
    exec(&mut apt(&["update"]))?;
    exec(apt(&["install", "--yes", "--no-install-recommends"]).args(packages))
}
