//! An entry on a volume: one file, its name the digest of the key.
//!
//! ```text
//! "wasmpod1" | version: 8 bytes | length of the key: 4 | length of the value: 4 | key | value
//! ```
//!
//! Numbers begin with their lowest byte. The version is random and another one with each write: who
//! compares and swaps compares it.

use super::key::Key;
use super::limits;

/// What every such file begins with.
const MAGIC: [u8; 8] = *b"wasmpod1";

/// Bytes before the key.
const HEAD: usize = 24;

/// The most bytes that a file has up to the end of its key.
pub(super) const LARGEST_HEAD: usize = HEAD + limits::KEY;

/// The most bytes that a file has.
pub(super) const LARGEST: u64 = (LARGEST_HEAD + limits::VALUE) as u64;

/// What a file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) version: u64,
    pub(super) value: Vec<u8>,
}

/// The beginning of a file, taken apart.
struct Head<'a> {
    version: u64,
    key: &'a [u8],
    /// How long the value is.
    length: usize,
}

/// A file's bytes.
pub(super) fn encode(key: &Key, version: u64, value: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let key = key.text.as_bytes();
    [
        &MAGIC,
        &version.to_le_bytes()[..],
        &length(key),
        &length(value),
        key,
        value,
    ]
    .concat()
}

/// What the file of a key says; nothing if it was not written here, or not whole.
pub(super) fn decode(key: &Key, mut bytes: Vec<u8>) -> Option<Stored> {
    let head = head(&bytes)?;
    let (version, start) = (head.version, HEAD + head.key.len());
    let is_whole = bytes.len() == start + head.length;
    if !is_whole || head.key != key.text.as_bytes() {
        return None;
    }
    bytes.drain(..start);
    Some(Stored {
        version,
        value: bytes,
    })
}

/// The key of a file, from its first [`LARGEST_HEAD`] bytes.
pub(super) fn key_of(bytes: &[u8]) -> Option<String> {
    let key = head(bytes)?.key;
    String::from_utf8(key.to_vec()).ok()
}

fn head(bytes: &[u8]) -> Option<Head<'_>> {
    let (magic, rest) = bytes.split_first_chunk()?;
    let (version, rest) = rest.split_first_chunk()?;
    let (key_length, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let number = |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).ok();
    if *magic != MAGIC {
        return None;
    }
    Some(Head {
        version: u64::from_le_bytes(*version),
        key: rest.get(..number(key_length)?)?,
        length: number(length)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text.to_owned()).expect("a key")
    }

    #[test]
    fn what_was_not_written_whole_is_nothing() {
        let k = key("k\0/é");
        let bytes = encode(&k, 7, b"value");
        assert_eq!(key_of(&bytes), Some("k\0/é".to_owned()));
        let stored = Stored {
            version: 7,
            value: b"value".to_vec(),
        };
        assert_eq!(decode(&k, bytes.clone()), Some(stored));
        assert_eq!(decode(&key("other"), bytes.clone()), None);
        for length in 0..bytes.len() {
            assert_eq!(decode(&k, bytes[..length].to_vec()), None, "{length}");
        }
        assert_eq!(decode(&k, [&bytes[..], b"x"].concat()), None);
        assert_eq!(decode(&k, vec![0; bytes.len()]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), mine: bool) {
            let bytes = if mine { [&MAGIC[..], &bytes].concat() } else { bytes };
            let _ = key_of(&bytes);
            let _ = decode(&key("k"), bytes);
        }
    }
}
