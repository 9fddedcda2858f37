//! The gRPC health protocol: `grpc.health.v1.Health/Check` with one string in, one enum out.
//!
//! Two messages of one field each are no reason for a protobuf compiler.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::lifecycle::ProbeOutcome;

use super::{Target, authority, beside, connect, dial_error};

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u8 = 1;

/// The longest answer that is read.
const ANSWER: usize = 4 << 10;

pub(super) async fn ask(
    port: u16,
    service: &str,
    target: &Target,
    timeout: Duration,
) -> ProbeOutcome {
    match status(port, service, target, timeout).await {
        Ok(SERVING) => ProbeOutcome::Success,
        Ok(status) => ProbeOutcome::Failure(format!(
            "service unhealthy (responded with {:?})",
            name(status)
        )),
        Err(why) => ProbeOutcome::Failure(why),
    }
}

async fn status(
    port: u16,
    service: &str,
    target: &Target,
    timeout: Duration,
) -> Result<u8, String> {
    let stream = connect(target, None, port, timeout)
        .await
        .map_err(|error| dial_error(target, None, port, &error))?;
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| e.to_string())?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!(
            "http://{}/grpc.health.v1.Health/Check",
            authority(target, None, port)
        ))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(Full::new(question(service)))
        .map_err(|e| e.to_string())?;
    let answered = beside(connection, async move {
        let response = sender.send_request(request).await;
        let (head, body) = response.map_err(|e| e.to_string())?.into_parts();
        let body = Limited::new(body, ANSWER).collect().await;
        Ok::<_, String>((code(&head.headers), body.map_err(|e| e.to_string())?))
    });
    let (trailers_only, body) = answered.await?;
    let code = body.trailers().and_then(code).or(trailers_only);
    match code.as_deref() {
        Some("0") => answer(&body.to_bytes())
            .ok_or_else(|| "the answer is no HealthCheckResponse".to_owned()),
        Some("12") => Err(
            "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
                .to_owned(),
        ),
        Some(code) => Err(format!("the health call failed with gRPC status {code}")),
        None => Err("the answer has no gRPC status".to_owned()),
    }
}

fn code(headers: &http::HeaderMap) -> Option<String> {
    Some(headers.get("grpc-status")?.to_str().ok()?.to_owned())
}

/// A gRPC frame with `HealthCheckRequest { service = 1 }`.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        push_varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(
        &u32::try_from(message.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    frame.extend_from_slice(&message);
    frame.into()
}

fn push_varint(to: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0x7f);
        value >>= 7;
        if value == 0 {
            return to.push(low);
        }
        to.push(low | 0x80);
    }
}

/// The status in a gRPC frame with `HealthCheckResponse { status = 1 }`; absent means UNKNOWN.
fn answer(frame: &[u8]) -> Option<u8> {
    match frame.get(5..)? {
        [] => Some(0),
        [0x08, status, ..] => Some(*status),
        _ => None,
    }
}

fn name(status: u8) -> &'static str {
    match status {
        0 => "UNKNOWN",
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "unknown status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_protocol() {
        assert_eq!(question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(question("a")[..], [0, 0, 0, 0, 3, 0x0a, 1, b'a']);
        assert_eq!(answer(&[0, 0, 0, 0, 2, 0x08, 2]), Some(2));
        assert_eq!(answer(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(answer(&[0]), None);
    }
}
