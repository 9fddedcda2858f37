//! Meeting a challenge: from credentials to the header that a registry wants.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use serde::Deserialize;
use tokio::time::{Duration, Instant};

use super::challenge::Challenge;
use super::connect::Connections;
use super::error;
use super::target::{Place, Target, Url};
use super::transfer::{bounded, empty, whole};
use super::{Access, RegistryError};
use crate::credentials::Auth;
use crate::limits;

/// How long a token is good that does not say: what the token protocol assumes.
const TOKEN_LIFE: u64 = 60;

/// What a registry lets us do, until then.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) header: HeaderValue,
    pub(super) until: Option<Instant>,
}

/// Who asks for what.
pub(super) struct Asker<'a> {
    pub(super) connections: &'a Connections,
    /// The registry that challenges us.
    pub(super) registry: &'a Target,
    pub(super) repository: &'a str,
    pub(super) access: Access,
    pub(super) auth: Option<&'a Auth>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

// === impl Grant ===

impl Grant {
    pub(super) fn is_valid(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

// === impl Asker ===

impl Asker<'_> {
    /// Meets a challenge; nothing where we have nothing that it wants.
    ///
    /// # Errors
    /// When the token server cannot be reached, or refuses.
    pub(super) async fn meet(&self, challenge: &Challenge) -> Result<Option<Grant>, RegistryError> {
        let forever = |header: HeaderValue| Grant {
            header,
            until: None,
        };
        Ok(match (challenge, self.auth) {
            (_, Some(Auth::Token(token))) => secret("Bearer", token).map(forever),
            (Challenge::Basic, Some(Auth::Password { name, password })) => {
                basic(name, password).map(forever)
            }
            (Challenge::Basic, _) => None,
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                },
                auth,
            ) => {
                let scope = scope.clone().unwrap_or_else(|| self.scope());
                let url = self.realm(realm)?;
                self.token(url, service.as_deref(), &scope, auth).await?
            }
        })
    }

    /// Whom a password is shown to: over TLS, if the registry is. A registry on TLS that sends us
    /// to a plain server would have it read on the way; so would one on http that sends us to any
    /// other than itself, which nobody has named in the settings.
    fn realm(&self, realm: &str) -> Result<Url, RegistryError> {
        let url = Url::parse(realm)?;
        let is_elsewhere = url.target.is_open() && !url.target.is_same(self.registry);
        let is_shown = self.auth.is_some() && is_elsewhere;
        if is_shown || self.registry.tls && !url.target.tls {
            return Err(RegistryError::Protocol {
                url: url.to_string(),
                why: format!(
                    "{} has its tokens given out there without TLS, where everybody on the way could read the password: it has to name a server with https://",
                    self.registry.authority()
                ),
            });
        }
        // Where the registry's own authority is not the system's, its token server's is not either. It
        // is named by the registry, and not by the settings.
        let mut url = url;
        let is_same = url.target.is_same(self.registry);
        let place = self.registry.place.clone();
        url.target.place = place.map(|place| Place {
            is_server: place.is_server && is_same,
            ..place
        });
        url.target.trust.clone_from(&self.registry.trust);
        Ok(url)
    }

    fn scope(&self) -> String {
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        format!("repository:{}:{actions}", self.repository)
    }

    async fn token(
        &self,
        mut url: Url,
        service: Option<&str>,
        scope: &str,
        auth: Option<&Auth>,
    ) -> Result<Option<Grant>, RegistryError> {
        let mut pairs = vec![("scope", scope)];
        pairs.extend(service.map(|service| ("service", service)));
        let request = Request::builder();
        let request = match auth {
            Some(Auth::Identity(identity)) => {
                pairs.extend([
                    ("grant_type", "refresh_token"),
                    ("refresh_token", identity),
                    ("client_id", "wasmpod"),
                ]);
                request
                    .method(Method::POST)
                    .uri(&url.path)
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(whole(Bytes::from(encoded(&pairs))))
            }
            auth => {
                let between = if url.path.contains('?') { '&' } else { '?' };
                url.path = format!("{}{between}{}", url.path, encoded(&pairs));
                let mut request = request.method(Method::GET).uri(&url.path);
                if let Some(Auth::Password { name, password }) = auth
                    && let Some(header) = basic(name, password)
                {
                    request = request.header(AUTHORIZATION, header);
                }
                request.body(empty())
            }
        };
        let request = request.map_err(|error| protocol(&url, &error.to_string()))?;
        let sending = self.connections.send(&url.target, request);
        let Ok(answer) = tokio::time::timeout(limits::IDLE, sending).await else {
            let (url, after) = (url.to_string(), limits::IDLE);
            return Err(RegistryError::Silent { url, after });
        };
        let answer = answer?;
        let status = answer.status();
        let body = bounded(answer, limits::TOKEN, &url).await?;
        if !status.is_success() {
            return Err(self.refused(&url, status, &body));
        }
        let token: Token = serde_json::from_slice(&body)
            .map_err(|_| protocol(&url, "the answer of the token server is no token"))?;
        let text = match token.token.is_empty() {
            true => &token.access_token,
            false => &token.token,
        };
        let life = Duration::from_secs(token.expires_in.unwrap_or(TOKEN_LIFE).clamp(1, 86_400));
        Ok(secret("Bearer", text).map(|header| Grant {
            header,
            until: Some(Instant::now() + life),
        }))
    }

    fn refused(&self, url: &Url, status: StatusCode, body: &[u8]) -> RegistryError {
        let (url, said) = (url.to_string(), error::said(body));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Denied {
                url,
                who: who(self.auth),
                said,
            },
            StatusCode::TOO_MANY_REQUESTS => RegistryError::Busy {
                url,
                status,
                said,
                after: None,
            },
            _ => RegistryError::Status { url, status, said },
        }
    }
}

