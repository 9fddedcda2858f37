//! Docker's `config.json`, which a Secret of the type kubernetes.io/dockerconfigjson holds too.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::matching::{matches, stripped};
use super::{Auth, CredentialsError, program};
use crate::limits;

/// A configuration's credentials.
#[derive(Clone, Default, Deserialize)]
pub struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
    /// Whether it may name programs: a Secret may not.
    #[serde(skip)]
    runs_helpers: bool,
}

#[derive(Clone, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity: String,
    #[serde(default, rename = "registrytoken")]
    token: String,
}

// === impl DockerConfig ===

impl DockerConfig {
    /// Reads the content of a Secret; `source` names it in errors. Helper programs in it are not
    /// run: whoever writes Secrets does not choose this machine's programs.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(bytes: &[u8], source: &str) -> Result<Self, CredentialsError> {
        let malformed = |why: String| CredentialsError::Malformed {
            source_name: source.to_owned(),
            why,
        };
        if bytes.len() as u64 > limits::CREDENTIALS {
            return Err(malformed(format!(
                "larger than {} bytes",
                limits::CREDENTIALS
            )));
        }
        // The parser's words may quote what it found: only the place is told.
        let config: Self = serde_json::from_slice(bytes).map_err(|error| {
            malformed(format!("line {}, column {}", error.line(), error.column()))
        })?;
        let mut entries = config.auths.iter();
        match entries.find(|(_, entry)| !entry.auth.is_empty() && entry.auth().is_none()) {
            Some((server, _)) => Err(malformed(format!(
                "the `auth` of {server:?} is not base64 of NAME:PASSWORD"
            ))),
            None => Ok(config),
        }
    }

    /// The same of the older type kubernetes.io/dockercfg: the entries alone.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse_legacy(bytes: &[u8], source: &str) -> Result<Self, CredentialsError> {
        let mut text = b"{\"auths\":".to_vec();
        text.extend_from_slice(bytes);
        text.push(b'}');
        Self::parse(&text, source)
    }

    /// Reads a file; nothing where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Option<Self>, CredentialsError> {
        let name = path.display().to_string();
        let read = |error: std::io::Error| CredentialsError::Read {
            path: path.display().to_string(),
            why: error.to_string(),
        };
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(read)?,
        };
        let mut bytes = Vec::new();
        file.take(limits::CREDENTIALS + 1)
            .read_to_end(&mut bytes)
            .map_err(read)?;
        let mut config = Self::parse(&bytes, &name)?;
        config.runs_helpers = true;
        Ok(Some(config))
    }

    /// What it has for an image, each with the entry that it is from.
    pub(super) async fn matching(
        &self,
        name: &str,
    ) -> Result<Vec<(String, Auth)>, CredentialsError> {
        let mut found = Vec::new();
        if self.runs_helpers {
            for (server, program) in self.helpers.iter().filter(|(it, _)| matches(it, name)) {
                let auth = program::ask(program, server).await?;
                found.extend(auth.map(|auth| (server.clone(), auth)));
            }
        }
        let entries = self
            .auths
            .iter()
            .filter(|(server, _)| matches(server, name));
        for (server, entry) in entries {
            match entry.auth() {
                Some(auth) => found.push((stripped(server).to_owned(), auth)),
                // Docker leaves an empty entry where the store has the secret.
                None if self.runs_helpers && !self.store.is_empty() => {
                    let auth = program::ask(&self.store, server).await?;
                    found.extend(auth.map(|auth| (stripped(server).to_owned(), auth)));
                }
                None => {}
            }
        }
        if found.is_empty() && self.runs_helpers && !self.store.is_empty() {
            let registry = name.split('/').next().unwrap_or(name);
            let server = match registry {
                crate::reference::DOCKER => "https://index.docker.io/v1/",
                other => other,
            };
            let auth = program::ask(&self.store, server).await?;
            found.extend(auth.map(|auth| (registry.to_owned(), auth)));
        }
        Ok(found)
    }
}

impl std::fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The servers, never their secrets.
        f.debug_list().entries(self.auths.keys()).finish()
    }
}

// === impl Entry ===

impl Entry {
    fn auth(&self) -> Option<Auth> {
        if !self.token.is_empty() {
            return Some(Auth::Token(self.token.clone()));
        }
        if !self.identity.is_empty() {
            return Some(Auth::Identity(self.identity.clone()));
        }
        let decode = || {
            let text = self.auth.trim();
            STANDARD
                .decode(text)
                .or_else(|_| STANDARD_NO_PAD.decode(text))
        };
        if !self.auth.is_empty()
            && let Ok(text) = decode().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            && let Some((name, password)) = text.split_once(':')
        {
            return Some(Auth::Password {
                name: name.to_owned(),
                // Docker pads with zeros.
                password: password.trim_matches('\0').to_owned(),
            });
        }
        (!self.username.is_empty()).then(|| Auth::Password {
            name: self.username.clone(),
            password: self.password.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_in_each_of_their_forms() {
        let password = |name: &str, password: &str| {
            Some(Auth::Password {
                name: name.to_owned(),
                password: password.to_owned(),
            })
        };
        let cases = [
            (r#"{"auth": "YTpi"}"#, password("a", "b")),
            (r#"{"auth": "YTpiAAA="}"#, password("a", "b")),
            (r#"{"auth": "bm90aGluZw=="}"#, None),
            (r#"{"auth": "%"}"#, None),
            (
                r#"{"username": "a", "password": "b", "email": "x"}"#,
                password("a", "b"),
            ),
            (
                r#"{"registrytoken": "t"}"#,
                Some(Auth::Token("t".to_owned())),
            ),
            (
                r#"{"auth": "YTpi", "identitytoken": "t"}"#,
                Some(Auth::Identity("t".to_owned())),
            ),
            ("{}", None),
        ];
        for (text, wanted) in cases {
            let entry: Entry = serde_json::from_str(text).expect("JSON");
            assert_eq!(entry.auth(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_told_without_its_secrets() {
        let error = DockerConfig::parse(b"{\"auths\": {\"r\": \"secret\"}}", "the Secret a/b");
        let error = error.expect_err("no entry").to_string();
        assert!(
            error.contains("the Secret a/b") && !error.contains("secret\""),
            "{error}"
        );
        for auth in ["%", "bm90aGluZw=="] {
            let text = format!("{{\"auths\": {{\"r.example\": {{\"auth\": \"{auth}\"}}}}}}");
            let error = DockerConfig::parse(text.as_bytes(), "x").expect_err(auth);
            let error = error.to_string();
            let tells = error.contains("the `auth` of \"r.example\"");
            assert!(tells && !error.contains(auth), "{error}");
        }
        let legacy = DockerConfig::parse_legacy(b"{\"r\": {\"auth\": \"YTpi\"}}", "x");
        assert_eq!(legacy.expect("entries").auths.len(), 1);
    }
}
