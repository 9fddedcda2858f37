//! References: how people name images, and what that means in full.
//!
//! ```text
//! hello            docker.io/library/hello:latest
//! acme/app:1       docker.io/acme/app:1
//! localhost/app    localhost/app:latest
//! [::1]:5000/a@sha256:…
//! ```
//!
//! The rules are those of Docker's `distribution/reference`, which Kubernetes follows: 64 hexadecimal
//! digits are a digest, whatever else they could be. A tag beside a digest is kept for people, and
//! the digest decides.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Algorithm, Digest};

/// The registry of references that name none.
pub const DOCKER: &str = "docker.io";

/// The most bytes of a registry and repository together, as Docker has it.
const NAME: usize = 255;

/// The most characters of a tag.
const TAG: usize = 128;

/// The most bytes of a reference: a name, a tag and the longest digest.
const WHOLE: usize = 600;

/// Registry and repository of images that have no name of their own. Nobody has them elsewhere.
const NAMELESS: (&str, &str) = ("localhost", "imported");

/// How many hexadecimal digits a sha256 has.
const SHA256: usize = 64;

/// A reference in full.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that names no image; says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing at all.
    #[error("it is empty: name an image, for example registry.example/app:1")]
    Empty,
    /// Longer than any.
    #[error("it is longer than a name may be: at most {NAME} characters for registry and name")]
    TooLong,
    /// A URL.
    #[error("it begins with {0}: leave that out, the registry's settings say how it is reached")]
    Scheme(String),
    /// Capitals in the repository.
    #[error("the name {0:?} has capital letters, which only tags may have: write it in lower case")]
    Capitals(String),
    /// A part of the repository that no registry takes.
    #[error(
        "the part {0:?} of the name is not allowed: write lower-case letters and digits, with single '.' or '_', '__' or '-' between them"
    )]
    Part(String),
    /// A host that is none.
    #[error(
        "{0:?} is no registry: write a host name or address, with :PORT from 1 to 65535 if needed"
    )]
    Registry(String),
    /// A tag that no registry takes.
    #[error(
        "the tag {0:?} is not allowed: write up to {TAG} letters, digits, '_', '.' or '-', not beginning with '.' or '-'"
    )]
    Tag(String),
    /// A digest that is none.
    #[error(transparent)]
    Digest(#[from] crate::digest::NotADigest),
    /// The beginning of a digest and nothing else.
    #[error(
        "{0} is the beginning of a digest, which says not where the image is: write NAME:TAG or NAME@DIGEST; to `wasmpod run` and commands for images that are here, {least} digits or more of it name one",
        least = crate::handle::LEAST
    )]
    DigestBegun(String),
    /// A digest and nothing else.
    #[error("a digest alone says not where the image is: write NAME@{0}")]
    DigestAlone(String),
}

// === impl Reference ===

impl Reference {
    /// What an image is called that has no name: by its digest.
    pub fn nameless(digest: Digest) -> Self {
        let (registry, repository) = NAMELESS;
        Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: None,
            digest: Some(digest),
        }
    }

    /// The host of the registry, with its port where one is named.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name of the repository in it, `library/` included.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, `latest` where neither tag nor digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository: what credentials are matched against.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same image by its digest alone.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// What a registry is asked for: the digest, else the tag.
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// As people write it: without Docker's registry and `library/`, where that still names the same
    /// image. `docker.io/r.example/app` is nothing of the registry `r.example`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let without = |start: &str| {
            let short = full.strip_prefix(start)?;
            (short.parse().as_ref() == Ok(self)).then(|| short.to_owned())
        };
        let short = without("docker.io/library/").or_else(|| without("docker.io/"));
        short.unwrap_or(full)
    }

    /// The last part of the repository: the program's name where the image has none.
    pub fn short_name(&self) -> &str {
        let last = self.repository.rsplit('/').next();
        last.unwrap_or(&self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > WHOLE {
            return Err(ReferenceError::TooLong);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(ReferenceError::Scheme(format!("{scheme}://")));
        }
        if let Some(alone) = digest_alone(text) {
            return Err(ReferenceError::DigestAlone(alone));
        }
        if is_digest_begun(text) {
            return Err(ReferenceError::DigestBegun(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        let (registry, rest) = split_registry(rest)?;
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(checked_tag(tag)?)),
            None => (rest, None),
        };
        check_repository(repository)?;
        let repository = match registry == DOCKER && !repository.contains('/') {
            true => format!("library/{repository}"),
            false => repository.to_owned(),
        };
        if registry.len() + 1 + repository.len() > NAME {
            return Err(ReferenceError::TooLong);
        }
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag,
        };
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }
}

