//! What people call an image that is here: a reference, a digest, or the beginning of one.

use std::str::FromStr;

use crate::digest::Digest;
use crate::pull;
use crate::reference::{Reference, ReferenceError};
use crate::store::{Record, Store, StoreError};

/// How many hexadecimal digits tell an image: as many as tables show.
pub(crate) const LEAST: usize = 12;

/// The most that a digest has.
const MOST: usize = 128;

/// See the module. What could be either is a name first, as for Docker; a whole digest is no name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    text: String,
    reference: Option<Reference>,
    /// Whether digests may begin so.
    is_digest: bool,
}

/// Why a handle leads to no image.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The names cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Several digests begin so.
    #[error(
        "{0} is the beginning of several digests here: write more of it; see `wasmpod image ls --quiet`"
    )]
    Ambiguous(String),
}

// === impl Handle ===

impl Handle {
    /// The names of the one image that it leads to, in their order: one for a reference, all of its
    /// names for a digest, none where it leads to nothing here. A digest is that of what names lead
    /// to, which may be an index; else that of the manifest which is used of it here. Reads documents:
    /// not to be called where tasks run.
    ///
    /// # Errors
    /// When several images have digests that begin so, or the names cannot be read.
    pub fn find(&self, store: &Store) -> Result<Vec<Record>, HandleError> {
        if let Some(record) = self.reference.as_ref().and_then(|it| store.find(it)) {
            return Ok(vec![record]);
        }
        if !self.is_digest {
            return Ok(Vec::new());
        }
        let mut records = store.records()?;
        let is_target = |record: &Record| self.begins(&record.target.digest);
        if records.iter().any(is_target) {
            records.retain(is_target);
        } else {
            records.retain(|record| {
                let image = pull::of_target(store, record.target.clone());
                image.is_ok_and(|image| self.begins(&image.digest))
            });
        }
        let mut digests = records.iter().map(|record| &record.target.digest);
        let first = digests.next();
        match digests.all(|digest| Some(digest) == first) {
            true => Ok(records),
            false => Err(HandleError::Ambiguous(self.text.clone())),
        }
    }

    fn begins(&self, digest: &Digest) -> bool {
        digest.hex().starts_with(&self.text) || digest.to_string().starts_with(&self.text)
    }

    /// The name that it is, whether or not it leads anywhere here; nothing where it is a digest, or the
    /// beginning of one that is no name here. Reads a file: not to be called where tasks run.
    pub fn name(&self, store: &Store) -> Option<&Reference> {
        let reference = self.reference.as_ref()?;
        let is_name = !self.is_digest || store.find(reference).is_some();
        is_name.then_some(reference)
    }

    /// Whether digests may begin so.
    pub fn may_be_digest(&self) -> bool {
        self.is_digest
    }

    /// Whether it may be a name.
    pub fn may_be_name(&self) -> bool {
        self.reference.is_some()
    }
}

impl FromStr for Handle {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let hex = ["sha256:", "sha512:"]
            .iter()
            .find_map(|algorithm| text.strip_prefix(algorithm));
        let hex = hex.unwrap_or(text);
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_digest = (LEAST..=MOST).contains(&hex.len()) && hex.bytes().all(is_hex);
        let reference = match text.parse() {
            Ok(reference) => Some(reference),
            Err(_) if is_digest => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            text: text.to_owned(),
            reference,
            is_digest,
        })
    }
}

impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.reference {
            Some(reference) if !self.is_digest => f.write_str(&reference.familiar()),
            _ => f.write_str(&self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest::media;
    use crate::testing;

    #[test]
    fn an_image_is_found_by_name_digest_or_the_beginning_of_one() {
        let (_folder, store) = testing::store();
        let lease = store.lease().expect("a lease");
        let one = testing::image(&store, &lease, b"one");
        let other = testing::image(&store, &lease, b"other");
        let named = [
            ("r.example/a:1", &one),
            ("r.example/b:1", &one),
            ("r.example/c:1", &other),
        ];
        for (name, target) in named {
            let name: Reference = name.parse().expect("a reference");
            store.name(&name, target).expect("named");
        }
        let found = |text: &str| -> Vec<String> {
            let handle: Handle = text.parse().expect(text);
            let records = handle.find(&store).expect(text);
            records.into_iter().map(|it| it.reference).collect()
        };
        let hex = one.digest.hex();
        let both = ["r.example/a:1", "r.example/b:1"];
        assert_eq!(found("r.example/b:1"), ["r.example/b:1"]);
        assert_eq!(found(&one.digest.to_string()), both);
        assert_eq!(found(hex), both);
        assert_eq!(found(&hex[..12]), both);
        assert_eq!(found(&format!("sha256:{}", &hex[..12])), both);
        assert_eq!(found(other.digest.hex()), ["r.example/c:1"]);
        // Too short, it is a name.
        assert!(found(&hex[..11]).is_empty());
        assert!(found(&"0".repeat(64)).is_empty());
        // A name that looks like the beginning of a digest is a name, one that looks like all of it
        // is none.
        for digits in [&hex[..12], hex] {
            let name: Reference = format!("{digits}:latest").parse().expect("a reference");
            store.name(&name, &other).expect("named");
        }
        assert_eq!(
            found(&hex[..12]),
            [format!("docker.io/library/{}:latest", &hex[..12])]
        );
        assert_eq!(found(hex), both);
        assert!("A:1".parse::<Handle>().is_err());
    }

    #[test]
    fn a_handle_is_told_from_a_name() {
        let (_folder, store) = testing::store();
        let lease = store.lease().expect("a lease");
        let target = testing::image(&store, &lease, b"one");
        let (hex, there) = (target.digest.hex(), "0123456789ab");
        let name: Reference = there.parse().expect("a reference");
        store.name(&name, &target).expect("named");
        let (whole, begun) = (target.digest.to_string(), format!("sha256:{}", &hex[..12]));
        let cases = [
            ("r.example/absent:1", true, false, true),
            (there, true, true, true),
            (&hex[..12], false, true, true),
            (hex, false, true, false),
            (whole.as_str(), false, true, false),
            (begun.as_str(), false, true, false),
        ];
        for (text, is_name, may_be_digest, may_be_name) in cases {
            let handle: Handle = text.parse().expect(text);
            let found = (
                handle.name(&store).is_some(),
                handle.may_be_digest(),
                handle.may_be_name(),
            );
            assert_eq!(found, (is_name, may_be_digest, may_be_name), "{text}");
        }
        let short = format!("sha256:{}", &hex[..11]);
        assert!(short.parse::<Handle>().is_err());
    }

    #[test]
    fn an_index_is_found_by_its_manifest_too() {
        let (_folder, store) = testing::store();
        let lease = store.lease().expect("a lease");
        let manifest = testing::image(&store, &lease, b"one");
        let other = testing::image(&store, &lease, b"other");
        let mut entry = serde_json::to_value(&manifest).expect("JSON");
        entry["platform"] = json!({"os": "wasi", "architecture": "wasm"});
        let index = json!({
            "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [entry],
        });
        let index = store.put(&lease, media::OCI_INDEX, index.to_string().as_bytes());
        let index = index.expect("put");
        let cases = [
            (&index.digest, vec!["r.example/index:1"]),
            (&manifest.digest, vec!["r.example/index:1"]),
            (&other.digest, vec!["r.example/other:1"]),
        ];
        let name = |text: &str, target| {
            let name: Reference = text.parse().expect("a reference");
            store.name(&name, target).expect("named");
        };
        name("r.example/index:1", &index);
        name("r.example/other:1", &other);
        let found = |digest: &Digest| -> Vec<String> {
            let handle: Handle = digest.hex()[..12].parse().expect("a handle");
            let records = handle.find(&store).expect("one");
            records.into_iter().map(|it| it.reference).collect()
        };
        for (digest, wanted) in cases {
            assert_eq!(found(digest), wanted, "{digest}");
        }
        // A name of the manifest itself is meant before.
        name("r.example/manifest:1", &manifest);
        assert_eq!(found(&manifest.digest), ["r.example/manifest:1"]);
    }

    #[test]
    fn what_begins_several_digests_names_none() {
        let (_folder, store) = testing::store();
        let digits = "0123456789ab";
        for (name, rest) in [("a", "c"), ("b", "d")] {
            let digest = format!("sha256:{digits}{}", rest.repeat(64 - LEAST));
            let digest = digest.parse().expect("a digest");
            let target = crate::manifest::Descriptor::new("", digest, 1);
            let name: Reference = name.parse().expect("a reference");
            store.name(&name, &target).expect("named");
        }
        let handle: Handle = digits.parse().expect("a handle");
        let error = handle.find(&store).expect_err("two").to_string();
        assert!(error.contains("several digests"), "{error}");
        let more: Handle = format!("{digits}c").parse().expect("a handle");
        assert_eq!(more.find(&store).expect("one").len(), 1);
    }
}