/// As whom somebody was refused.
pub(super) fn who(auth: Option<&Auth>) -> String {
    match auth {
        Some(Auth::Password { name, .. }) => format!(" to {name:?}"),
        Some(_) => " to the token of the credentials".to_owned(),
        None => " without credentials".to_owned(),
    }
}

fn protocol(url: &Url, why: &str) -> RegistryError {
    let why = why.to_owned();
    RegistryError::Protocol {
        url: url.to_string(),
        why,
    }
}

fn basic(name: &str, password: &str) -> Option<HeaderValue> {
    secret("Basic", &STANDARD.encode(format!("{name}:{password}")))
}

/// A header that is never shown; nothing where the text can be in none.
fn secret(scheme: &str, text: &str) -> Option<HeaderValue> {
    if text.is_empty() {
        return None;
    }
    let mut header = HeaderValue::try_from(format!("{scheme} {text}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// A query.
pub(super) fn encoded(pairs: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        let mut encoded = String::new();
        for byte in text.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    encoded.push(char::from(byte));
                }
                other => encoded.push_str(&format!("%{other:02X}")),
            }
        }
        encoded
    };
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_for_a_registry_holds_for_its_token_server_but_does_not_name_it() {
        let mut registry = Url::parse("https://r.example/v2/").expect("a URL").target;
        registry.trust.is_blind = true;
        registry.place = Some(Place::new("/certs/hosts.toml".into(), None));
        let connections = Connections::default();
        let asker = Asker {
            connections: &connections,
            registry: &registry,
            repository: "app",
            access: Access::Pull,
            auth: None,
        };
        for (realm, is_server) in [
            ("https://auth.example/token", false),
            ("https://r.example/token", true),
        ] {
            let target = asker.realm(realm).expect("a URL").target;
            assert!(target.trust.is_blind, "{realm}");
            let place = target.place.expect("a place");
            assert_eq!(place.is_server, is_server, "{realm}");
            assert_eq!(place.file.as_os_str(), "/certs/hosts.toml");
        }
    }
}
