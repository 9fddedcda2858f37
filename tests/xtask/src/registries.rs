//! What comes from the registries of other languages: installed below `target/`, once per pin.
//!
//! A pin is a file that names versions, and the hash of everything that is fetched: a registry that
//! gives something else is not believed, and that is an error, where what cannot be had is skipped.
//! What is installed is left alone until its pin changes, so
//! that a second run costs nothing and needs no network. Nothing is put into the system, and no
//! package runs scripts of its own.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context as _, bail};

use crate::step::{exec, exec_heard};
use crate::toolchain::{Program, cargo, install, root};

/// What npm's packages need.
pub(crate) const NPM: Program = Program {
    name: "npm",
    packages: &["nodejs", "npm"],
    without: "what is made with packages of npm is skipped",
};

/// What PyPI's packages need.
pub(crate) const PYTHON: Program = Program {
    name: "python3",
    packages: &["python3", "python3-venv"],
    without: "what is made with packages of PyPI is skipped",
};

/// A package of npm's registry, as one archive.
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
    /// The archive's hash, in hexadecimal digits.
    pub(crate) sha512: &'static str,
}

/// A package of cargo's registry.
pub(crate) struct Crate {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
    /// Its checksum, in hexadecimal digits.
    pub(crate) sha256: &'static str,
}

/// What was fetched is not what was pinned.
#[derive(Debug)]
pub(crate) struct Changed(String);

/// What pip says of that.
const PIP_REFUSES: &str = "DO NOT MATCH THE HASHES";

/// What npm says of that.
const NPM_REFUSES: &str = "EINTEGRITY";

/// What cargo says where a package is not what a lock file has.
const CARGO_REFUSES: &str = "changed between lock files";

/// Written into a folder when everything in it is installed.
const INSTALLED: &str = ".installed";

/// The oldest Node.js that the packages used here run on.
const NODE: u32 = 20;

// === impl Changed ===

impl Changed {
    /// Of what, with the hash that it has and the one that it should have.
    fn new(what: &str, found: &str, wanted: &str) -> Self {
        Self(format!(
            "{what} has the hash {found}, and should have {wanted}"
        ))
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: it was changed on its way or at its source", self.0)
    }
}

impl std::error::Error for Changed {}

/// Has `folder` filled by `fill`, unless it was already since `pin` was last changed. A folder that
/// was left half filled is filled anew.
pub(crate) fn install_once(
    folder: &Path,
    pin: &Path,
    fill: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mark = folder.join(INSTALLED);
    if is_newer(&mark, [pin])? {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    fs::create_dir_all(folder)?;
    fill()?;
    fs::write(&mark, "").with_context(|| format!("{} cannot be written", mark.display()))
}

/// Whether a file is there and no older than any of the others.
pub(crate) fn is_newer<'a>(
    file: &Path,
    than: impl IntoIterator<Item = &'a Path>,
) -> anyhow::Result<bool> {
    let Ok(made) = modified(file) else {
        return Ok(false);
    };
    for other in than {
        let changed =
            modified(other).with_context(|| format!("{} cannot be read", other.display()))?;
        if changed > made {
            return Ok(false);
        }
    }
    Ok(true)
}

fn modified(file: &Path) -> std::io::Result<SystemTime> {
    fs::metadata(file)?.modified()
}

/// Installs what `package.json` and `package-lock.json` of a folder name, with their hashes.
pub(crate) fn npm_ci(pinned: &Path, into: &Path) -> anyhow::Result<()> {
    let version = said(Command::new("node").arg("--version"))?;
    if !is_new_enough(&version) {
        bail!("Node.js is {version}, and {NODE} is needed");
    }
    for name in ["package.json", "package-lock.json"] {
        fs::copy(pinned.join(name), into.join(name))?;
    }
    fetch(npm("ci").current_dir(into), NPM_REFUSES)
}

