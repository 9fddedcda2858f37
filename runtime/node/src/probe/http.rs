//! An httpGet: success is a status from 200 to 399, with a warning from 300 on: of a redirect that is
//! not followed because it leads to another host, or of one that leads nowhere.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use http::response::Parts;
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper_util::rt::TokioIo;
use model::Container;
use model::lifecycle::ProbeOutcome;
use model::probe::HttpGet;

use super::{Stream, Target, authority, beside, connect, dial_error, number};

/// How often a redirect is followed, as in kubelet.
const REDIRECTS: usize = 10;

/// How much of a body is read: kubelet's bound; no more than the start of it is shown.
const BODY: usize = 10 << 10;

/// What kubelet calls itself.
const AGENT: &str = concat!("kube-probe/wasmpod-", env!("CARGO_PKG_VERSION"));

/// Where a request goes.
struct Place {
    https: bool,
    host: Option<String>,
    port: u16,
    path: String,
}

/// What was answered.
struct Answer {
    status: StatusCode,
    /// Where a redirect leads.
    redirect: Option<Uri>,
    /// The start of it.
    body: Bytes,
}

/// Asks once, following redirects on the same host.
pub(super) async fn ask(
    get: &HttpGet,
    container: &Container,
    target: &Target,
    timeout: Duration,
) -> ProbeOutcome {
    let place = match Place::of(get, container) {
        Ok(place) => place,
        Err(why) => return ProbeOutcome::Error(why),
    };
    match walk(get, place, target, timeout).await {
        Ok(answer) => judge(&answer),
        Err(why) => ProbeOutcome::Failure(why),
    }
}

/// Asks once; any answer is good.
///
/// # Errors
/// Why there is none.
pub(super) async fn reach(
    get: &HttpGet,
    container: &Container,
    target: &Target,
    timeout: Duration,
) -> Result<(), String> {
    let place = Place::of(get, container)?;
    walk(get, place, target, timeout).await.map(|_| ())
}

/// The URL that is asked first, for messages.
pub(super) fn url(get: &HttpGet, container: &Container, target: &Target) -> String {
    Place::of(get, container).map_or_else(|why| why, |place| place.url(target))
}

async fn walk(
    get: &HttpGet,
    mut place: Place,
    target: &Target,
    timeout: Duration,
) -> Result<Answer, String> {
    for _ in 0..=REDIRECTS {
        let answer = once(get, &place, target, timeout)
            .await
            .map_err(|why| format!("Get {:?}: {why}", place.url(target)))?;
        let next = answer.redirect.as_ref();
        match next.and_then(|next| place.follow(next, target)) {
            Some(next) => place = next,
            None => return Ok(answer),
        }
    }
    Err(format!(
        "Get {:?}: stopped after {REDIRECTS} redirects",
        place.url(target)
    ))
}

fn judge(answer: &Answer) -> ProbeOutcome {
    match answer.status.as_u16() {
        200..300 => ProbeOutcome::Success,
        300..400 => ProbeOutcome::Warning(format!(
            "Probe terminated redirects, Response body: {}",
            String::from_utf8_lossy(&answer.body)
        )),
        code => ProbeOutcome::Failure(format!("HTTP probe failed with statuscode: {code}")),
    }
}

async fn once(
    get: &HttpGet,
    place: &Place,
    target: &Target,
    timeout: Duration,
) -> Result<Answer, String> {
    let stream = connect(target, place.host.as_deref(), place.port, timeout)
        .await
        .map_err(|error| dial_error(target, place.host.as_deref(), place.port, &error))?;
    let request = request(get, place, target)?;
    if place.https {
        let name = place.host.clone().unwrap_or_else(|| "localhost".to_owned());
        send(tls(stream, &name).await?, request).await
    } else {
        send(stream, request).await
    }
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Answer, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| e.to_string())?;
    beside(connection, async move {
        let response = sender.send_request(request).await;
        let (head, body) = response.map_err(|e| e.to_string())?.into_parts();
        // Read so that a server that streams it is not cut off in the middle of a line; what is
        // too long or breaks off does not make the answer worse.
        let body = Limited::new(body, BODY).collect().await;
        Ok(Answer {
            status: head.status,
            redirect: redirect(&head),
            body: body.map(Collected::to_bytes).unwrap_or_default(),
        })
    })
    .await
}

fn redirect(head: &Parts) -> Option<Uri> {
    if !matches!(head.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    head.headers.get(LOCATION)?.to_str().ok()?.parse().ok()
}

/// TLS as probes speak it: whoever answers is asked nothing about who it is, as in Kubernetes.
async fn tls(
    stream: Stream,
    name: &str,
) -> Result<tokio_rustls::client::TlsStream<Stream>, String> {
    let connector = tokio_rustls::TlsConnector::from(super::trust::anyone()?);
    let name =
        rustls::pki_types::ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
    connector
        .connect(name, stream)
        .await
        .map_err(|e| e.to_string())
}

fn request(get: &HttpGet, place: &Place, target: &Target) -> Result<Request<Empty<Bytes>>, String> {
    let path = if place.path.starts_with('/') {
        place.path.clone()
    } else {
        format!("/{}", place.path)
    };
    let mut request = Request::get(path)
        .body(Empty::new())
        .map_err(|e| e.to_string())?;
    let headers = request.headers_mut();
    for (name, value) in &get.headers {
        let name: HeaderName = name
            .parse()
            .map_err(|_| format!("header {name:?} is no header name"))?;
        let value: HeaderValue = value
            .parse()
            .map_err(|_| format!("header {name}: its value is no header value"))?;
        // One that is given several times is sent so; there is but one host.
        if name == HOST {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    for (name, default) in [(USER_AGENT, AGENT), (ACCEPT, "*/*")] {
        match headers.get(&name) {
            None => drop(headers.insert(name, HeaderValue::from_static(default))),
            // Given as empty: it is not to be sent.
            Some(value) if value.is_empty() => drop(headers.remove(name)),
            Some(_) => {}
        }
    }
    if !headers.contains_key(HOST) {
        let host = authority(target, place.host.as_deref(), place.port);
        headers.insert(
            HOST,
            host.parse().map_err(|_| format!("{host:?} is no host"))?,
        );
    }
    Ok(request)
}

// === impl Place ===

impl Place {
    /// Where the first request goes.
    ///
    /// # Errors
    /// A named port that the container does not declare.
    fn of(get: &HttpGet, container: &Container) -> Result<Self, String> {
        Ok(Self {
            https: get.https,
            host: get.host.clone(),
            port: number(&get.port, container)?,
            path: get.path.clone(),
        })
    }

    fn url(&self, target: &Target) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!(
            "{scheme}://{}{}",
            authority(target, self.host.as_deref(), self.port),
            self.path
        )
    }

    /// The next place of a redirect, unless it leads to another host.
    fn follow(&self, next: &Uri, target: &Target) -> Option<Self> {
        let path = next
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        let Some(host) = next.host() else {
            return Some(Self {
                path,
                host: self.host.clone(),
                ..*self
            });
        };
        let own = match &self.host {
            Some(host) => host.clone(),
            None => target
                .addresses
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
        };
        if !host.trim_matches(['[', ']']).eq_ignore_ascii_case(&own) {
            return None;
        }
        let https = next.scheme_str() == Some("https");
        let port = next.port_u16().unwrap_or(if https { 443 } else { 80 });
        Some(Self {
            https,
            host: self.host.clone(),
            port,
            path,
        })
    }
}
