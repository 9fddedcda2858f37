//! The certificates that guests' requests over https are checked against, as a child may read them.
//!
//! The machine's own lie where its distribution puts them. Others the owner names by the variables
//! that OpenSSL made usual; a child is given these two of its parent's environment and no more.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of certificates in place of the machine's.
const FILE: &str = "SSL_CERT_FILE";

/// Directories of them, separated by colons.
const DIRECTORIES: &str = "SSL_CERT_DIR";

/// Where distributions have them. Most of what lies in `/etc` are links, and Landlock looks at what
/// they lead to.
const OF_THE_MACHINE: [&str; 14] = [
    // Debian, Alpine, Arch and many others; its files lead elsewhere.
    "/etc/ssl/certs",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    // Fedora
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted",
    // Arch
    "/etc/ca-certificates/extracted",
    // openSUSE
    "/var/lib/ca-certificates",
    // NixOS, whose files lead into its store; the two above are those that count.
    "/etc/static/ssl/certs",
    // Entware
    "/opt/etc/ssl/certs",
];

/// Entries of a named directory that are looked at: the usual ones have some three hundred.
const ENTRIES: usize = 4096;

/// The variables that a child gets.
pub(crate) fn variables() -> impl Iterator<Item = (&'static str, OsString)> {
    let of = |name| env::var_os(name).map(|value| (name, value));
    [FILE, DIRECTORIES].into_iter().filter_map(of)
}

/// All files and directories to be read for them; those that there are.
pub(crate) fn paths() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = OF_THE_MACHINE.iter().map(PathBuf::from).collect();
    paths.extend(env::var_os(FILE).map(PathBuf::from));
    let named = env::var_os(DIRECTORIES).unwrap_or_default();
    for directory in env::split_paths(&named) {
        paths.extend(led_to(&directory));
        paths.push(directory);
    }
    paths.retain(|path| path.exists());
    paths
}

/// Where the links of a directory lead, as `openssl rehash` makes them.
fn led_to(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let links = entries.take(ENTRIES).filter_map(|entry| {
        let entry = entry.ok()?;
        let is_link = entry.file_type().ok()?.is_symlink();
        is_link.then(|| fs::canonicalize(entry.path()).ok())?
    });
    // A link to a directory is none to a certificate.
    links.filter(|path| path.is_file()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_links_of_a_directory_of_certificates_are_followed_to_files() {
        let home = tempfile::tempdir().unwrap();
        let (named, elsewhere) = (home.path().join("named"), home.path().join("elsewhere"));
        fs::create_dir(&named).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        let target = elsewhere.join("root.pem");
        fs::write(&target, "").unwrap();
        fs::write(named.join("own.pem"), "").unwrap();
        symlink("../elsewhere/root.pem", named.join("2ae6433e.0")).unwrap();
        symlink("../elsewhere/none.pem", named.join("dangling.0")).unwrap();
        symlink("../elsewhere", named.join("directory")).unwrap();
        assert_eq!(led_to(&named), [fs::canonicalize(target).unwrap()]);
        assert!(led_to(&elsewhere.join("none")).is_empty());
    }
}