/// Puts the archive of one package into a folder; answers where it lies.
pub(crate) fn npm_pack(package: &Package, into: &Path) -> anyhow::Result<PathBuf> {
    let Package {
        name,
        version,
        sha512,
    } = package;
    let mut pack = npm("pack");
    pack.arg(format!("{name}@{version}")).current_dir(into);
    fetch(&mut pack, NPM_REFUSES)?;
    let archive = into.join(format!("{name}-{version}.tgz"));
    check(&archive, sha512)?;
    Ok(archive)
}

/// Puts the sources of a package of cargo's registry into a folder, with those of all that it needs;
/// answers where they lie.
pub(crate) fn cargo_vendor(package: &Crate, into: &Path) -> anyhow::Result<PathBuf> {
    let Crate {
        name,
        version,
        sha256,
    } = package;
    let manifest = format!(
        "[workspace]\n\
         [package]\nname = \"sources\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [dependencies]\n{name} = \"={version}\"\n"
    );
    fs::write(into.join("Cargo.toml"), manifest)?;
    fs::create_dir_all(into.join("src"))?;
    fs::write(into.join("src/lib.rs"), "")?;
    exec(
        cargo(["vendor", "--quiet"])
            .current_dir(into)
            .stdout(Stdio::null()),
    )?;
    let sources = into.join("vendor").join(name);
    let fetched = fs::read_to_string(sources.join(".cargo-checksum.json"))?;
    check_crate(name, &fetched, sha256)?;
    Ok(sources)
}

/// Installs a program from its sources, of packages that its lock file names with their hashes.
pub(crate) fn cargo_install(sources: &Path, into: &Path, options: &[&str]) -> anyhow::Result<()> {
    // A workspace of its own: it lies in the folders of others.
    let manifest = sources.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(&manifest, format!("{text}\n[workspace]\n"))?;
    let mut command = cargo(["install", "--quiet", "--locked"]);
    command.args(options).arg("--path").arg(sources);
    fetch(command.arg("--root").arg(into), CARGO_REFUSES)
}

/// Runs a command that fetches something and holds it against hashes; `refusal` is of the words in
/// which it says that it is something else.
fn fetch(command: &mut Command, refusal: &str) -> anyhow::Result<()> {
    exec_heard(command).map_err(|error| {
        let text = error.to_string();
        match text.contains(refusal) {
            true => Changed(text).into(),
            false => error,
        }
    })
}

/// Holds a file against its hash.
fn check(file: &Path, sha512: &str) -> anyhow::Result<()> {
    let line = said(Command::new("sha512sum").arg(file))?;
    let found = line.split_whitespace().next().unwrap_or_default();
    if found != sha512 {
        return Err(Changed::new(&file.display().to_string(), found, sha512).into());
    }
    Ok(())
}

/// Holds what cargo has written of a package that it fetched against the checksum that it should
/// have.
fn check_crate(name: &str, fetched: &str, sha256: &str) -> anyhow::Result<()> {
    let fetched: serde_json::Value = serde_json::from_str(fetched)?;
    let found = fetched.get("package").and_then(serde_json::Value::as_str);
    let found = found.unwrap_or("none");
    if found != sha256 {
        return Err(Changed::new(&format!("the package {name}"), found, sha256).into());
    }
    Ok(())
}

