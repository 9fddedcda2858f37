//! A session: one endpoint, one repository, one credential. Asks, and asks again where that helps.

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Duration, Instant};

use super::auth::{Asker, Grant, who};
use super::connect::Body;
use super::hosts::Endpoint;
use super::target::{Target, Url};
use super::transfer::{Download, bounded, empty, file, whole};
use super::{Access, Client, RegistryError, Secret, challenge, error};
use crate::digest::Digest;
use crate::limits;
use crate::manifest::{Descriptor, media};
use crate::progress::{Progress, Step};
use crate::reference::Reference;

/// The digest of what a registry answers, as it says.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// How fast an upload is at the least, in bytes per second: until then its answer is not late.
const UPLOAD_PACE: u64 = 64 << 10;

/// See the module.
pub(crate) struct Session {
    client: Client,
    endpoint: Endpoint,
    repository: String,
    secret: Secret,
    access: Access,
    progress: Progress,
    /// Held while a token is fetched, so that ten blobs fetch one.
    grant: tokio::sync::Mutex<Option<Grant>>,
}

/// A manifest or index as it came, held against its digest.
pub(crate) struct Fetched {
    pub(crate) descriptor: Descriptor,
    pub(crate) bytes: Bytes,
}

/// A request that can be sent several times.
struct Ask {
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    payload: Payload,
    patience: Duration,
}

enum Payload {
    Nothing,
    Bytes(Bytes),
    File(std::path::PathBuf, u64),
}

// === impl Session ===

impl Session {
    pub(super) fn new(
        client: Client,
        endpoint: Endpoint,
        reference: &Reference,
        secret: Secret,
        access: Access,
        progress: Progress,
    ) -> Self {
        Self {
            client,
            endpoint,
            repository: reference.repository().to_owned(),
            secret,
            access,
            progress,
            grant: tokio::sync::Mutex::new(None),
        }
    }

    /// Host and port of its server.
    pub(crate) fn server(&self) -> String {
        self.endpoint.target.authority()
    }

    /// Whether that is another than the registry's own.
    pub(crate) fn is_mirror(&self) -> bool {
        self.endpoint.is_mirror
    }

    /// Whether it may say what a reference leads to: content of a digest anybody may bring.
    pub(crate) fn may_say(&self, reference: &Reference) -> bool {
        match reference.digest() {
            Some(_) => self.may_pull(),
            None => self.endpoint.capabilities.resolve,
        }
    }

    /// Whether it may bring content.
    pub(crate) fn may_pull(&self) -> bool {
        self.endpoint.capabilities.pull
    }

    /// The digest that a tag leads to; nothing where the registry does not say it by itself.
    ///
    /// # Errors
    /// When it is not there, or not for us.
    pub(crate) async fn resolve(&self, version: &str) -> Result<Option<Digest>, RegistryError> {
        let ask = self.ask(Method::HEAD, &format!("manifests/{version}"));
        let (url, answer) = self.send(&ask.accepting()).await?;
        let answer = self.good(&url, answer).await?;
        let digest = answer.headers().get(&CONTENT_DIGEST);
        Ok(digest.and_then(|it| it.to_str().ok()?.parse().ok()))
    }

