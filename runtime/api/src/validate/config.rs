//! Validation of ConfigMaps and Secrets.

use super::names;
use crate::cursor::At;
use crate::findings::Findings;

/// The most bytes of keys and values together: what etcd and an API server take.
const SIZE_LIMIT: usize = 1 << 20;

/// Checks a ConfigMap: keys that can be files' names, none twice, not too large.
pub(crate) fn config_map(top: &At<'_, '_>, found: &mut Findings) {
    let (data, binary) = (top.field("data"), top.field("binaryData"));
    let mut size = 0;
    for (key, value) in data.entries() {
        found.complain_about(&value, key, names::config_key(key));
        if binary.key(key).is_set() {
            let detail = format!("duplicate of key present in binaryData: {key}");
            found.invalid_part(&value, key, &detail);
        }
        size += value.text().len();
    }
    for (key, value) in binary.entries() {
        found.complain_about(&value, key, names::config_key(key));
        size += decoded(value.text());
    }
    if size > SIZE_LIMIT {
        found.too_long(top, SIZE_LIMIT);
    }
}

/// Checks a Secret: keys as in a ConfigMap, size, and the keys that its type asks for.
pub(crate) fn secret(top: &At<'_, '_>, found: &mut Findings) {
    let (data, plain) = (top.field("data"), top.field("stringData"));
    let mut size = 0;
    for (key, value) in data.entries() {
        found.complain_about(&value, key, names::config_key(key));
        size += if plain.key(key).is_set() {
            0
        } else {
            decoded(value.text())
        };
    }
    for (key, value) in plain.entries() {
        found.complain_about(&value, key, names::config_key(key));
        size += value.text().len();
    }
    if size > SIZE_LIMIT {
        found.too_long(&data, SIZE_LIMIT);
    }
    for key in required_keys(top.field("type").text()) {
        if !data.key(key).is_set() && !plain.key(key).is_set() {
            found.required(&data.key(key), "");
        }
    }
}

/// The keys that a Secret of a type must have.
fn required_keys(kind: &str) -> &'static [&'static str] {
    match kind {
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    }
}

/// How many bytes a base64 text stands for.
fn decoded(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}
