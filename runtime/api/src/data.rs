//! The contents of ConfigMaps and Secrets as bytes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::object::Object;

/// Keys and their contents.
pub type Contents = BTreeMap<String, Bytes>;

/// The contents of a ConfigMap: `data` as it is, `binaryData` decoded.
pub fn config_map(object: &Object) -> Contents {
    let top = object.top();
    let binary = top.field("binaryData");
    let decoded = binary
        .entries()
        .map(|(key, value)| (key.to_owned(), decoded(value.text())));
    config_map_texts(object)
        .into_iter()
        .chain(decoded)
        .collect()
}

/// The `data` of a ConfigMap alone.
pub fn config_map_texts(object: &Object) -> Contents {
    let top = object.top();
    let data = top.field("data");
    let plain = data
        .entries()
        .map(|(key, value)| (key.to_owned(), text(value.text())));
    plain.collect()
}

/// The contents of a Secret: `data` decoded, `stringData` over it.
pub fn secret(object: &Object) -> Contents {
    let top = object.top();
    let (data, plain) = (top.field("data"), top.field("stringData"));
    let encoded = data
        .entries()
        .map(|(key, value)| (key.to_owned(), decoded(value.text())));
    let plain = plain
        .entries()
        .map(|(key, value)| (key.to_owned(), text(value.text())));
    encoded.chain(plain).collect()
}

/// The `type` of a Secret; `Opaque` where it says none, as an API server fills it in.
pub fn secret_type(object: &Object) -> &str {
    match object.top().field("type").text() {
        "" => "Opaque",
        kind => kind,
    }
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// What base64 stands for; reading the manifest has made sure that it is base64.
fn decoded(text: &str) -> Bytes {
    STANDARD.decode(text).map(Bytes::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn contents_come_decoded_and_merged() {
        let map = Object::new(json!({
            "data": {"a": "x"}, "binaryData": {"b": "AAE="}
        }));
        let map = config_map(&map.unwrap());
        assert_eq!(map.get("a").map(|bytes| &bytes[..]), Some(&b"x"[..]));
        assert_eq!(map.get("b").map(|bytes| &bytes[..]), Some(&[0, 1][..]));
        let object = Object::new(json!({
            "data": {"a": "eA==", "b": "eQ=="}, "stringData": {"b": "plain"}
        }));
        let secret = secret(&object.unwrap());
        assert_eq!(secret.get("a").map(|bytes| &bytes[..]), Some(&b"x"[..]));
        assert_eq!(secret.get("b").map(|bytes| &bytes[..]), Some(&b"plain"[..]));
        for (object, wanted) in [
            (json!({}), "Opaque"),
            (json!({"type": "kubernetes.io/tls"}), "kubernetes.io/tls"),
        ] {
            assert_eq!(secret_type(&Object::new(object).unwrap()), wanted);
        }
    }
}
