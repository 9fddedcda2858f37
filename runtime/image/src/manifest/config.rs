//! The configuration of an image: how its program is run, and what its layers hash to.

use serde::{Deserialize, Deserializer, Serialize};

use super::ManifestError;
use crate::digest::Digest;
use crate::limits;

/// A configuration, as far as it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// As Go names it.
    #[serde(default)]
    pub architecture: String,
    /// As Go names it.
    #[serde(default)]
    pub os: String,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// How its program is run.
    #[serde(default, deserialize_with = "or_default")]
    pub config: Execution,
    /// Its layers.
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: RootFs,
}

/// How an image's program is run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", expecting = "an object")]
pub struct Execution {
    /// `Entrypoint`.
    #[serde(default, deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    #[serde(default, deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// `Env`, each `NAME=value`.
    #[serde(default, deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// `WorkingDir`.
    #[serde(default, deserialize_with = "or_default")]
    pub working_dir: String,
    /// `User`.
    #[serde(default, deserialize_with = "or_default")]
    pub user: String,
}

/// What a configuration says of layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct RootFs {
    /// The digests of the layers' tars, not compressed.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<Digest>,
}

// === impl Config ===

impl Config {
    /// Reads one.
    ///
    /// # Errors
    /// When it is too large, or not what it says.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() as u64 > limits::CONFIG {
            return Err(ManifestError::TooLarge {
                what: "configuration",
                limit: limits::CONFIG,
            });
        }
        super::read("configuration", bytes)
    }
}

// === impl Execution ===

impl Execution {
    /// `Env` as names and values; what has no `=` is no variable.
    pub fn variables(&self) -> Vec<(String, String)> {
        let pair = |text: &String| {
            let (name, value) = text.split_once('=')?;
            (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
        };
        self.env.iter().filter_map(pair).collect()
    }

    /// A variable's value, the last one's.
    pub fn variable(&self, name: &str) -> Option<String> {
        let mut found = self.variables().into_iter().rev();
        found.find(|(of, _)| of == name).map(|(_, value)| value)
    }
}

/// Go writes `null` for what is empty.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_nulls_and_unknown_fields_are_taken() {
        let text = br#"{"architecture":"wasm","os":"wasi","history":[{"x":1}],"config":{
            "Env":["PATH=/bin","A=b=c","=x","bad"],"Entrypoint":["/app.wasm"],"Cmd":null,
            "WorkingDir":"","Labels":null,"OnBuild":[]},"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config = Config::parse(text).expect("a configuration");
        assert_eq!(config.config.entrypoint, ["/app.wasm"]);
        assert!(config.config.cmd.is_empty() && config.rootfs.diff_ids.is_empty());
        assert_eq!(config.config.variables().len(), 2);
        assert_eq!(config.config.variable("A").as_deref(), Some("b=c"));
        assert_eq!(
            Config::parse(b"{}").expect("all is optional"),
            Config::default()
        );
        for text in ["[1]", "[]", "null", r#"{"config": 1}"#, r#"{"rootfs": 1}"#] {
            let error = Config::parse(text.as_bytes()).expect_err(text).to_string();
            let is_told =
                error.contains("expected a JSON object") || error.contains("expected an object");
            assert!(is_told, "{text}: {error}");
        }
    }
}
