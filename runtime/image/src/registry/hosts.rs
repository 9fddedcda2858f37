//! How registries are reached: https, but http on this machine; mirrors where settings name some.
//!
//! Settings are containerd's: a directory with a folder for each registry (or `_default`), in it
//! `hosts.toml` with `server` and `[host."URL"]` tables of `capabilities` and `ca`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::RegistryError;
use super::target::{Target, Url};
use crate::reference::DOCKER;

/// Where Docker's registry really is.
const DOCKER_HOST: &str = "registry-1.docker.io";

/// The largest file of settings.
const SETTINGS: u64 = 1 << 20;

/// The settings of all registries.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    directory: Option<PathBuf>,
}

/// One server that has a registry's images.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(super) target: Target,
    /// What stands before `/REPOSITORY`.
    pub(super) prefix: String,
    /// Whether it is another server than the one that the reference names.
    pub(super) is_mirror: bool,
    /// Whether it is the host and port that the reference names. Credentials for the reference are
    /// for that, whatever settings take for the registry.
    pub(super) is_named: bool,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    server: Option<String>,
    #[serde(default)]
    host: BTreeMap<String, Host>,
}

#[derive(Deserialize)]
struct Host {
    #[serde(default)]
    capabilities: Option<Vec<String>>,
    #[serde(default)]
    ca: Option<PathBuf>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
}

// === impl Hosts ===

impl Hosts {
    /// No settings: https, and http for loopback addresses.
    pub fn plain() -> Self {
        Self::default()
    }

    /// Settings from a directory, read when a registry is asked.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            directory: Some(directory.to_owned()),
        }
    }

    /// The servers of a registry, in the order in which they are asked; the registry itself last.
    pub(super) fn endpoints(&self, registry: &str) -> Result<Vec<Endpoint>, RegistryError> {
        let named = own(registry)?;
        let Some((path, settings)) = self.settings(registry)? else {
            return Ok(vec![named]);
        };
        let wrong = |why: String| RegistryError::Settings {
            path: path.display().to_string(),
            why,
        };
        let own = match &settings.server {
            Some(server) => endpoint(server, false).map_err(|e| wrong(e.to_string()))?,
            None => named.clone(),
        };
        let mut endpoints = Vec::new();
        for (server, host) in &settings.host {
            let capabilities = host.capabilities.as_deref();
            let pulls = capabilities.is_none_or(|list| list.iter().any(|it| it == "pull"));
            if !pulls {
                continue;
            }
            if host.skip_verify {
                return Err(wrong(format!(
                    "skip_verify of {server:?} is not supported: name the server's authority with `ca`"
                )));
            }
            let mut endpoint =
                endpoint(server, host.override_path).map_err(|e| wrong(e.to_string()))?;
            let folder = path.parent().unwrap_or(Path::new("/"));
            endpoint.target.authorities = host.ca.as_ref().map(|ca| folder.join(ca));
            endpoint.is_mirror = !endpoint.target.is_same(&own.target);
            endpoints.push(endpoint);
        }
        // Mirrors first; a table for the registry itself is its settings.
        endpoints.sort_by_key(|endpoint| !endpoint.is_mirror);
        if endpoints.last().is_none_or(|last| last.is_mirror) {
            endpoints.push(own);
        }
        for endpoint in &mut endpoints {
            endpoint.is_named = endpoint.target.is_at_same_port(&named.target);
        }
        Ok(endpoints)
    }

    fn settings(&self, registry: &str) -> Result<Option<(PathBuf, Settings)>, RegistryError> {
        let Some(directory) = &self.directory else {
            return Ok(None);
        };
        for name in [registry, "_default"] {
            let path = directory.join(name).join("hosts.toml");
            let wrong = |why: String| RegistryError::Settings {
                path: path.display().to_string(),
                why,
            };
            match fs::metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Ok(about) if about.len() > SETTINGS => {
                    return Err(wrong(format!("larger than {SETTINGS} bytes")));
                }
                _ => {}
            }
            let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
            let settings =
                toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
            return Ok(Some((path, settings)));
        }
        Ok(None)
    }
}

/// The server that a reference names.
fn own(registry: &str) -> Result<Endpoint, RegistryError> {
    let host = if registry == DOCKER {
        DOCKER_HOST
    } else {
        registry
    };
    let bare = match host.rsplit_once(':') {
        Some((bare, port)) if port.parse::<u16>().is_ok() => bare,
        _ => host,
    };
    let bare = bare.trim_matches(['[', ']']);
    let address = bare.parse::<std::net::IpAddr>();
    let is_loopback = bare == "localhost" || address.is_ok_and(|address| address.is_loopback());
    let scheme = match is_loopback && !host.ends_with(":443") {
        true => "http",
        false => "https",
    };
    let mut own = endpoint(&format!("{scheme}://{host}"), false)?;
    own.is_named = true;
    Ok(own)
}

