//! Short texts: references of images, digests, and the credentials of a Secret.

use image::credentials::DockerConfig;
use image::{Digest, Reference};

pub(crate) fn run(bytes: &[u8]) {
    let _ = DockerConfig::parse(bytes, "fuzz");
    let _ = DockerConfig::parse_legacy(bytes, "fuzz");
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(reference) = text.parse::<Reference>() {
        let whole = reference.to_string();
        assert_eq!(whole.parse().as_ref(), Ok(&reference), "{whole}");
        let familiar = reference.familiar();
        assert_eq!(familiar.parse().as_ref(), Ok(&reference), "{familiar}");
        assert!(!reference.short_name().is_empty() && !reference.version().is_empty());
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let digest = Digest::of(b"");
    let texts = [
        "app".to_owned(),
        "localhost:5000/acme/app_b-c.d:1.0_x".to_owned(),
        format!("[::1]:5000/a@{digest}"),
        format!("docker.io/library/hello:latest@{digest}"),
        digest.to_string(),
        r#"{"auths": {"https://r.example/v1/": {"auth": "YTpi"}, "*.example": {"identitytoken": "t"}},
            "credHelpers": {"a": "b"}, "credsStore": "c"}"#
            .to_owned(),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}