/// Whether a text begins a digest with the name of its algorithm. As a name it would have a tag of
/// hexadecimal digits, and none that is here is called so.
fn is_digest_begun(text: &str) -> bool {
    let Some((name, digits)) = text.split_once(':') else {
        return false;
    };
    let mut algorithms = [Algorithm::Sha256, Algorithm::Sha512].into_iter();
    let algorithm = algorithms.find(|algorithm| algorithm.as_str() == name);
    let most = algorithm.map_or(0, Algorithm::hex_length);
    (1..=most).contains(&digits.len()) && digits.bytes().all(is_hex)
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// The digest that a text is, also without the name of its algorithm.
fn digest_alone(text: &str) -> Option<String> {
    let text = text.strip_prefix('@').unwrap_or(text);
    let whole = match text.len() == SHA256 && text.bytes().all(is_hex) {
        true => format!("sha256:{text}"),
        false => text.to_owned(),
    };
    whole.parse::<Digest>().is_ok().then_some(whole)
}

/// The registry, Docker's where none is named, and what follows it. A first part is a registry when
/// it has a dot, a colon or a capital, or is `localhost`.
fn split_registry(text: &str) -> Result<(String, &str), ReferenceError> {
    let docker = || (DOCKER.to_owned(), text);
    let Some((first, rest)) = text.split_once('/') else {
        return Ok(docker());
    };
    let is_registry = first.contains(['.', ':', '['])
        || first == "localhost"
        || first.chars().any(char::is_uppercase);
    if !is_registry {
        return Ok(docker());
    }
    if !is_host_and_port(first) {
        return Err(ReferenceError::Registry(first.to_owned()));
    }
    let registry = match first {
        "index.docker.io" | "registry-1.docker.io" => DOCKER.to_owned(),
        other => other.to_owned(),
    };
    Ok((registry, rest))
}

fn is_host_and_port(text: &str) -> bool {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, rest)) = rest.split_once(']') else {
            return false;
        };
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port),
            None if rest.is_empty() => None,
            None => return false,
        };
        return port.is_none_or(is_port);
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty()
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    !text.starts_with('+') && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn check_repository(repository: &str) -> Result<(), ReferenceError> {
    if repository.chars().any(char::is_uppercase) {
        return Err(ReferenceError::Capitals(repository.to_owned()));
    }
    for part in repository.split('/') {
        if !is_part(part) {
            return Err(ReferenceError::Part(part.to_owned()));
        }
    }
    Ok(())
}

/// Letters and digits, with one separator at a time between them.
fn is_part(part: &str) -> bool {
    let is_alphanumeric = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    if part.is_empty()
        || !part
            .bytes()
            .all(|b| is_alphanumeric(b) || b"._-".contains(&b))
    {
        return false;
    }
    let mut separators = part.split(|c: char| c.is_ascii_alphanumeric());
    // Before the first and after the last letter there may be none.
    let first = separators.next().unwrap_or_default();
    let last = separators.next_back().unwrap_or_default();
    let is_between =
        |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    first.is_empty() && last.is_empty() && separators.all(is_between)
}

