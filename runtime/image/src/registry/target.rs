//! Where a request goes: a scheme, a host, a port, and a path there.

use std::path::PathBuf;

use http::Uri;

use super::RegistryError;

/// A server.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Whether over TLS.
    pub(super) tls: bool,
    /// Name or address, without brackets.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
    /// Whose word for it is taken.
    pub(super) trust: Trust,
    /// Where that is said, or could be; nothing of a server that another one leads to.
    pub(super) place: Option<Place>,
}

/// What connections have to have in common: a server, and whose word for it is taken.
pub(super) type Key = (bool, String, u16, Trust);

/// Whose certificates a server may show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Trust {
    /// Files with authorities besides the system's.
    pub(super) authorities: Vec<PathBuf>,
    /// Anybody's: its owner says so.
    pub(super) is_blind: bool,
}

/// The place in the settings for what holds for one server and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The registry's own file. It may not be there yet, where `_default` says what holds.
    pub(super) file: PathBuf,
    /// The server that the table in it is for; nothing at its beginning.
    pub(super) table: Option<String>,
    /// Whether `server` in it may name the server otherwise.
    pub(super) is_server: bool,
}

/// A server, and what is asked for there.
#[derive(Debug, Clone)]
pub(super) struct Url {
    pub(super) target: Target,
    /// Path and query.
    pub(super) path: String,
}

// === impl Target ===

impl Target {
    /// What its connections are kept by.
    pub(super) fn key(&self) -> Key {
        let Self {
            tls,
            host,
            port,
            trust,
            ..
        } = self;
        (*tls, host.clone(), *port, trust.clone())
    }

    /// As it stands in a URL: without the port that is the scheme's own.
    pub(super) fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// The same with its port, whichever it is: nobody who leaves the port out means this one.
    pub(super) fn with_port(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Whether it is this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// Whether everybody on the way can read what is sent.
    pub(super) fn is_open(&self) -> bool {
        !self.tls && !self.is_loopback()
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Whether it is the same host and port, whichever way it is spoken to.
    pub(super) fn is_at_same_port(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }

    /// Whether credentials for one are the other's.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.tls, &self.host, self.port) == (other.tls, &other.host, other.port)
    }
}

// === impl Place ===

impl Place {
    /// What holds for the registry itself, or one server of its file.
    pub(super) fn new(file: PathBuf, table: Option<&str>) -> Self {
        Self {
            file,
            table: table.map(str::to_owned),
            is_server: table.is_none(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(server) = &self.table {
            write!(f, "the table [host.{server:?}] of ")?;
        }
        write!(f, "{}", self.file.display())
    }
}

// === impl Url ===

impl Url {
    /// Reads an absolute URL.
    pub(super) fn parse(text: &str) -> Result<Self, RegistryError> {
        let wrong = |why: &str| RegistryError::Protocol {
            url: text.chars().take(200).collect(),
            why: why.to_owned(),
        };
        let uri: Uri = text.parse().map_err(|_| wrong("it is no URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("it begins with neither https:// nor http://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it has a name or password in it"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_lowercase();
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            target: Target {
                tls,
                host,
                port,
                trust: Trust::default(),
                place: None,
            },
            path: path.to_owned(),
        })
    }

    /// Where an answer from here leads to: an absolute URL, or a path of this server. Never from
    /// https to where everybody on the way can read and change what is sent.
    pub(super) fn join(&self, location: &str) -> Result<Self, RegistryError> {
        if location.contains("://") {
            let mut url = Self::parse(location)?;
            if self.target.tls && !url.target.tls {
                return Err(RegistryError::Protocol {
                    url: self.to_string(),
                    why: format!("it leads from https to {url}, which has no TLS"),
                });
            }
            if url.target.is_same(&self.target) {
                url.target = self.target.clone();
            }
            return Ok(url);
        }
        let path = if location.starts_with('/') {
            location.to_owned()
        } else {
            let folder = self.path.split('?').next().unwrap_or_default();
            let folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{location}")
        };
        Ok(Self {
            target: self.target.clone(),
            path,
        })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Queries of storage servers carry signatures.
        let path = self.path.split('?').next().unwrap_or_default();
        write!(
            f,
            "{}://{}{path}",
            self.target.scheme(),
            self.target.authority()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_followed_from_where_they_were_said() {
        let here = Url::parse("http://r.example:5000/v2/a/blobs/x?y=1").expect("a URL");
        let cases = [
            ("https://s.example/b?sig=1", Some("https://s.example/b")),
            ("/b", Some("http://r.example:5000/b")),
            ("c/d", Some("http://r.example:5000/v2/a/blobs/c/d")),
            ("ftp://s.example/b", None),
            ("http://u:p@s.example/", None),
            ("http:///x", None),
        ];
        for (location, wanted) in cases {
            let url = here.join(location).ok().map(|url| url.to_string());
            assert_eq!(url.as_deref(), wanted, "{location}");
        }
        let secret = Url::parse("https://r.example/v2/a/blobs/uploads/").expect("a URL");
        let error = secret.join("http://s.example/up").expect_err("refused");
        assert!(error.to_string().contains("has no TLS"), "{error}");
        assert!(secret.join("https://s.example/up").is_ok());
        let six = Url::parse("https://[::1]/v2/").expect("a URL");
        assert_eq!(
            (six.target.host.as_str(), six.target.authority().as_str()),
            ("::1", "[::1]")
        );
    }
}
