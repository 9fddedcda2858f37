//! What goes wrong with registries, for people: which one, what it said, what to do.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::credentials::CredentialsError;
use crate::digest::Digest;
use crate::limits;

/// Why a registry did not give what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be reached.
    #[error("cannot reach {host}: {why}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the system, or TLS, said.
        why: String,
    },
    /// The connection broke.
    #[error("{url}: the connection broke: {why}")]
    Broken {
        /// What was asked for.
        url: String,
        /// What happened.
        why: String,
    },
    /// It says nothing, or so little that it is as good as nothing.
    #[error("{url}: next to nothing came for {} s", after.as_secs())]
    Silent {
        /// What was asked for.
        url: String,
        /// How long we waited.
        after: Duration,
    },
    /// It does not know us, or does not let us.
    #[error(
        "{url}: access denied{who}: {said}; check that the image exists, and that `imagePullSecrets` or Docker's config.json has credentials for it"
    )]
    Denied {
        /// What was asked for.
        url: String,
        /// As whom.
        who: String,
        /// What it said.
        said: String,
    },
    /// It does not let those in whom it does not know, and is not told who we are.
    #[error(
        "{url}: access denied without credentials: those for its host are not sent over http, where everybody on the way can read them, as {settings} has it; let it name the server with https://, or, if they may be read, give `imagePullSecrets` or Docker's config.json credentials for {server:?} itself"
    )]
    Withheld {
        /// What was asked for.
        url: String,
        /// Host and port.
        server: String,
        /// The file that says how it is reached.
        settings: String,
    },
    /// It brings a blob, but so slowly that nobody else gets it meanwhile.
    #[error(
        "{url}: {digest} comes at {rate} bytes per second on the whole, and {least} are the least after the first {} minutes: try again later, where it left off, or name a mirror of the registry in its hosts.toml",
        limits::BLOB_START.as_secs() / 60
    )]
    Slow {
        /// What was asked for.
        url: String,
        /// The blob.
        digest: Digest,
        /// Bytes per second.
        rate: u64,
        /// Bytes per second that are enough.
        least: u64,
    },
    /// It is not there.
    #[error("{url}: not found{said}")]
    NotFound {
        /// What was asked for.
        url: String,
        /// What it said.
        said: String,
    },
    /// It has too much to do, or is broken, for longer than we want to wait.
    #[error("{url}: {status}: {said}; try again{}", shown(*after))]
    Busy {
        /// What was asked for.
        url: String,
        /// Its status.
        status: StatusCode,
        /// What it said.
        said: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
    /// Any other answer.
    #[error("{url}: {status}: {said}")]
    Status {
        /// What was asked for.
        url: String,
        /// Its status.
        status: StatusCode,
        /// What it said.
        said: String,
    },
    /// An answer that is larger than it may be, or not what the protocol says.
    #[error("{url}: {why}")]
    Protocol {
        /// What was asked for.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// Credentials cannot be had.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Nobody may be asked.
    #[error(
        "no server of this registry has the capability that is needed (resolve for what a tag leads to, pull for content, push): add it in its hosts.toml, or name the image by its digest"
    )]
    NotCapable,
    /// The settings of this registry are of no use.
    #[error("{path}: {why}")]
    Settings {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What to do about a server that is spoken to without TLS and wants it.
pub(super) const SPEAKS_TLS: &str = "it seems to speak https, for which hosts.toml has to name it with https:// (README, Registries)";

/// A registry's errors as it writes them.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

// === impl RegistryError ===

impl RegistryError {
    /// Whether another try may bring what this one did not.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Broken { .. } | Self::Silent { .. } | Self::Busy { .. }
        )
    }

    /// Whether another credential, or another endpoint, may bring it.
    pub(crate) fn may_be_elsewhere(&self) -> bool {
        !matches!(self, Self::Credentials(_) | Self::Settings { .. })
    }
}

/// What an error's body says, in a line for people.
pub(super) fn said(body: &[u8]) -> String {
    if let Ok(errors) = serde_json::from_slice::<Errors>(body) {
        let texts = errors
            .errors
            .iter()
            .take(3)
            .map(|error| match error.message.is_empty() {
                true => error.code.clone(),
                false => error.message.clone(),
            });
        let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
        if !texts.is_empty() {
            return shortened(&texts.join("; "));
        }
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    shortened(match text.starts_with('<') {
        true => title(text).unwrap_or_default(),
        false => text.lines().next().unwrap_or_default(),
    })
}

/// Whether the body of an error says that its server wants TLS, as Go's and nginx's do.
pub(super) fn asks_for_tls(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_lowercase();
    text.contains("http request") && text.contains("https")
}

/// The title of a page.
fn title(page: &str) -> Option<&str> {
    // As long as the page itself.
    let lower = page.to_ascii_lowercase();
    let found = |text: &str, from: usize| Some(from + lower.get(from..)?.find(text)?);
    let start = found(">", found("<title", 0)?)? + 1;
    page.get(start..found("</title", start)?).map(str::trim)
}

fn shortened(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    match text.is_empty() {
        true => "it said no more".to_owned(),
        false => text,
    }
}

fn shown(after: Option<Duration>) -> String {
    match after {
        Some(after) => format!(" in {} s", after.as_secs()),
        None => " later".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_a_line() {
        let nginx = "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port\
            </title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n</body>";
        let cases = [
            (
                r#"{"errors":[{"code":"A","message":"a"},{"code":"B"}]}"#,
                "a; B",
                false,
            ),
            (r#"{"errors":[]}"#, r#"{"errors":[]}"#, false),
            ("  no\nmore", "no", false),
            ("", "it said no more", false),
            (
                nginx,
                "400 The plain HTTP request was sent to HTTPS port",
                true,
            ),
            (
                "<!DOCTYPE html><TITLE lang=en> İ no </Title>",
                "İ no",
                false,
            ),
            ("<html>\n<body>", "it said no more", false),
            ("<title", "it said no more", false),
            ("<title>", "it said no more", false),
            (
                "Client sent an HTTP request to an HTTPS server.",
                "Client sent an HTTP request to an HTTPS server.",
                true,
            ),
        ];
        for (body, line, wants_tls) in cases {
            assert_eq!(said(body.as_bytes()), line, "{body}");
            assert_eq!(asks_for_tls(body.as_bytes()), wants_tls, "{body}");
        }
    }
}
