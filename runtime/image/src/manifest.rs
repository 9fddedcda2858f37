//! Manifests, indexes and configurations: JSON from outside, held against limits.
//!
//! OCI's and Docker's forms have the same fields and differ in their media types. Fields that we do
//! not know are left alone: a blob is kept byte for byte, these types are only what we read in it.

mod config;
pub mod media;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use config::{Config, Execution, RootFs};

use crate::digest::{Algorithm, Digest, Hasher};
use crate::limits;

/// A blob that another one names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// What it must hash to.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// What it runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What it is made for, where it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What an image runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Platform {
    /// As Go names it, `wasm` for us.
    #[serde(default)]
    pub architecture: String,
    /// As Go names it, `wasip1`, `wasip2` or `wasi` for us.
    #[serde(default)]
    pub os: String,
    /// For example `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// An image: a configuration and layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2.
    pub schema_version: u32,
    /// OCI's or Docker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What it is, where the configuration does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// Notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Several images, one for each platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2.
    pub schema_version: u32,
    /// OCI's or Docker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The images.
    pub manifests: Vec<Descriptor>,
    /// Notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a reference leads to.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, and a manifest is the common case"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

/// A document that is none, or none that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Larger than any.
    #[error("the {what} is larger than {limit} bytes")]
    TooLarge {
        /// Manifest or configuration.
        what: &'static str,
        /// What it may have.
        limit: u64,
    },
    /// It does not parse.
    #[error("the {what} is not what it says: {why}")]
    Malformed {
        /// Manifest, index or configuration.
        what: &'static str,
        /// What the parser said.
        why: String,
    },
    /// A version that went out of use in 2017.
    #[error("it is a manifest of schema 1, which has no digests to check: push the image again")]
    Schema1,
    /// More of something than we take.
    #[error("it has {count} {what}, at most {limit} are taken")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: u64,
        /// How many there may be.
        limit: u64,
    },
}

/// What is looked at before it is known which of the two a document is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
}

// === impl Descriptor ===

impl Descriptor {
    /// Of some bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        Self::new(media_type, hasher.finish(), bytes.len() as u64)
    }

    /// Of a blob.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The file name that its maker gave it.
    pub fn title(&self) -> Option<&str> {
        self.annotations.get(media::TITLE).map(String::as_str)
    }
}

// === impl Platform ===

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

// === impl Document ===

impl Document {
    /// Reads a manifest or an index. Which of the two it is, its fields decide; a media type in it
    /// that says otherwise is refused, because others would read it the other way.
    ///
    /// # Errors
    /// [`ManifestError`]: what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() as u64 > limits::MANIFEST {
            return Err(ManifestError::TooLarge {
                what: "manifest",
                limit: limits::MANIFEST,
            });
        }
        let shape: Shape = read("manifest", bytes)?;
        if shape.schema_version == 1 {
            return Err(ManifestError::Schema1);
        }
        let says = shape.media_type.as_deref();
        match (shape.manifests.is_some(), shape.config.is_some()) {
            (true, false) if !says.is_some_and(media::is_manifest) => {
                let index: Index = read("index", bytes)?;
                let entries = index.manifests.len();
                check_count("manifests", entries, limits::INDEX_ENTRIES)?;
                Ok(Self::Index(index))
            }
            (false, true) if !says.is_some_and(media::is_index) => {
                let manifest: Manifest = read("manifest", bytes)?;
                manifest.check()?;
                Ok(Self::Manifest(manifest))
            }
            (true, true) => Err(malformed(
                "manifest",
                "it is a manifest and an index at once",
            )),
            (false, false) => Err(malformed("manifest", "it has neither config nor manifests")),
            _ => Err(malformed(
                "manifest",
                "its media type contradicts its fields",
            )),
        }
    }

    /// The blobs that it names.
    pub fn children(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, list) = match self {
            Self::Manifest(manifest) => (Some(&manifest.config), &manifest.layers),
            Self::Index(index) => (None, &index.manifests),
        };
        config.into_iter().chain(list)
    }
}

// === impl Manifest ===

