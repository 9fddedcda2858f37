//! Credentials: what Docker and Kubernetes users already have.
//!
//! ```text
//! config.json: auths, credHelpers, credsStore ──┐
//! imagePullSecrets (kubernetes.io/dockerconfigjson) ──> Keyring ──> those that match an image
//! ```
//!
//! An entry belongs to a registry, a path of it, or hosts with globs, by kubelet's rules: most
//! specific first, and all that match are tried.

mod docker;
mod matching;
mod program;

use std::path::Path;

pub use docker::DockerConfig;

/// How somebody proves who they are.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// A name and a password.
    Password {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// A token that buys tokens (Docker's `identitytoken`).
    Identity(String),
    /// A token for the registry itself (Docker's `registrytoken`).
    Token(String),
}

/// Credentials of several sources. Empty for anonymous pulls.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    configs: Vec<DockerConfig>,
}

/// Why credentials cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A file that cannot be read.
    #[error("cannot read {path}: {why}")]
    Read {
        /// Which one.
        path: String,
        /// What the system said.
        why: String,
    },
    /// No credentials file.
    #[error("{source_name} is no Docker configuration: {why}")]
    Malformed {
        /// A path, or the name of a Secret.
        source_name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A helper that did not answer.
    #[error(
        "the credential helper {program} gave nothing for {server}: {why}; run `{program} get` yourself, or take it out of Docker's config.json"
    )]
    Helper {
        /// Its file name.
        program: String,
        /// What it was asked for.
        server: String,
        /// What went wrong.
        why: String,
    },
}

// === impl Keyring ===

impl Keyring {
    /// No credentials.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Adds a source; those added first are tried first where they are as specific.
    pub fn add(&mut self, config: DockerConfig) {
        self.configs.push(config);
    }

    /// Adds all of another's sources after these.
    pub fn extend(&mut self, other: &Self) {
        self.configs.extend(other.configs.iter().cloned());
    }

    /// Adds Docker's configuration file, if there is one.
    ///
    /// # Errors
    /// When it is there and cannot be read, or is none.
    pub fn add_file(&mut self, path: &Path) -> Result<(), CredentialsError> {
        if let Some(config) = DockerConfig::read(path)? {
            self.add(config);
        }
        Ok(())
    }

    /// What may be tried for `registry/repository`, in order. Helper programs are asked only here.
    ///
    /// # Errors
    /// When a helper does not answer.
    pub async fn find(&self, name: &str) -> Result<Vec<Auth>, CredentialsError> {
        let mut found: Vec<(String, Auth)> = Vec::new();
        for config in &self.configs {
            found.extend(config.matching(name).await?);
        }
        // The longest pattern is the most specific; sorting is stable.
        found.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.len()));
        let mut auths: Vec<Auth> = Vec::new();
        for (_, auth) in found {
            if !auths.contains(&auth) {
                auths.push(auth);
            }
        }
        Ok(auths)
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the secret.
        match self {
            Self::Password { name, .. } => f
                .debug_struct("Password")
                .field("name", name)
                .finish_non_exhaustive(),
            Self::Identity(_) => f.write_str("Identity"),
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_most_specific_come_first_and_each_once() {
        let config = |text: &str| DockerConfig::parse(text.as_bytes(), "test").expect("a config");
        let mut keyring = Keyring::anonymous();
        keyring.add(config(
            r#"{"auths": {
            "r.example": {"username": "host", "password": "1"},
            "https://r.example/v1/": {"username": "old", "password": "1"},
            "*.example": {"username": "glob", "password": "1"}
        }}"#,
        ));
        keyring.add(config(
            r#"{"auths": {
            "r.example/team": {"auth": "dGVhbToyOjM="},
            "s.example": {"identitytoken": "t"}
        }}"#,
        ));
        let names = |auths: Vec<Auth>| -> Vec<String> {
            let name = |auth: &Auth| match auth {
                Auth::Password { name, password } => format!("{name}:{password}"),
                other => format!("{other:?}"),
            };
            auths.iter().map(name).collect()
        };
        let found = keyring.find("r.example/team/app").await.expect("found");
        assert_eq!(names(found)[0], "team:2:3");
        let found = keyring.find("r.example/app").await.expect("found");
        assert!(
            names(found.clone())
                .iter()
                .all(|name| !name.starts_with("team"))
        );
        assert_eq!(found.len(), 3);
        let found = keyring.find("s.example/app").await.expect("found");
        assert!(names(found).contains(&"Identity".to_owned()));
        assert!(
            keyring
                .find("other.test/app")
                .await
                .expect("found")
                .is_empty()
        );
    }
}
