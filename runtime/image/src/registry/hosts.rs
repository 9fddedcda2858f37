//! How registries are reached: https, but http on this machine; mirrors where settings name some.
//!
//! Settings are containerd's: a directory with a folder for each registry (or `_default`), in it
//! `hosts.toml`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::auth::encoded;
use super::settings::{FILE, Host, Settings};
use super::target::{Place, Target, Url};
use super::{Access, RegistryError};
use crate::reference::{DOCKER, Reference};

/// The folder with what holds for all registries that have none of their own.
const DEFAULT: &str = "_default";

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
    /// The registry that is meant, where its server is another one: a proxy of several registries
    /// has to be told, as containerd does with `?ns=`.
    pub(super) namespace: Option<String>,
    pub(super) capabilities: Capabilities,
    /// The file that says how it is reached, where one does; also that of all registries.
    pub(super) settings: Option<PathBuf>,
}

/// What a server may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// Content, by its digest.
    pub(super) pull: bool,
    /// What a tag leads to: who answers that says what runs.
    pub(super) resolve: bool,
    /// To take content.
    pub(super) push: bool,
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

    /// The servers of a registry, in the order in which they are asked: as the settings have them,
    /// the registry itself last where they do not name it. Reads files: not to be called where tasks
    /// run.
    pub(super) fn endpoints(&self, registry: &str) -> Result<Vec<Endpoint>, RegistryError> {
        let mut named = own(registry)?;
        let Some((path, settings)) = self.settings(registry)? else {
            let directory = self.directory.as_ref();
            let file = directory.map(|it| it.join(registry).join(FILE));
            named.target.place = file.map(|file| Place::new(file, None));
            return Ok(vec![named]);
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        let file = match folder.ends_with(DEFAULT) {
            true => folder.with_file_name(registry).join(FILE),
            false => path.clone(),
        };
        let wrong = |error: RegistryError| RegistryError::Settings {
            path: path.display().to_string(),
            why: error.to_string(),
        };
        let mut own = match &settings.server {
            Some(server) => endpoint(server, settings.own.override_path).map_err(wrong)?,
            None => named.clone(),
        };
        own.set(&settings.own, folder);
        own.target.place = Some(Place::new(file.clone(), None));
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for (server, host) in &settings.hosts {
            let mut endpoint = endpoint(server, host.override_path).map_err(wrong)?;
            endpoint.set(host, folder);
            endpoint.target.place = Some(Place::new(file.clone(), Some(server)));
            endpoint.is_mirror = !endpoint.target.is_same(&own.target);
            endpoints.push(endpoint);
        }
        // A table for the registry itself says how it is reached and when it is asked, and takes
        // nothing from it: containerd asks it once more at the end.
        match endpoints.iter_mut().find(|it| !it.is_mirror) {
            Some(table) => table.capabilities = table.capabilities.or(own.capabilities),
            None => endpoints.push(own),
        }
        for endpoint in &mut endpoints {
            endpoint.is_named = endpoint.target.is_at_same_port(&named.target);
            let is_proxy = endpoint.target.authority() != named.target.authority();
            endpoint.namespace = is_proxy.then(|| registry.to_owned());
            endpoint.settings = Some(path.clone());
        }
        Ok(endpoints)
    }

    fn settings(&self, registry: &str) -> Result<Option<(PathBuf, Settings)>, RegistryError> {
        let Some(directory) = &self.directory else {
            return Ok(None);
        };
        // containerd's own folders for registries with a port end in `_PORT_`.
        let with_port = registry.rsplit_once(':').filter(|(_, port)| is_port(port));
        let with_port = with_port.map(|(host, port)| format!("{host}_{port}_"));
        for name in with_port.as_deref().into_iter().chain([registry, DEFAULT]) {
            let path = directory.join(name).join(FILE);
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
            let settings = Settings::parse(&text).map_err(wrong)?;
            for unknown in &settings.unknown {
                let path = path.display();
                tracing::warn!("{path}: {unknown} is not known and not used: is it mistyped?");
            }
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
    let mut own = endpoint(&format!("https://{host}"), false)?;
    if own.target.is_loopback() && !host.ends_with(":443") {
        own = endpoint(&format!("http://{host}"), false)?;
    }
    own.is_named = true;
    Ok(own)
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
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
        namespace: None,
        capabilities: Capabilities::ALL,
        settings: None,
    })
}

// === impl Endpoint ===

impl Endpoint {
    /// Takes what settings say of it.
    fn set(&mut self, host: &Host, folder: &Path) {
        self.target.trust = host.trust(folder);
        self.capabilities = host.capabilities();
    }