fn endpoint(server: &str, is_whole: bool) -> Result<Endpoint, RegistryError> {
    let text = match server.contains("://") {
        true => server.to_owned(),
        false => format!("https://{server}"),
    };
    let url = Url::parse(&text)?;
    let path = url.path.trim_end_matches('/');
    let prefix = match is_whole || path.ends_with("/v2") {
        true => path.to_owned(),
        false => format!("{path}/v2"),
    };
    Ok(Endpoint {
        target: url.target,
        prefix,
        is_mirror: false,
        is_named: false,
    })
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) fn url(&self, path: &str) -> Url {
        Url {
            target: self.target.clone(),
            path: format!("{}/{path}", self.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(hosts: &Hosts, registry: &str) -> Vec<String> {
        let endpoints = hosts.endpoints(registry).expect("endpoints");
        endpoints.iter().map(|it| it.url("a").to_string()).collect()
    }

    #[test]
    fn loopback_is_plain_and_everything_else_is_not() {
        let cases = [
            ("docker.io", "https://registry-1.docker.io/v2/a"),
            ("r.example", "https://r.example/v2/a"),
            ("r.example:5000", "https://r.example:5000/v2/a"),
            ("localhost:5000", "http://localhost:5000/v2/a"),
            ("127.0.0.2:80", "http://127.0.0.2/v2/a"),
            ("[::1]:5000", "http://[::1]:5000/v2/a"),
            ("localhost:443", "https://localhost/v2/a"),
        ];
        for (registry, wanted) in cases {
            assert_eq!(shown(&Hosts::plain(), registry), [wanted]);
        }
    }

    #[test]
    fn credentials_of_a_registry_are_for_its_host_and_port() {
        let server = |url: &str| format!("server = \"{url}\"\n");
        let mirror = |url: &str| format!("[host.\"{url}\"]\n");
        let cases = [
            ("r.example", server("https://r.example"), vec![true]),
            ("r.example", server("https://other.example"), vec![false]),
            ("r.example", server("http://r.example"), vec![false]),
            (
                "r.example",
                mirror("https://r.example:5000"),
                vec![false, true],
            ),
            ("[::1]:5000", server("https://[::1]:5000"), vec![true]),
            (
                "docker.io",
                server("https://registry-1.docker.io"),
                vec![true],
            ),
            (
                "docker.io",
                server("https://docker.io.example"),
                vec![false],
            ),
            (
                "r.example",
                server("https://cache.example") + &mirror("https://r.example"),
                vec![true, false],
            ),
        ];
        for (registry, text, wanted) in cases {
            let folder = tempfile::tempdir().expect("a folder");
            let settings = folder.path().join("_default");
            fs::create_dir(&settings).expect("made");
            fs::write(settings.join("hosts.toml"), &text).expect("written");
            let hosts = Hosts::in_directory(folder.path());
            let endpoints = hosts.endpoints(registry).expect("endpoints");
            let named: Vec<bool> = endpoints.iter().map(|it| it.is_named).collect();
            assert_eq!(named, wanted, "{registry}: {text}");
        }
    }

    #[test]
    fn mirrors_are_asked_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |registry: &str, text: &str| {
            let folder = folder.path().join(registry);
            fs::create_dir_all(&folder).expect("made");
            fs::write(folder.join("hosts.toml"), text).expect("written");
        };
        write(
            "docker.io",
            "server = \"https://registry-1.docker.io\"\n\
             [host.\"http://mirror.example:5000\"]\ncapabilities = [\"pull\", \"resolve\"]\n\
             [host.\"https://push.example\"]\ncapabilities = [\"push\"]\n",
        );
        write(
            "r.example",
            "[host.\"https://r.example\"]\nca = \"ca.pem\"\n",
        );
        write(
            "[::1]:5000",
            "server = \"https://[::1]:5000\"\n[host.\"https://[::1]:5000\"]\nca = \"ca.pem\"\n",
        );
        write("bad.example", "[host");
        let hosts = Hosts::in_directory(folder.path());
        let docker = [
            "http://mirror.example:5000/v2/a",
            "https://registry-1.docker.io/v2/a",
        ];
        assert_eq!(shown(&hosts, "docker.io"), docker);
        let own = hosts.endpoints("r.example").expect("endpoints");
        let ca = folder.path().join("r.example/ca.pem");
        assert_eq!(own[0].target.authorities.as_deref(), Some(ca.as_path()));
        assert!(own.len() == 1 && !own[0].is_mirror);
        let six = hosts.endpoints("[::1]:5000").expect("endpoints");
        assert!(six.len() == 1 && !six[0].is_mirror && six[0].target.tls);
        assert!(hosts.endpoints("bad.example").is_err());
        assert_eq!(
            shown(&hosts, "other.example"),
            ["https://other.example/v2/a"]
        );
    }
}