fn checked_tag(tag: &str) -> Result<String, ReferenceError> {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let is_tag = !tag.is_empty()
        && tag.len() <= TAG
        && tag.bytes().all(is_inner)
        && !tag.starts_with(['.', '-']);
    match is_tag {
        true => Ok(tag.to_owned()),
        false => Err(ReferenceError::Tag(tag.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_mean_what_docker_says() {
        let with_digest = format!("acme/app:1@{DIGEST}");
        let full_digest = format!("docker.io/acme/app:1@{DIGEST}");
        let cases = [
            ("hello", "docker.io/library/hello:latest", "hello:latest"),
            ("acme/app:1", "docker.io/acme/app:1", "acme/app:1"),
            (
                "docker.io/hello",
                "docker.io/library/hello:latest",
                "hello:latest",
            ),
            ("index.docker.io/a/b:x", "docker.io/a/b:x", "a/b:x"),
            (
                "localhost/app",
                "localhost/app:latest",
                "localhost/app:latest",
            ),
            (
                "localhost:5000/app:V1",
                "localhost:5000/app:V1",
                "localhost:5000/app:V1",
            ),
            (
                "r.example/a/b__c/d--e:1.0",
                "r.example/a/b__c/d--e:1.0",
                "r.example/a/b__c/d--e:1.0",
            ),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("Host/a", "Host/a:latest", "Host/a:latest"),
            (
                "docker.io/r.example/app",
                "docker.io/r.example/app:latest",
                "docker.io/r.example/app:latest",
            ),
            (
                "docker.io/library/a/b",
                "docker.io/library/a/b:latest",
                "library/a/b:latest",
            ),
            (
                with_digest.as_str(),
                full_digest.as_str(),
                with_digest.as_str(),
            ),
        ];
        for (text, full, familiar) in cases {
            let reference: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
        }
        let pinned: Reference = with_digest.parse().expect("a reference");
        assert_eq!(pinned.version(), DIGEST);
        assert_eq!((pinned.tag(), pinned.short_name()), (Some("1"), "app"));
    }

    #[test]
    fn a_digit_less_or_more_or_a_tag_and_it_is_a_name() {
        let digits = &DIGEST[7..];
        let names = [
            &digits[1..],
            &format!("{digits}0"),
            &format!("{digits}:1"),
            &format!("{DIGEST}0"),
        ];
        for text in names {
            assert!(text.parse::<Reference>().is_ok(), "{text}");
        }
    }

    #[test]
    fn what_has_no_name_is_called_by_its_digest() {
        let digest: Digest = DIGEST.parse().expect("a digest");
        let nameless = Reference::nameless(digest);
        let text = format!("localhost/imported@{DIGEST}");
        assert_eq!(nameless.familiar(), text);
        assert_eq!(text.parse(), Ok(nameless));
    }

    #[test]
    fn errors_name_the_remedy() {
        let cases = [
            ("", "is empty"),
            ("http://r.example/app", "leave that out"),
            ("Hello", "lower case"),
            ("acme/App", "lower case"),
            ("acme//app", "the part \"\""),
            ("acme/-app", "the part"),
            ("acme/a..b", "the part"),
            ("acme/a___b", "the part"),
            ("a:b:c", "the tag"),
            ("app:", "the tag"),
            ("app:.x", "the tag"),
            ("r.example:99999/app", "no registry"),
            ("r..example/app", "no registry"),
            ("[::1/app", "no registry"),
            (DIGEST, "NAME@"),
            (&DIGEST[7..], "NAME@sha256:e3b0"),
            ("sha256:e3", "12 digits or more"),
            ("sha512:e3b0c44298fc1c14", "the beginning of a digest"),
            ("app@sha256:12", "no digest"),
            ("app@md5:12", "no digest"),
            ("app name", "the part"),
            ("../../etc", "no registry"),
            ("a/../etc", "the part"),
        ];
        for (text, wanted) in cases {
            let error = text.parse::<Reference>().expect_err(text).to_string();
            assert!(error.contains(wanted), "{text:?}: {error}");
        }
        let long = format!("r.example/{}", "a".repeat(250));
        assert_eq!(long.parse::<Reference>(), Err(ReferenceError::TooLong));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_parses_comes_back(text in "\\PC{0,80}|[a-zA-Z0-9:/@._\\[\\]-]{0,60}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let again: Reference = reference.to_string().parse().expect("its own text");
                prop_assert_eq!(&again, &reference);
                let short: Reference = reference.familiar().parse().expect("its short text");
                prop_assert_eq!(short, reference);
            }
        }
    }
}
