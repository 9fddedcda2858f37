//! Keys, and the digests by which entries are found and put in order.
//!
//! A key is any text. What becomes a file's name, or a place in an order, is its sha256: of one
//! length and without meaning, so that no key leads anywhere, and so that the entries of a bucket
//! have an order that stays while others come and go.

use std::cmp::Ordering;

use sha2::{Digest as _, Sha256};

use super::failure::Failure;
use super::limits;

/// A key that is not too long.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) digest: Digest,
}

/// The sha256 of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Digest([u8; 32]);

// === impl Key ===

impl Key {
    /// Takes a key. Errors: other, if it is too long.
    pub(super) fn new(text: String) -> Result<Self, Failure> {
        if text.len() > limits::KEY {
            return Err(Failure::Other(format!(
                "the key has {} bytes, and {} is the most: use its hash as the key",
                text.len(),
                limits::KEY
            )));
        }
        let digest = Digest::of(&text);
        Ok(Self { text, digest })
    }
}

// === impl Digest ===

impl Digest {
    pub(super) fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Its first bits: where it is in the order, as a cursor tells it.
    pub(super) fn prefix(&self) -> u64 {
        let (prefix, _) = self.0.split_first_chunk().unwrap_or((&[0; 8], &[]));
        u64::from_be_bytes(*prefix)
    }

    /// The least of this prefix.
    pub(super) fn least(prefix: u64) -> Self {
        let mut bytes = [0; 32];
        if let Some(first) = bytes.first_chunk_mut() {
            *first = prefix.to_be_bytes();
        }
        Self(bytes)
    }

    /// Another one of this prefix.
    #[cfg(test)]
    pub(super) fn twin(prefix: u64) -> Self {
        let mut twin = Self::least(prefix);
        twin.0[31] = 1;
        twin
    }

    /// How it stands to a cursor: greater, if the cursor has not come to it.
    pub(super) fn against(&self, cursor: u64) -> Ordering {
        self.prefix().cmp(&cursor)
    }

    /// In hex, the name of its file.
    pub(super) fn name(&self) -> String {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect()
    }

    /// Its first digit.
    pub(super) fn shard(&self) -> usize {
        self.0.first().map_or(0, |byte| usize::from(byte >> 4))
    }

    /// The digest that a file is called by.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if name.len() != 64 || !name.chars().all(is_hex) {
            return None;
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(name.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_say_nothing_but_the_digest() {
        for text in ["", "a", "../../etc/passwd", "nul\0", "/", "é"] {
            let digest = Key::new(text.to_owned()).expect("short").digest;
            let name = digest.name();
            assert!(name.len() == 64 && !name.contains(['/', '.', '\0']));
            assert_eq!(Digest::from_name(&name), Some(digest));
        }
        let name = Digest::of("a").name();
        for wrong in [&name[1..], &name.to_uppercase(), "lock", &"+1".repeat(32)] {
            assert_eq!(Digest::from_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn prefixes_are_in_the_order_of_digests() {
        let mut digests: Vec<Digest> = (0..100).map(|n| Digest::of(&n.to_string())).collect();
        digests.sort();
        assert!(digests.is_sorted_by_key(Digest::prefix));
        for digest in digests {
            assert!(Digest::least(digest.prefix()) <= digest);
            assert_eq!(digest.against(digest.prefix()), Ordering::Equal);
        }
    }

    #[test]
    fn a_long_key_is_refused_with_the_remedy() {
        assert!(Key::new("k".repeat(limits::KEY)).is_ok());
        for length in [limits::KEY + 1, 1 << 20] {
            let Err(Failure::Other(why)) = Key::new("k".repeat(length)) else {
                panic!("taken");
            };
            assert!(
                why.contains(&length.to_string()) && why.contains("hash"),
                "{why}"
            );
        }
    }
}