    /// A manifest or index, by tag or digest.
    ///
    /// # Errors
    /// When it is not there, not for us, too large, or not what its digest says.
    pub(crate) async fn manifest(&self, version: &str) -> Result<Fetched, RegistryError> {
        let ask = self.ask(Method::GET, &format!("manifests/{version}"));
        let (url, answer) = self.send(&ask.accepting()).await?;
        let answer = self.good(&url, answer).await?;
        let text = |name: &HeaderName| {
            let value = answer.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let (media_type, said) = (text(&CONTENT_TYPE), text(&CONTENT_DIGEST));
        let bytes = bounded(answer, limits::MANIFEST, &url).await?;
        let wrong = |what: &str, wanted: &str| RegistryError::Protocol {
            url: url.to_string(),
            why: format!("the manifest is not what {what} says, which is {wanted}"),
        };
        let mut digest = Digest::of(&bytes);
        if let Ok(wanted) = version.parse::<Digest>() {
            if !wanted.matches(&bytes) {
                return Err(wrong("the reference", version));
            }
            digest = wanted;
        } else if let Some(Ok(wanted)) = said.as_deref().map(str::parse::<Digest>) {
            if !wanted.matches(&bytes) {
                return Err(wrong("the registry", &wanted.to_string()));
            }
            digest = wanted;
        }
        let media_type = media_type.unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        Ok(Fetched { descriptor, bytes })
    }

    /// A blob from a byte on; answers from which it really comes.
    ///
    /// # Errors
    /// When it is not there, or not for us.
    pub(crate) async fn blob(
        &self,
        digest: &Digest,
        from: u64,
    ) -> Result<(Download, u64), RegistryError> {
        let mut ask = self.ask(Method::GET, &format!("blobs/{digest}"));
        if from > 0 {
            ask = ask.with(RANGE, &format!("bytes={from}-"));
        }
        let (url, answer) = self.send(&ask).await?;
        if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE && from > 0 {
            let whole = self.ask(Method::GET, &format!("blobs/{digest}"));
            let (url, answer) = self.send(&whole).await?;
            let answer = self.good(&url, answer).await?;
            return Ok((Download::new(answer, &url), 0));
        }
        let answer = self.good(&url, answer).await?;
        let begins = match answer.status() {
            StatusCode::PARTIAL_CONTENT => first_byte(answer.headers()),
            _ => Some(0),
        };
        match begins.filter(|begins| *begins == 0 || *begins == from) {
            Some(begins) => Ok((Download::new(answer, &url), begins)),
            None => Err(RegistryError::Protocol {
                url: url.to_string(),
                why: format!("asked for bytes from {from} on, it gave others"),
            }),
        }
    }

    /// Why a blob is not waited for that comes at so many bytes per second.
    pub(crate) fn slow(&self, digest: &Digest, rate: u64) -> RegistryError {
        RegistryError::Slow {
            url: self.endpoint.url(&self.repository).to_string(),
            digest: digest.clone(),
            rate,
            least: limits::BLOB_PACE,
        }
    }

    /// Whether a blob is there.
    ///
    /// # Errors
    /// When the registry does not say.
    pub(crate) async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let ask = self.ask(Method::HEAD, &format!("blobs/{digest}"));
        let (url, answer) = self.send(&ask).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(false),
            _ => self.good(&url, answer).await.map(|_| true),
        }
    }

    /// Uploads a blob from a file.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub(crate) async fn upload(
        &self,
        digest: &Digest,
        path: &std::path::Path,
        size: u64,
    ) -> Result<(), RegistryError> {
        let ask = self.ask(Method::POST, "blobs/uploads/");
        let (url, answer) = self.send(&ask.with(CONTENT_LENGTH, "0")).await?;
        let answer = self.good(&url, answer).await?;
        let location = answer
            .headers()
            .get(LOCATION)
            .and_then(|it| it.to_str().ok());
        let location = location.ok_or_else(|| RegistryError::Protocol {
            url: url.to_string(),
            why: "it does not say where to upload to".to_owned(),
        })?;
        let mut url = url.join(location)?;
        let between = if url.path.contains('?') { '&' } else { '?' };
        url.path = format!("{}{between}digest={digest}", url.path);
        let ask = Ask {
            method: Method::PUT,
            url,
            headers: Vec::new(),
            payload: Payload::File(path.to_owned(), size),
            patience: limits::IDLE + Duration::from_secs(size / UPLOAD_PACE),
        };
        let ask = ask
            .with(CONTENT_TYPE, "application/octet-stream")
            .with(CONTENT_LENGTH, &size.to_string());
        let (url, answer) = self.send(&ask).await?;
        self.good(&url, answer).await.map(drop)
    }

    /// Uploads a manifest or index under a tag or its digest.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub(crate) async fn put_manifest(
        &self,
        version: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<(), RegistryError> {
        let mut ask = self.ask(Method::PUT, &format!("manifests/{version}"));
        ask.payload = Payload::Bytes(bytes);
        let (url, answer) = self.send(&ask.with(CONTENT_TYPE, media_type)).await?;
        self.good(&url, answer).await.map(drop)
    }

    fn ask(&self, method: Method, what: &str) -> Ask {
        let path = format!("{}/{what}", self.repository);
        Ask {
            method,
            url: match self.access {
                Access::Pull => self.endpoint.url_to_read(&path),
                Access::Push => self.endpoint.url(&path),
            },
            headers: Vec::new(),
            payload: Payload::Nothing,
            patience: limits::IDLE,
        }
    }

    /// Sends a request until it is answered with something that another try would not change.
    async fn send(&self, ask: &Ask) -> Result<(Url, Response<Incoming>), RegistryError> {
        let (mut tries, mut has_asked) = (0, false);
        loop {
            let header = self.header().await;
            let error = match self.once(ask, header.as_ref()).await {
                Ok((url, answer)) if !has_asked && self.is_challenge(&url, answer.status()) => {
                    has_asked = true;
                    if !self.authorize(answer.headers(), header.as_ref()).await? {
                        return Err(self.refused(&url, answer).await);
                    }
                    continue;
                }
                Ok((url, answer)) if is_busy(answer.status()) => busy(&url, answer).await,
                Ok(answered) => return Ok(answered),
                Err(error) => error,
            };
            tries += 1;
            let Some(wait) = wait(&error, tries) else {
                return Err(error);
            };
            self.progress.tell(Step::Retrying {
                after: wait,
                why: error.to_string(),
            });
            tokio::time::sleep_until(Instant::now() + wait).await;
        }
    }

    /// Sends a request once, and follows where it leads. What proves who we are goes to the
    /// registry itself and nobody else.
    async fn once(
        &self,
        ask: &Ask,
        header: Option<&HeaderValue>,
    ) -> Result<(Url, Response<Incoming>), RegistryError> {
        let mut url = ask.url.clone();
        let follows = matches!(ask.method, Method::GET | Method::HEAD);
        for _ in 0..=limits::REDIRECTS {
            let header = header.filter(|_| url.target.is_same(&self.endpoint.target));
            let request = ask.request(&url, header).await?;
            let sending = self.client.connections().send(&url.target, request);
            let answer = match tokio::time::timeout(ask.patience, sending).await {
                Ok(answer) => answer?,
                Err(_) => {
                    return Err(RegistryError::Silent {
                        url: url.to_string(),
                        after: ask.patience,
                    });
                }
            };
            let location = answer.headers().get(LOCATION);
            let location = location.filter(|_| follows && answer.status().is_redirection());
            let Some(location) = location.and_then(|it| it.to_str().ok()) else {
                return Ok((url, answer));
            };
            url = url.join(location)?;
        }
        Err(RegistryError::Protocol {
            url: ask.url.to_string(),
            why: format!("it leads on more than {} times", limits::REDIRECTS),
        })
    }

    /// Whether an answer asks us who we are. Only the registry itself may: whoever a request was
    /// led to would name a token server of its own, and be told our secret.
    fn is_challenge(&self, url: &Url, status: StatusCode) -> bool {
        status == StatusCode::UNAUTHORIZED && url.target.is_same(&self.endpoint.target)
    }

    async fn header(&self) -> Option<HeaderValue> {
        let grant = self.grant.lock().await;
        let valid = grant.as_ref().filter(|it| it.is_valid(Instant::now()));
        valid.map(|grant| grant.header.clone())
    }

    /// Gets what a challenge asks for, unless another request got it meanwhile.
    async fn authorize(
        &self,
        headers: &HeaderMap,
        used: Option<&HeaderValue>,
    ) -> Result<bool, RegistryError> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter();
        let Some(challenge) = challenge::parse(texts.filter_map(|it| it.to_str().ok())) else {
            return Ok(false);
        };
        let mut grant = self.grant.lock().await;
        if is_renewed(grant.as_ref(), used, Instant::now()) {
            return Ok(true);
        }
        let asker = Asker {
            connections: self.client.connections(),
            registry: &self.endpoint.target,
            repository: &self.repository,
            access: self.access,
            auth: self.secret.auth(),
        };
        let met = asker.meet(&challenge).await;
        *grant = met.map_err(|error| self.explained(error))?;
        Ok(grant.is_some())
    }

    /// An answer that says yes; else what it says.
    async fn good(
        &self,
        url: &Url,
        answer: Response<Incoming>,
    ) -> Result<Response<Incoming>, RegistryError> {
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(self.refused(url, answer).await),
        }
    }

    /// Why access was denied, where we know it better: who might have let us in was not told who
    /// we are.
    pub(super) fn explained(&self, error: RegistryError) -> RegistryError {
        match (error, &self.secret, &self.endpoint.settings) {
            (RegistryError::Denied { url, .. }, Secret::Withheld, Some(settings)) => {
                RegistryError::Withheld {
                    url,
                    server: self.endpoint.target.with_port(),
                    settings: settings.display().to_string(),
                }
            }
            (error, ..) => error,
        }
    }

    /// What a server says to a GET without TLS, where it is TLS that it wants: its answer to a HEAD has
    /// no body that could say so.
    async fn said_to_get(&self, target: &Target) -> Bytes {
        let url = Url {
            target: target.clone(),
            path: "/v2/".to_owned(),
        };
        let Ok(request) = Request::get(&url.path).body(empty()) else {
            return Bytes::new();
        };
        let sending = self.client.connections().send(target, request);
        let body = match tokio::time::timeout(limits::ERROR_WAIT, sending).await {
            Ok(Ok(answer)) if answer.status() == StatusCode::BAD_REQUEST => {
                said(answer, &url).await
            }
            _ => Bytes::new(),
        };
        match error::asks_for_tls(&body) {
            true => body,
            false => Bytes::new(),
        }
    }

    async fn refused(&self, url: &Url, answer: Response<Incoming>) -> RegistryError {
        let status = answer.status();
        let mut body = said(answer, url).await;
        if status == StatusCode::BAD_REQUEST && !url.target.tls && body.is_empty() {
            body = self.said_to_get(&url.target).await;
        }
        let (target, said) = (&url.target, error::said(&body));
        let url = url.to_string();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.explained(RegistryError::Denied {
                    url,
                    who: who(self.secret.auth()),
                    said,
                })
            }
            StatusCode::NOT_FOUND => RegistryError::NotFound {
                url,
                said: format!(": {said}"),
            },
            StatusCode::BAD_REQUEST if !target.tls && error::asks_for_tls(&body) => {
                let said = format!("{said}: {}", error::SPEAKS_TLS);
                RegistryError::Status { url, status, said }
            }
            _ => RegistryError::Status { url, status, said },
        }
    }
}