fn npm(subcommand: &str) -> Command {
    let mut command = Command::new("npm");
    command
        .args([subcommand, "--loglevel=error", "--ignore-scripts"])
        .args(["--no-audit", "--no-fund", "--no-update-notifier"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// `v20.11.1` and the like.
fn is_new_enough(version: &str) -> bool {
    let major = version.trim_start_matches('v').split('.').next();
    major
        .and_then(|major| major.parse().ok())
        .is_some_and(|major: u32| major >= NODE)
}

/// Makes an environment of Python's that holds what a `requirements.txt` names, with their hashes,
/// and no more.
pub(crate) fn python_environment(requirements: &Path, into: &Path) -> anyhow::Result<()> {
    // Debian's python3 comes without it.
    let check = ["-c", "import ensurepip, venv"];
    if said(Command::new("python3").args(check)).is_err() {
        install(&["python3-venv"])?;
    }
    exec(Command::new("python3").args(["-m", "venv"]).arg(into))?;
    let mut pip = Command::new(into.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--only-binary", ":all:"])
        .args(["--require-hashes", "--requirement"])
        .arg(requirements)
        .current_dir(root());
    fetch(&mut pip, PIP_REFUSES)
}

/// What a command prints, without the line's end.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let answer = command.stdin(Stdio::null()).output()?;
    if !answer.status.success() {
        bail!("{}", String::from_utf8_lossy(&answer.stderr));
    }
    Ok(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_hash_is_refused() {
        // That of nothing at all.
        let empty = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                     47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
        let file = Path::new("/dev/null");
        assert!(check(file, empty).is_ok());
        for wrong in ["", &empty[1..], &empty.replace('c', "d")] {
            let error = check(file, wrong).expect_err(wrong);
            assert!(error.is::<Changed>(), "{error}");
            let error = error.to_string();
            assert!(
                error.contains(empty) && error.contains("/dev/null"),
                "{error}"
            );
        }
        let error = check(Path::new("/nowhere"), empty).expect_err("no file");
        assert!(!error.is::<Changed>(), "{error}");
    }

    #[test]
    fn a_package_of_another_checksum_is_refused() {
        let cases = [
            (r#"{"files": {}, "package": "ab"}"#, None),
            (r#"{"files": {}, "package": "ac"}"#, Some(true)),
            (r#"{"files": {}, "package": null}"#, Some(true)),
            (r#"{"files": {"package": "ab"}}"#, Some(true)),
            ("ab", Some(false)),
        ];
        for (fetched, wanted) in cases {
            let refused = check_crate("a", fetched, "ab").err();
            let is_changed = refused.map(|error| error.is::<Changed>());
            assert_eq!(is_changed, wanted, "{fetched}");
        }
    }

    #[test]
    fn what_a_program_refuses_for_its_hash_is_told_apart() {
        // Not in the words of the command itself.
        let cases = [
            ("exit 0", None),
            ("echo EINTEG''RITY >&2; exit 1", Some(true)),
            ("echo ENOTFOUND >&2; exit 1", Some(false)),
        ];
        for (script, wanted) in cases {
            let refused = fetch(Command::new("sh").args(["-c", script]), NPM_REFUSES).err();
            let is_changed = refused.map(|error| error.is::<Changed>());
            assert_eq!(is_changed, wanted, "{script}");
        }
    }

    /// Each package of a requirements file, with the number of its hashes.
    fn hashes(text: &str) -> Vec<(&str, usize)> {
        let mut found: Vec<(&str, usize)> = Vec::new();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match (line.strip_prefix("--hash=sha256:"), found.last_mut()) {
                (Some(_), Some((_, count))) => *count += 1,
                _ => found.push((line, 0)),
            }
        }
        found
    }

    #[test]
    fn everything_from_registries_of_languages_has_its_hash() {
        for language in ["go", "python"] {
            let path = root().join("examples").join(language);
            let text = fs::read_to_string(path.join("requirements.txt")).expect("a pin");
            let packages = hashes(&text);
            assert!(!packages.is_empty(), "{language}");
            for (package, hashes) in packages {
                assert!(
                    package.contains("==") && hashes > 0,
                    "{language}: {package}"
                );
            }
        }
        let path = root().join("examples/javascript/package-lock.json");
        let text = fs::read_to_string(path).expect("a pin");
        let lock: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let packages = lock["packages"].as_object().expect("packages");
        for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
            let integrity = package["integrity"].as_str().unwrap_or_default();
            assert!(integrity.starts_with("sha512-"), "{name}");
        }
    }

    #[test]
    fn node_is_new_enough_or_not() {
        let cases = [
            ("v20.20.2", true),
            ("v22.1.0", true),
            ("v18.19.0", false),
            ("v8", false),
            ("", false),
        ];
        for (version, wanted) in cases {
            assert_eq!(is_new_enough(version), wanted, "{version}");
        }
    }
}
