//! `hosts.toml`: containerd's settings of one registry, as they are written.
//!
//! ```text
//! server = "https://r.example"        the registry itself, and what holds for it:
//! ca = "own.pem"
//! [host."https://mirror.example"]     others that have its images, asked in this order
//! capabilities = ["pull"]             not for what a tag leads to
//! ```
//!
//! What changes a request and is not done here (`header`, `client`) is refused, not ignored.
//! `dial_timeout` is not read: how long a connection may take is one of the limits.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::hosts::Capabilities;
use super::target::Trust;

/// What the file is called in its registry's folder.
pub(super) const FILE: &str = "hosts.toml";

/// A key of containerd's that is not read, see above.
const UNREAD: &str = "dial_timeout";

/// The file.
#[derive(Debug)]
pub(super) struct Settings {
    /// Whom to take for the registry.
    pub(super) server: Option<String>,
    /// What holds for it.
    pub(super) own: Host,
    /// Others, and what holds for each, as they are written.
    pub(super) hosts: Vec<(String, Host)>,
    /// Keys that nobody knows, with the server that they are said of: most likely mistyped.
    pub(super) unknown: Vec<String>,
}

/// What holds for a server.
#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "a table")]
pub(super) struct Host {
    #[serde(default)]
    capabilities: Option<Vec<String>>,
    #[serde(default)]
    ca: Option<Paths>,
    #[serde(default)]
    skip_verify: bool,
    /// Its URL says all of the path.
    #[serde(default)]
    pub(super) override_path: bool,
    #[serde(default)]
    header: Option<IgnoredAny>,
    #[serde(default)]
    client: Option<IgnoredAny>,
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

/// One or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a path or a list of paths")]
enum Paths {
    One(String),
    Several(Vec<String>),
}

/// The tables of the file; keys are told by where they stand, since a map forgets it.
#[derive(Deserialize)]
struct Tables {
    #[serde(default)]
    server: Option<String>,
    #[serde(default)]
    host: BTreeMap<Spanned<String>, Host>,
}

// === impl Settings ===

impl Settings {
    /// Reads the file's text.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |error: toml::de::Error| error.message().to_owned();
        let own: Host = toml::from_str(text).map_err(wrong)?;
        let Tables { server, host } = toml::from_str(text).map_err(wrong)?;
        let mut tables: Vec<_> = host.into_iter().collect();
        tables.sort_by_key(|(server, _)| server.span().start);
        let name = server.as_deref().unwrap_or("the registry");
        own.check(name)?;
        let mut unknown = own.unknown(name, &["server", "host"]);
        let mut hosts = Vec::new();
        for (server, host) in tables {
            let server = server.into_inner();
            host.check(&server)?;
            unknown.extend(host.unknown(&server, &[]));
            hosts.push((server, host));
        }
        Ok(Self {
            server,
            own,
            hosts,
            unknown,
        })
    }
}

// === impl Host ===

impl Host {
    /// What the server may be asked for; everything where the file does not say.
    pub(super) fn capabilities(&self) -> Capabilities {
        let Some(list) = &self.capabilities else {
            return Capabilities::ALL;
        };
        let has = |name: &str| list.iter().any(|it| it == name);
        Capabilities {
            pull: has("pull"),
            resolve: has("resolve"),
            push: has("push"),
        }
    }

    /// Whose certificates it may show. Paths are relative to the file's folder.
    pub(super) fn trust(&self, folder: &Path) -> Trust {
        let paths: &[String] = match &self.ca {
            None => &[],
            Some(Paths::One(path)) => std::slice::from_ref(path),
            Some(Paths::Several(paths)) => paths,
        };
        Trust {
            authorities: paths.iter().map(|path| folder.join(path)).collect(),
            is_blind: self.skip_verify,
        }
    }

    /// The keys that are neither known nor those of the file itself.
    fn unknown(&self, server: &str, others: &[&str]) -> Vec<String> {
        let keys = self.others.keys().map(String::as_str);
        let unknown = keys.filter(|key| *key != UNREAD && !others.contains(key));
        unknown
            .map(|key| format!("`{key}` of {server:?}"))
            .collect()
    }

    fn check(&self, server: &str) -> Result<(), String> {
        let refused = |field: &str, remedy: &str| {
            Err(format!(
                "`{field}` of {server:?} is not supported: {remedy}"
            ))
        };
        if self.header.is_some() {
            return refused(
                "header",
                "take it out; credentials belong in Docker's config.json or in imagePullSecrets",
            );
        }
        if self.client.is_some() {
            return refused(
                "client",
                "certificates of clients are not shown; use a password or a token",
            );
        }
        let known = ["pull", "resolve", "push"];
        let mut list = self.capabilities.iter().flatten();
        match list.find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(format!(
                "{server:?} has the unknown capability {name:?}: pull, resolve and push are known"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_stay_in_the_order_in_which_they_are_written() {
        let text = "ca = [\"a.pem\", \"/b.pem\"]\n\
            [host.\"https://z.example\"]\nskip_verify = true\n\
            [host.\"https://a.example\"]\noverride_path = true\nca = \"c.pem\"\n\
            [host.\"https://m.example\"]\ncapabilities = [\"pull\"]\n";
        let settings = Settings::parse(text).expect("settings");
        let names: Vec<&str> = settings.hosts.iter().map(|(it, _)| it.as_str()).collect();
        let wanted = [
            "https://z.example",
            "https://a.example",
            "https://m.example",
        ];
        assert_eq!(names, wanted);
        let folder = Path::new("/certs");
        let authorities = |host: &Host| -> Vec<String> {
            let paths = host.trust(folder).authorities;
            paths.iter().map(|it| it.display().to_string()).collect()
        };
        assert_eq!(authorities(&settings.own), ["/certs/a.pem", "/b.pem"]);
        let [(_, z), (_, a), (_, m)] = settings.hosts.as_slice() else {
            panic!("three");
        };
        assert!(z.trust(folder).is_blind && z.capabilities() == Capabilities::ALL);
        assert!(a.override_path && !a.trust(folder).is_blind);
        assert_eq!(authorities(a), ["/certs/c.pem"]);
        assert!(m.capabilities().pull && !m.capabilities().resolve && !m.capabilities().push);
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        let cases = [
            ("[host.\"https://a\".header]\nx = [\"y\"]", "`header`"),
            ("[host.\"https://a\"]\nclient = \"c.pem\"", "`client`"),
            ("client = [[\"c.pem\", \"k.pem\"]]", "`client`"),
            ("capabilities = [\"pul\"]", "unknown capability"),
            ("[host", ""),
            ("capabilities = 1", ""),
            ("host.\"https://a\" = 1", "expected a table"),
            ("ca = 1", "expected a path or a list of paths"),
        ];
        for (text, wanted) in cases {
            let error = Settings::parse(text).expect_err(text);
            assert!(error.contains(wanted), "{text}: {error}");
        }
        assert!(Settings::parse("").is_ok());
    }

    #[test]
    fn keys_that_nobody_knows_are_told() {
        let text = "server = \"https://r\"\ncapabilites = [\"pull\"]\ndial_timeout = \"1s\"\n\
            [host.\"https://a\"]\nca = \"c.pem\"\nskip_verfy = true\n";
        let settings = Settings::parse(text).expect("settings");
        let wanted = [
            "`capabilites` of \"https://r\"",
            "`skip_verfy` of \"https://a\"",
        ];
        assert_eq!(settings.unknown, wanted);
    }
}