// === impl Ask ===

impl Ask {
    fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    fn accepting(self) -> Self {
        self.with(ACCEPT, &media::ACCEPTED.join(", "))
    }

    async fn request(
        &self,
        url: &Url,
        header: Option<&HeaderValue>,
    ) -> Result<Request<Body>, RegistryError> {
        let failed = |why: String| RegistryError::Protocol {
            url: url.to_string(),
            why,
        };
        let body = match &self.payload {
            Payload::Nothing => empty(),
            Payload::Bytes(bytes) => whole(bytes.clone()),
            Payload::File(path, size) => file(path, *size)
                .await
                .map_err(|e| failed(format!("cannot open {}: {e}", path.display())))?,
        };
        let mut request = Request::builder()
            .method(&self.method)
            .uri(&url.path)
            .body(body)
            .map_err(|error| failed(error.to_string()))?;
        request.headers_mut().extend(self.headers.iter().cloned());
        if let Some(header) = header {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        Ok(request)
    }
}

/// Whether there is another grant than the one that was refused, and it is still good: one that
/// is over was not even sent.
pub(super) fn is_renewed(grant: Option<&Grant>, used: Option<&HeaderValue>, now: Instant) -> bool {
    grant.is_some_and(|grant| grant.is_valid(now) && Some(&grant.header) != used)
}

/// An answer of a server that may do better later.
pub(super) async fn busy(url: &Url, answer: Response<Incoming>) -> RegistryError {
    let (status, after) = (answer.status(), retry_after(answer.headers()));
    RegistryError::Busy {
        url: url.to_string(),
        status,
        said: error::said(&said(answer, url).await),
        after,
    }
}

/// The body of an error; nothing where it is too large, or does not come soon.
async fn said(answer: Response<Incoming>, url: &Url) -> Bytes {
    let body = bounded(answer, limits::ERROR_BODY, url);
    match tokio::time::timeout(limits::ERROR_WAIT, body).await {
        Ok(Ok(body)) => body,
        _ => Bytes::new(),
    }
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// How long to wait before a request is tried again; nothing where that is of no use.
pub(super) fn wait(error: &RegistryError, tries: u32) -> Option<Duration> {
    if !error.may_pass() || tries >= limits::TRIES {
        return None;
    }
    let back_off = limits::BACK_OFF.saturating_mul(1 << tries.saturating_sub(1).min(16));
    match error {
        RegistryError::Busy {
            after: Some(after), ..
        } => (*after <= limits::RETRY_AFTER).then_some((*after).max(back_off)),
        _ => Some(back_off),
    }
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let left = date.as_second() - jiff::Timestamp::now().as_second();
    Some(Duration::from_secs(u64::try_from(left).unwrap_or_default()))
}

/// The first byte of `Content-Range: bytes FIRST-LAST/SIZE`.
fn first_byte(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let range = text.trim().strip_prefix("bytes")?.trim_start();
    range.split('-').next()?.trim().parse().ok()
}