impl Manifest {
    /// All blobs that it names, in bytes.
    pub fn size(&self) -> u64 {
        let layers = self.layers.iter().map(|layer| layer.size);
        layers.fold(self.config.size, u64::saturating_add)
    }

    fn check(&self) -> Result<(), ManifestError> {
        check_count("layers", self.layers.len(), limits::LAYERS)?;
        let too_many = |what, count, limit| Err(ManifestError::TooMany { what, count, limit });
        let largest = self.layers.iter().map(|layer| layer.size).max();
        if largest > Some(limits::BLOB) {
            let largest = largest.unwrap_or_default();
            return too_many("bytes in one layer", largest, limits::BLOB);
        }
        if self.size() > limits::IMAGE {
            return too_many("bytes in its layers", self.size(), limits::IMAGE);
        }
        if self.config.size > limits::CONFIG {
            return too_many("bytes of configuration", self.config.size, limits::CONFIG);
        }
        Ok(())
    }
}

fn check_count(what: &'static str, count: usize, limit: usize) -> Result<(), ManifestError> {
    if count > limit {
        let (count, limit) = (count as u64, limit as u64);
        return Err(ManifestError::TooMany { what, count, limit });
    }
    Ok(())
}

fn malformed(what: &'static str, why: &str) -> ManifestError {
    let why = why.to_owned();
    ManifestError::Malformed { what, why }
}

/// A JSON object of a type; its nesting is bounded by the parser.
fn read<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T, ManifestError> {
    // The library takes an array too, its items for the fields in their order.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(malformed(what, "expected a JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|error| malformed(what, &error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn descriptor(size: Value) -> Value {
        json!({"mediaType": "x/y", "digest": Digest::of(b"x").to_string(), "size": size})
    }

    fn parse(value: &Value) -> Result<Document, String> {
        Document::parse(value.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    fn manifest(layers: Vec<Value>) -> Value {
        json!({"schemaVersion": 2, "config": descriptor(json!(2)), "layers": layers})
    }

    #[test]
    fn its_fields_say_what_a_document_is() {
        let one = parse(&manifest(vec![descriptor(json!(1))])).expect("a manifest");
        assert_eq!(one.children().count(), 2);
        let index = json!({"schemaVersion": 2, "manifests": [descriptor(json!(1))]});
        assert!(matches!(parse(&index), Ok(Document::Index(_))));
        let mut both = manifest(vec![]);
        both["manifests"] = json!([]);
        let mut lying = manifest(vec![]);
        lying["mediaType"] = json!(media::OCI_INDEX);
        let cases = [
            (both, "at once"),
            (lying, "contradicts"),
            (json!({"schemaVersion": 2}), "neither"),
            (json!({"schemaVersion": 1, "fsLayers": []}), "schema 1"),
            (
                json!([]),
                "manifest is not what it says: expected a JSON object",
            ),
            (json!(null), "expected a JSON object"),
            (json!("text"), "expected a JSON object"),
            (json!([2, null, []]), "expected a JSON object"),
            (
                json!({"schemaVersion": 2, "config": 1, "layers": []}),
                "expected an object",
            ),
            (manifest(vec![descriptor(json!(-1))]), "not what it says"),
            (
                manifest(vec![descriptor(json!(u64::MAX))]),
                "bytes in one layer",
            ),
            (
                manifest(vec![descriptor(json!(limits::BLOB)); 3]),
                "bytes in its layers",
            ),
            (manifest(vec![descriptor(json!(1)); 600]), "600 layers"),
        ];
        for (value, wanted) in cases {
            let error = parse(&value).expect_err(wanted);
            assert!(error.contains(wanted), "{error}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Document::parse(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Document::parse(&bytes);
            let _ = Config::parse(&bytes);
        }

        /// A good document with one byte of it exchanged.
        #[test]
        fn no_change_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let text = manifest(vec![descriptor(json!(1)), descriptor(json!(5))]).to_string();
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(document) = Document::parse(&bytes) {
                prop_assert!(document.children().count() <= 3);
            }
        }
    }
}
