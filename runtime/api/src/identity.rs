//! What an object is given when it comes into being: a name, a namespace, a uid, a time.
//!
//! An API server does this on create; `wasmpod run` has none, so it is done here for both.

use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::object::Object;
use crate::status::rfc3339;

/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The characters of a generated suffix: no vowels, so no words, and none that look alike.
const SUFFIX_CHARACTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The length of a generated suffix.
const SUFFIX_LENGTH: usize = 5;

/// The longest `generateName` that is used whole: together with its suffix a label's 63 bytes.
const LONGEST_PREFIX: usize = 63 - SUFFIX_LENGTH;

/// Fills in namespace, name (from `generateName`), uid and creationTimestamp where absent.
///
/// A name generated here is random, so it is new with all likelihood; whoever stores objects has
/// to ask for another if it is not.
pub fn assign(object: &mut Object, now: SystemTime) {
    let Some(metadata) = object.metadata_mut() else {
        return;
    };
    fill(metadata, "namespace", || DEFAULT_NAMESPACE.to_owned());
    let prefix = metadata
        .get("generateName")
        .and_then(Value::as_str)
        .map(str::to_owned);
    if let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) {
        fill(metadata, "name", || generated(&prefix));
    }
    // Whatever the manifest says, as an API server does: what names a pod's files is not its
    // author's to choose, and no two pods share it.
    metadata.insert("uid".to_owned(), Value::String(uid()));
    fill(metadata, "creationTimestamp", || rfc3339(now));
}

/// A name that begins with `prefix` and ends with five random characters.
pub fn generated(prefix: &str) -> String {
    let end = prefix.floor_char_boundary(LONGEST_PREFIX);
    let mut name = prefix.get(..end).unwrap_or_default().to_owned();
    for byte in random::<SUFFIX_LENGTH>() {
        let index = usize::from(byte) % SUFFIX_CHARACTERS.len();
        name.extend(SUFFIX_CHARACTERS.get(index).copied().map(char::from));
    }
    name
}

/// A random UUID (version 4).
pub fn uid() -> String {
    let mut bytes = random::<16>();
    // The version and the variant, RFC 9562.
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = (*version & 0x0f) | 0x40;
    *variant = (*variant & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Random bytes from the kernel. For so few it neither blocks nor fails once the system is up.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes
}

fn fill(metadata: &mut Map<String, Value>, key: &str, value: impl FnOnce() -> String) {
    let given = metadata
        .get(key)
        .and_then(Value::as_str)
        .is_some_and(|text| !text.is_empty());
    if !given {
        metadata.insert(key.to_owned(), Value::String(value()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fills_in_what_is_absent_and_chooses_the_uid() {
        let mut object =
            Object::new(json!({"metadata": {"name": "web", "uid": "../../1"}})).unwrap();
        assign(&mut object, SystemTime::UNIX_EPOCH);
        assert_eq!((object.name(), object.namespace()), ("web", "default"));
        // The uid names files: it is never the manifest's.
        assert!(
            object
                .uid()
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || b == b'-')
        );
        let created = object.value().pointer("/metadata/creationTimestamp");
        assert_eq!(created, Some(&json!("1970-01-01T00:00:00Z")));
    }

    #[test]
    fn a_generated_name_is_a_prefix_and_five_characters() {
        let mut object = Object::new(json!({"metadata": {"generateName": "job-"}})).unwrap();
        assign(&mut object, SystemTime::UNIX_EPOCH);
        let suffix = object.name().strip_prefix("job-").unwrap();
        assert_eq!(suffix.len(), 5);
        assert!(
            suffix.bytes().all(|b| SUFFIX_CHARACTERS.contains(&b)),
            "{suffix}"
        );
        assert_eq!(generated(&"x".repeat(80)).len(), 63);
        assert_ne!(generated("a"), generated("a"));
    }

    #[test]
    fn a_uid_is_a_random_uuid() {
        let uid = uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(uid.get(14..15), Some("4"));
        assert!(
            matches!(uid.get(19..20), Some("8" | "9" | "a" | "b")),
            "{uid}"
        );
    }
}