    /// Whether it may be asked for anything of this.
    pub(super) fn is_for(&self, access: Access) -> bool {
        let Capabilities {
            pull,
            resolve,
            push,
        } = self.capabilities;
        match access {
            Access::Pull => pull || resolve,
            // What is pushed belongs to the registry, not to who copies it.
            Access::Push => push && !self.is_mirror,
        }
    }

    /// What credentials have to be for that are for a repository there.
    pub(super) fn name(&self, reference: &Reference) -> String {
        match self.is_named {
            true => reference.name(),
            false => format!("{}/{}", self.target.authority(), reference.repository()),
        }
    }

    /// The same where everybody on the way can read them: then they have to be for the very server
    /// and port that the settings name. Those for a host alone are for https there.
    pub(super) fn open_name(&self, reference: &Reference) -> Option<String> {
        let name = || format!("{}/{}", self.target.with_port(), reference.repository());
        self.target.is_open().then(name)
    }

    pub(super) fn url(&self, path: &str) -> Url {
        Url {
            target: self.target.clone(),
            path: format!("{}/{path}", self.prefix),
        }
    }

    /// The same to read from, which says to a proxy of which registry.
    pub(super) fn url_to_read(&self, path: &str) -> Url {
        let mut url = self.url(path);
        if let Some(registry) = &self.namespace {
            url.path = format!("{}?{}", url.path, encoded(&[("ns", registry)]));
        }
        url
    }
}

// === impl Capabilities ===

impl Capabilities {
    /// Whatever there is.
    pub(super) const ALL: Self = Self {
        pull: true,
        resolve: true,
        push: true,
    };

    fn or(self, other: Self) -> Self {
        Self {
            pull: self.pull || other.pull,
            resolve: self.resolve || other.resolve,
            push: self.push || other.push,
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
            let (_folder, hosts) = settings(&[("_default", &text)]);
            let endpoints = hosts.endpoints(registry).expect("endpoints");
            let named: Vec<bool> = endpoints.iter().map(|it| it.is_named).collect();
            assert_eq!(named, wanted, "{registry}: {text}");
        }
    }

    #[test]
    fn credentials_that_anybody_could_read_are_for_a_host_and_a_port() {
        let server = |url: &str| format!("server = \"{url}\"\n");
        let cases = [
            ("r.example", String::new(), None),
            ("127.0.0.1:5000", String::new(), None),
            ("r.example:5000", server("https://r.example:5000"), None),
            ("r.example", server("http://localhost:5000"), None),
            (
                "r.example",
                server("http://r.example"),
                Some("r.example:80/app"),
            ),
            (
                "r.example",
                server("http://r.example:443"),
                Some("r.example:443/app"),
            ),
            (
                "r.example:5000",
                server("http://r.example:5000"),
                Some("r.example:5000/app"),
            ),
            (
                "r.example",
                server("http://[2001:db8::1]"),
                Some("[2001:db8::1]:80/app"),
            ),
        ];
        for (registry, text, wanted) in cases {
            let (folder, hosts) = settings(&[("_default", &text)]);
            let reference = format!("{registry}/app:1").parse().expect("a reference");
            let [endpoint] = &hosts.endpoints(registry).expect("endpoints")[..] else {
                panic!("one: {registry} {text}");
            };
            let name = endpoint.open_name(&reference);
            assert_eq!(name.as_deref(), wanted, "{registry} {text}");
            let file = folder.path().join("_default/hosts.toml");
            assert_eq!(endpoint.settings, Some(file));
        }
    }

    /// A folder of settings: registries, and what stands in the file of each.
    fn settings(files: &[(&str, &str)]) -> (tempfile::TempDir, Hosts) {
        let folder = tempfile::tempdir().expect("a folder");
        for (registry, text) in files {
            let folder = folder.path().join(registry);
            fs::create_dir_all(&folder).expect("made");
            fs::write(folder.join("hosts.toml"), text).expect("written");
        }
        let hosts = Hosts::in_directory(folder.path());
        (folder, hosts)
    }

    #[test]
    fn mirrors_are_asked_as_they_are_written_and_the_registry_last() {
        let docker = "server = \"https://registry-1.docker.io\"\n\
             [host.\"http://z.example:5000\"]\ncapabilities = [\"pull\", \"resolve\"]\n\
             [host.\"https://a.example/cache\"]\n\
             [host.\"https://b.example/v2/cache\"]\noverride_path = true\n";
        let itself_first = "[host.\"https://r.example\"]\nca = \"ca.pem\"\n\
            [host.\"https://a.example\"]\nca = \"a.pem\"\n";
        let six = "server = \"https://[::1]:5000\"\n[host.\"https://[::1]:5000\"]\n";
        let whole = "server = \"https://w.example/own/path\"\noverride_path = true\nca = \"w.pem\"";
        let files = [
            ("docker.io", docker),
            ("r.example", itself_first),
            ("[::1]_5000_", six),
            ("w.example", whole),
            ("bad.example", "[host"),
        ];
        let (folder, hosts) = settings(&files);
        let cases: [(&str, &[&str]); 5] = [
            (
                "docker.io",
                &[
                    "http://z.example:5000/v2/a",
                    "https://a.example/cache/v2/a",
                    "https://b.example/v2/cache/a",
                    "https://registry-1.docker.io/v2/a",
                ],
            ),
            (
                "r.example",
                &["https://r.example/v2/a", "https://a.example/v2/a"],
            ),
            ("[::1]:5000", &["https://[::1]:5000/v2/a"]),
            ("w.example", &["https://w.example/own/path/a"]),
            ("other.example", &["https://other.example/v2/a"]),
        ];
        for (registry, wanted) in cases {
            assert_eq!(shown(&hosts, registry), wanted);
        }
        let authorities = |registry: &str, number: usize| {
            let endpoints = hosts.endpoints(registry).expect("endpoints");
            endpoints[number].target.trust.authorities.clone()
        };
        let path = |text: &str| vec![folder.path().join(text)];
        assert_eq!(authorities("r.example", 0), path("r.example/ca.pem"));
        assert_eq!(authorities("r.example", 1), path("r.example/a.pem"));
        assert_eq!(authorities("w.example", 0), path("w.example/w.pem"));
        assert!(hosts.endpoints("bad.example").is_err());
    }

    #[test]
    fn what_holds_for_one_server_has_its_place_in_its_registrys_own_file() {
        let mirrors = "[host.\"https://m.example\"]\n[host.\"https://s.example\"]\n";
        let files = [
            ("_default", "skip_verify = false\n"),
            ("r.example", "server = \"https://s.example\"\n"),
            ("p.example_5000_", ""),
            ("m.example", mirrors),
        ];
        let (folder, hosts) = settings(&files);
        // The folder of the file, and for each server its table, if any.
        let cases: [(&str, &str, &[Option<&str>]); 4] = [
            ("other.example", "other.example", &[None]),
            ("r.example", "r.example", &[None]),
            ("p.example:5000", "p.example_5000_", &[None]),
            (
                "m.example",
                "m.example",
                &[Some("https://m.example"), Some("https://s.example")],
            ),
        ];
        let place = |hosts: &Hosts, registry: &str| -> Vec<Place> {
            let endpoints = hosts.endpoints(registry).expect("endpoints");
            let places = endpoints.into_iter().map(|it| it.target.place);
            places.map(|it| it.expect("a place")).collect()
        };
        for (registry, name, tables) in cases {
            let file = folder.path().join(name).join(FILE);
            let wanted = tables.iter().map(|it| Place::new(file.clone(), *it));
            let wanted: Vec<Place> = wanted.collect();
            assert_eq!(place(&hosts, registry), wanted, "{registry}");
        }
        let (folder, hosts) = settings(&[("_default", mirrors)]);
        let found = place(&hosts, "r.example");
        let own = folder.path().join("r.example").join(FILE);
        assert!(found.iter().all(|place| place.file == own), "{found:?}");
        let (folder, hosts) = settings(&[]);
        let found = place(&hosts, "r.example");
        assert_eq!(found[0].file, folder.path().join("r.example").join(FILE));
        let plain = Hosts::plain().endpoints("r.example").expect("endpoints");
        assert_eq!(plain[0].target.place, None);
    }

    #[test]
    fn who_may_be_asked_for_what_the_settings_say() {
        let table = |server: &str, capabilities: &str| {
            format!("[host.\"https://{server}\"]\ncapabilities = [{capabilities}]\n")
        };
        let only_pull = "capabilities = [\"pull\"]\n".to_owned() + &table("m.example", "");
        let push = table("m.example", "\"push\"");
        let itself = table("r.example", "\"push\"");
        // For each server whether it is for pulling, for tags, and for pushing.
        let cases = [
            (only_pull, vec![[false; 3], [true, false, false]]),
            (push, vec![[false; 3], [true; 3]]),
            (itself, vec![[true; 3]]),
        ];
        for (text, wanted) in cases {
            let (_folder, hosts) = settings(&[("r.example", &text)]);
            let endpoints = hosts.endpoints("r.example").expect("endpoints");
            let found = endpoints.iter().map(|it| {
                let tags = it.capabilities.resolve;
                [it.is_for(Access::Pull), tags, it.is_for(Access::Push)]
            });
            assert_eq!(found.collect::<Vec<_>>(), wanted, "{text}");
        }
    }
}
